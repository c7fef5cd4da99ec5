"""Runs the sidecar with a bug injected at a place: `python bugs.py PLACE [flags]`.

With `python bugs.py stuck PLACE [flags]` the thread of each Probe is stuck, as in a file system
that hangs.
"""

import sys
import time
from typing import NoReturn

from livenessprobe import serve
from livenessprobe.__main__ import main
from livenessprobe.driver import Driver, client
from livenessprobe.driver.held_connection import HeldConnection
from livenessprobe.driver.socket_file import SocketFile
from livenessprobe.probing import prober
from livenessprobe.probing.identity import Identity
from livenessprobe.probing.prober import Prober
from livenessprobe.probing.schedule import Schedule
from livenessprobe.probing.watch import Watch
from livenessprobe.server import accept
from livenessprobe.telemetry.metrics import Metrics
from livenessprobe.telemetry.statelog import StateLog

MESSAGE = "injected here"

PLACES: dict[str, tuple[object, str]] = {
    "start": (serve, "routes"),
    "prober": (Schedule, "began"),
    "prober, after a Probe": (Prober, "_was_stalled"),
    "thread of a Probe": (client, "_unary"),
    "metrics": (Metrics, "observe_call"),
    "state log": (StateLog, "observe"),
    "watch": (SocketFile, "changed"),
    "watch, result": (Watch, "observe"),
    "watch, connection": (HeldConnection, "wait_disconnected"),
    "identity": (Driver, "get_name"),
    "identity, result": (Identity, "observe"),
    "accepting": (accept, "receive_nowait"),
    "endpoint": (prober, "judge"),
}
"""A function in every task and every consumer of results, as its module or class and its name."""


def bug(*_: object, **__: object) -> NoReturn:
    raise RuntimeError(MESSAGE)


STUCK = "stuck"


def be_stuck(_: object) -> None:
    time.sleep(60.0)  # longer than any test


if __name__ == "__main__":
    if sys.argv[1] == STUCK:
        del sys.argv[1]
        SocketFile.note = be_stuck  # type: ignore[method-assign,assignment]
    setattr(*PLACES[sys.argv.pop(1)], bug)
    sys.exit(main())
