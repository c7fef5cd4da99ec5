"""The programs that are compared, each as a process whose use of the machine can be read."""

import compileall
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

import generated
import livenessprobe
from tests.benchmarks import floor
from tests.e2e.harness import COMMAND, TIMEOUT, Address, ask, free_port, wait_until

# The interval between two attempts to connect to a program that starts, in seconds.
POLL = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command that takes a livenessprobe's flags, and its name in tables."""

    name: str
    command: tuple[str, ...]


OURS = Program(name="here", command=(str(COMMAND),))
FLOOR = Program(name="floor", command=(sys.executable, floor.__file__))


def compile_ours() -> None:
    """Write this program's bytecode, as its installer does, even where Python is told not to."""
    for package in (livenessprobe, generated):
        for folder in package.__path__:
            if not compileall.compile_dir(folder, quiet=1):
                raise RuntimeError(f"{folder} has what does not compile")


def peer(text: str) -> Program:
    """Read NAME=COMMAND; the command may have flags of its own."""
    name, separator, command = text.partition("=")
    words = tuple(shlex.split(command))
    if not (name and separator and words):
        raise ValueError(f"{text!r} is not NAME=COMMAND")
    if name in {OURS.name, FLOOR.name}:
        raise ValueError(f"{name!r} is taken")
    return Program(name=name, command=words)


@cache
def asks_by_itself(program: Program) -> bool:
    """Return whether it asks the driver at an interval, and not for each request."""
    usage = subprocess.run(  # noqa: S603 - given on the command line
        [*program.command, "--help"], capture_output=True, text=True, check=True, timeout=TIMEOUT
    )
    return "-probe-interval" in usage.stdout + usage.stderr


class Running:
    """A program that has been started; it ends with the `with` block."""

    def __init__(self, program: Program, socket: Path, *flags: str) -> None:
        self.name = program.name
        self.address = Address("127.0.0.1", free_port())
        self._log = TemporaryFile()  # noqa: SIM115 - closed in __exit__
        endpoint = ":".join(map(str, self.address))
        self._process = subprocess.Popen(  # noqa: S603 - given on the command line
            [*program.command, f"--csi-address={socket}", f"--http-endpoint={endpoint}", *flags],
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait_for(self, status: int) -> None:
        """Wait until /healthz answers with this status."""
        wait_until(lambda: self._has(status))

    def wait_for_first(self) -> None:
        """Wait for the first healthy answer, and return as soon as there is one."""
        deadline = time.monotonic() + TIMEOUT
        while not self._has(200):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not become healthy: {self._tail()}")
            time.sleep(POLL)

    def _has(self, status: int) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended: {self._tail()}")
        try:
            return ask(self.address).status == status
        except ConnectionRefusedError:
            return False

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:].decode()


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has had, the threads that ended included."""
    # clock_getcpuclockid(3), which Python has for threads only: /proc counts in hundredths.
    return time.clock_gettime((~pid << 3) | 2)
