"""What memory is held, before and after many requests."""

import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.client import Pattern, drive
from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import Program, Running
from tests.benchmarks.readings import Reading, Scale
from tests.soak.usage import usage

GROUP = "memory"
IDLE = "idle"
REQUESTS = 10_000
USED = f"after {REQUESTS:,} requests"
ROWS = (IDLE, USED)

# As many at a time as make the most of the requests' time, each on a new connection.
CALLERS = Pattern(name=USED, callers=16)

# Seconds after the last answer: whatever was begun has ended by then.
REST = 2.0


def measure(programs: Sequence[Program], rows: Container[str], scale: Scale) -> Iterator[Reading]:
    """Yield the readings of these rows."""
    for _ in range(scale.rounds):
        for program in programs:
            readings = _measure(program)
            yield from (reading for reading in readings if reading.row in rows)


def _measure(program: Program) -> Iterator[Reading]:
    with (
        TemporaryDirectory() as folder,
        Driver(Path(folder, "csi.sock")) as driver,
        Running(program, driver.socket) as running,
    ):
        running.wait_for_first()
        yield _reading(IDLE, running)
        drive(running.address, CALLERS, requests=REQUESTS)
        yield _reading(USED, running)


def _reading(row: str, running: Running) -> Reading:
    time.sleep(REST)
    held = usage(running.pid, at=0.0)
    return Reading(
        group=GROUP,
        row=row,
        program=running.name,
        values={"RSS MiB": held.rss / 1024, "anonymous MiB": held.anonymous / 1024},
    )
