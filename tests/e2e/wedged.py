"""The sidecar, with a worker thread that is stuck for a while, as in a file system that is gone."""

import sys
import time
from itertools import count

from livenessprobe.__main__ import main
from livenessprobe.driver.socket_file import SocketFile

STUCK = 8.0
"""Seconds; longer than a result counts, and than the end of the program may take."""

looks = count(1)
look = SocketFile.note


def note(self: SocketFile) -> None:
    if next(looks) == 3:
        time.sleep(STUCK)
    look(self)


if __name__ == "__main__":
    SocketFile.note = note  # type: ignore[method-assign]
    sys.exit(main())
