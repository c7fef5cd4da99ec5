"""Checks that a bug, wherever it is, is logged and ends the process."""

import subprocess
import sys
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.e2e import bugs
from tests.e2e.conftest import FAST
from tests.e2e.harness import Address, DriverProcess, ask, free_port, wait_until

CALLED_BUG = '"Exiting because of a bug in livenessprobe" err="injected here" stacktrace=<'


@pytest.mark.parametrize("place", bugs.PLACES)
def test_a_bug_exits_with_1_and_one_line_with_its_traceback(
    driver: DriverProcess, tmp_path: Path, place: str
) -> None:
    if place == "watch":  # the socket is checked only while the driver is unhealthy
        driver.tell("error 13 broken")
    log = end_by_bug((place,), driver, tmp_path)
    assert log.count(CALLED_BUG) == 1
    assert log.count("in bug\n") == 1
    # stderr has log lines and their continuation lines only.
    assert [line for line in log.splitlines() if line[:1] not in {"I", "E", "\t", " "}] == []


def test_a_bug_is_logged_as_one_json_object(driver: DriverProcess, tmp_path: Path) -> None:
    log = end_by_bug(("prober",), driver, tmp_path, "--logging-format=json")
    assert (
        log.count(
            '"msg":"Exiting because of a bug in livenessprobe","err":"injected here","stacktrace"'
        )
        == 1
    )
    assert all(line.startswith("{") for line in log.splitlines())


@pytest.mark.parametrize("place", ["watch, result", "endpoint"])
def test_a_bug_exits_while_a_probe_is_in_flight(
    driver: DriverProcess, tmp_path: Path, place: str
) -> None:
    driver.tell("hang")
    log = end_by_bug((place,), driver, tmp_path, "--probe-timeout=2s")
    assert log.count(CALLED_BUG) == 1


def test_a_bug_exits_while_a_thread_is_stuck(driver: DriverProcess, tmp_path: Path) -> None:
    log = end_by_bug((bugs.STUCK, "endpoint"), driver, tmp_path)
    assert log.count('"Exiting because of a bug in livenessprobe"') == 1


def end_by_bug(bug: tuple[str, ...], driver: DriverProcess, tmp_path: Path, *flags: str) -> str:
    """Run the sidecar with this bug, sending requests until it exits; return its log."""
    address = Address("127.0.0.1", free_port())
    own = (f"--csi-address={driver.socket}", f"--http-endpoint={address.host}:{address.port}")
    command = (sys.executable, bugs.__file__, *bug, *own, *FAST, *flags)
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, stderr=stderr) as process,  # noqa: S603 - our own command
    ):

        def has_ended() -> bool:
            ask_if_possible(address)
            return process.poll() is not None

        try:
            wait_until(has_ended)
        finally:
            process.kill()
    assert process.returncode == 1
    return log.read_text()


def ask_if_possible(address: Address) -> None:
    with suppress(OSError, HTTPException):  # not listening yet, or no longer
        ask(address)
