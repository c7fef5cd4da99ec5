"""Checks the exit after SIGTERM at every stage of the start and of a Probe."""

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM

import pytest

from tests.e2e.conftest import StartSidecar
from tests.e2e.harness import COMMAND, STOP_WITHIN, TIMEOUT, DriverProcess, wait_until

HTTP = "--http-endpoint=127.0.0.1:0"

# In the time that the sidecar takes until it listens, 0.3 s on an idle machine.
STAGES = [stage * 0.1 for stage in range(20)]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the sidecar ended after a signal."""

    was_caught: bool
    code: int
    log: str
    took: float


def test_sigterm_at_every_stage_of_the_start(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    started = time.monotonic()
    start_sidecar(HTTP)
    whole = time.monotonic() - started
    ends = [end_after(whole * stage, driver) for stage in STAGES]
    # Until the program installs its handlers, the signal has its default action.
    assert {(end.was_caught, end.code) for end in ends} <= {
        (False, -SIGTERM),
        (True, 0),
        (False, 0),
    }
    assert [end.log for end in ends if "Traceback" in end.log] == []
    assert max(end.took for end in ends) < STOP_WITHIN
    # The handlers are installed early: most of the start is imports.
    assert sum(end.was_caught and not end.log for end in ends) > 1


def end_after(seconds: float, driver: DriverProcess) -> End:
    """Start the sidecar, and send SIGTERM after so many seconds."""
    command: list[str | Path] = [COMMAND, f"--csi-address={driver.socket}", HTTP]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
        time.sleep(seconds)
        was_caught = catches_sigterm(process.pid)
        signalled_at = time.monotonic()
        process.terminate()
        try:
            _, log = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
        took = time.monotonic() - signalled_at
        return End(was_caught=was_caught, code=process.returncode, log=log, took=took)


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(caught, 16) & 1 << SIGTERM - 1)


@contextmanager
def a_full_queue(csi_socket: Path) -> Iterator[Callable[[], bool]]:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(csi_socket))
        listener.listen(0)
        waiting.connect(str(csi_socket))
        yield lambda: True


@contextmanager
def a_silent_driver(csi_socket: Path) -> Iterator[Callable[[], bool]]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(csi_socket))
        listener.listen()
        listener.settimeout(TIMEOUT)
        accepted = []

        def has_accepted() -> bool:
            accepted.append(listener.accept()[0])
            return True

        yield has_accepted
        for connection in accepted:
            connection.close()


@contextmanager
def a_driver_that_is_stopped(csi_socket: Path) -> Iterator[Callable[[], bool]]:
    with DriverProcess(csi_socket) as driver:
        driver.signal(SIGSTOP)
        yield lambda: True
        driver.signal(SIGCONT)


@contextmanager
def a_driver_that_hangs(csi_socket: Path) -> Iterator[Callable[[], bool]]:
    with DriverProcess(csi_socket) as driver:
        driver.tell("hang")
        yield lambda: driver.counts.in_flight == 1
        wait_until(lambda: driver.counts.in_flight == 0)


@contextmanager
def a_driver_that_hangs_in_get_plugin_info(csi_socket: Path) -> Iterator[Callable[[], bool]]:
    with DriverProcess(csi_socket) as driver:
        driver.tell("info hang")
        yield lambda: driver.counts.plugin_infos == 1


@contextmanager
def a_held_connection(csi_socket: Path) -> Iterator[Callable[[], bool]]:
    with DriverProcess(csi_socket) as driver:
        yield lambda: driver.counts.plugin_infos == 1


Stage = Callable[[Path], AbstractContextManager[Callable[[], bool]]]


@pytest.mark.parametrize(
    "stage",
    [
        a_full_queue,
        a_silent_driver,
        a_driver_that_is_stopped,
        a_driver_that_hangs,
        a_driver_that_hangs_in_get_plugin_info,
        a_held_connection,
    ],
)
def test_sigterm_at_every_stage_of_a_probe(
    start_sidecar: StartSidecar, csi_socket: Path, stage: Stage
) -> None:
    with stage(csi_socket) as is_reached:
        sidecar = start_sidecar(HTTP, "--probe-timeout=1m", "--probe-interval=1h")
        wait_until(is_reached)
        sidecar.stop()


def test_sigterm_during_the_reply_to_a_probe(
    start_sidecar: StartSidecar, driver: DriverProcess
) -> None:
    # A reply takes some milliseconds, so each signal arrives at another stage of one.
    for stage in range(4):
        sidecar = start_sidecar(HTTP, "--probe-interval=100ms", "--probe-timeout=1m")
        driver.wait_for_probes(2)
        time.sleep(stage * 0.002)
        sidecar.stop()
