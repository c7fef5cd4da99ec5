"""The sidecar, with Probes that are stuck while there is a file WEDGE beside the socket."""

import sys
import time

from livenessprobe.__main__ import main
from livenessprobe.driver.socket_file import SocketFile

WEDGE = "wedge"

look = SocketFile.note


def note(self: SocketFile) -> None:
    while self._path.with_name(WEDGE).exists():
        time.sleep(0.05)
    look(self)


if __name__ == "__main__":
    SocketFile.note = note  # type: ignore[method-assign]  # the point of this file
    sys.exit(main())
