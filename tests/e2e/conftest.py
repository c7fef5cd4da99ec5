from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from tests.e2e.harness import DriverProcess, Sidecar

# The shortest interval, so that no test waits long for the next Probe, and a timeout within which a
# healthy driver replies on a busy machine too.
FAST = ("--probe-interval=100ms", "--probe-timeout=500ms")


class StartSidecar(Protocol):
    def __call__(self, *flags: str, listeners: int = 1) -> Sidecar: ...


class StartDriver(Protocol):
    def __call__(self) -> DriverProcess: ...


@pytest.fixture
def start_driver(csi_socket: Path) -> Iterator[StartDriver]:
    """Return a function that starts a driver on the test's socket; it is killed after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(DriverProcess(csi_socket))


@pytest.fixture
def driver(start_driver: StartDriver) -> DriverProcess:
    return start_driver()


@pytest.fixture
def start_sidecar(csi_socket: Path, tmp_path: Path) -> Iterator[StartSidecar]:
    """Return a function that starts the command; it has to exit cleanly after the test."""
    numbers = count()
    with ExitStack() as stack:

        def start(*flags: str, listeners: int = 1) -> Sidecar:
            defaults = (f"--csi-address={csi_socket}", *FAST)
            log = tmp_path / f"sidecar-{next(numbers)}.log"
            sidecar = stack.enter_context(Sidecar(*defaults, *flags, log=log))
            sidecar.wait_for_listeners(listeners)
            return sidecar

        yield start
