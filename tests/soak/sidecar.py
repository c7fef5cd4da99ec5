"""Runs the sidecar with a shorter minimum for --probe-interval: `-m tests.soak.sidecar FLAGS`."""

import sys

from livenessprobe.__main__ import main
from livenessprobe.flags import values

if __name__ == "__main__":
    vars(values)["_SHORTEST"] = "1ms"
    sys.exit(main())
