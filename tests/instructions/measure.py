"""How many instructions the program takes for its start, for an answer and for a Probe.

What time something takes depends on who else is on the machine; how many instructions, hardly at
all. valgrind counts them while it simulates the processor, some fifty times slower than that is.
It counts the program's own, not the kernel's. There are two processes, side by side:

    asked      probes once, and is asked over and over, each time on a new connection
    probing    probes as often as it can, and is asked nothing

callgrind writes down its count whenever it is told to, and begins anew.
"""

import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.client import Pattern, drive
from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import OURS, Program, Running, compile_ours
from tests.e2e.harness import wait_until

REQUESTS = 100
PROBES = 40

# Before any are counted: some of what the first ones take is taken only once.
FIRST_REQUESTS = 50
FIRST_PROBES = 5

KUBELET = Pattern(name="kubelet")

# Seconds until a process has asked the driver for the first time. About ten are expected.
TIMEOUT = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """How many it takes."""

    python: str
    """Which one it was, and which build of it."""
    start: int
    """To the first healthy answer."""
    request: int
    probe: int


def measure() -> Instructions:
    """Count them."""
    for tool in ("valgrind", "callgrind_control"):
        if not shutil.which(tool):
            raise FileNotFoundError(f"there is no {tool} here: apt-get install valgrind")
    compile_ours()
    with ThreadPoolExecutor() as threads:
        asked, probing = threads.submit(_asked), threads.submit(_probing)
        (start, request), probe = asked.result(), probing.result()
    python = " ".join([platform.python_version(), *platform.python_build()])
    return Instructions(python=python, start=start, request=request, probe=probe)


def _asked() -> tuple[int, int]:
    """Return the instructions of a start and of a request."""
    with TemporaryDirectory() as folder, Driver(Path(folder, "csi.sock")) as driver:
        counted = _Counted(Path(folder, "counts"))
        with Running(counted.program, driver.socket, "--probe-interval=1h") as running:
            _wait_for_probes(driver, 1)
            running.wait_for(200)
            start = counted.since_last(running.pid)
            drive(running.address, KUBELET, requests=FIRST_REQUESTS)
            counted.since_last(running.pid)
            drive(running.address, KUBELET, requests=REQUESTS)
            return start, counted.since_last(running.pid) // REQUESTS


def _probing() -> int:
    """Return the instructions of a Probe."""
    with TemporaryDirectory() as folder, Driver(Path(folder, "csi.sock")) as driver:
        counted = _Counted(Path(folder, "counts"))
        with Running(counted.program, driver.socket, "--probe-interval=100ms") as running:
            _wait_for_probes(driver, FIRST_PROBES)
            counted.since_last(running.pid)
            before = driver.count()
            _wait_for_probes(driver, before + PROBES)
            instructions = counted.since_last(running.pid)
            return instructions // (driver.count() - before)


def _wait_for_probes(driver: Driver, number: int) -> None:
    wait_until(lambda: driver.count() >= number, TIMEOUT)


class _Counted:
    """The program under callgrind, whose files' names begin with `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = 0
        # Which strings share a slot in a dictionary is not to be chance.
        environment = ("env", "PYTHONHASHSEED=0")
        valgrind = ("valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={path}")
        command = (*environment, *valgrind, sys.executable, *OURS.command)
        self.program = Program(name=f"{OURS.name}, counted", command=command)

    def since_last(self, pid: int) -> int:
        """Return how many instructions there were since this was called, or since the start."""
        told = subprocess.run(  # noqa: S603 - a process id
            ["callgrind_control", "--dump", str(pid)],  # noqa: S607 - where the system has it
            capture_output=True,
            text=True,
            check=False,
        )
        self._files += 1
        written = self._path.with_name(f"{self._path.name}.{self._files}")
        if told.returncode or not written.exists():
            raise RuntimeError(f"callgrind has not written its count: {told.stdout}{told.stderr}")
        totals = re.search(r"^totals: (\d+)$", written.read_text(), re.MULTILINE)
        assert totals is not None, written
        return int(totals[1])
