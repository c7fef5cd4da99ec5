"""Runs the sidecar with a thread that is stuck for a time, as in a file system that hangs."""

import sys
import time
from itertools import count

from livenessprobe.__main__ import main
from livenessprobe.driver.socket_file import SocketFile

STUCK = 8.0
"""Seconds; longer than a result is valid, and than the exit may take."""

calls = count(1)
original = SocketFile.note


def note(self: SocketFile) -> None:
    if next(calls) == 3:
        time.sleep(STUCK)
    original(self)


if __name__ == "__main__":
    SocketFile.note = note  # type: ignore[method-assign]
    sys.exit(main())
