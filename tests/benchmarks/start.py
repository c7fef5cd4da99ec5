"""What a start takes: from before the process is made to its first healthy answer.

Beside it stands what the same interpreter takes to merely import the packages that the program
here is made of, until they are there, and how many times as much as that the whole start takes. All
are measured in turns.
"""

import subprocess
import sys
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import OURS, Program, Running, cpu
from tests.benchmarks.readings import Reading, Scale

GROUP = "start"
FIRST = "to the first healthy answer"
IMPORTS = "of Python with the packages alone"
SHARE = f"{FIRST} : {IMPORTS}"
ROWS = (FIRST, IMPORTS, SHARE)

PACKAGES = "import trio, hypercorn.trio, grpclib.client, betterproto, prometheus_client"

# In place of each turn: a start is much shorter.
STARTS = 4


def measure(programs: Sequence[Program], rows: Container[str], scale: Scale) -> Iterator[Reading]:
    """Yield the readings of these rows."""
    with TemporaryDirectory() as folder, Driver(Path(folder, "csi.sock")) as driver:
        for _ in range(STARTS * scale.rounds):
            readings = [_start(program, driver.socket) for program in programs]
            imports = _imports()
            readings += [imports, _share(readings[0], imports)]
            yield from (reading for reading in readings if reading.row in rows)


def _start(program: Program, socket: Path) -> Reading:
    started = time.perf_counter()
    with Running(program, socket) as running:
        running.wait_for_first()
        return _reading(FIRST, program, started, running.pid)


def _imports() -> Reading:
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own line of Python
        [sys.executable, "-c", f"{PACKAGES}; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        reading = _reading(IMPORTS, OURS, started, process.pid)
        process.kill()
    return reading


def _share(first: Reading, imports: Reading) -> Reading:
    return Reading(
        group=f"{GROUP}, in terms of the packages alone",
        row=SHARE,
        program=first.program,
        values={
            "time": first.values["ms"] / imports.values["ms"],
            "CPU": first.values["CPU ms"] / imports.values["CPU ms"],
        },
    )


def _reading(row: str, program: Program, started: float, pid: int) -> Reading:
    took = time.perf_counter() - started
    return Reading(
        group=GROUP,
        row=row,
        program=program.name,
        values={"ms": took * 1000, "CPU ms": cpu(pid) * 1000},
    )
