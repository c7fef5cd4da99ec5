"""What the program does when the kernel refuses a system call, with each errno of its manual page.

strace injects the errors (`apt-get install strace`): into every call, or into each third one, so
that what is lost can be told from what is not.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.e2e.harness import COMMAND, DriverProcess, Sidecar, wait_until

ALWAYS, SOMETIMES = "1+", "3+3"
AFTER_TRIO = "7+"
"""trio itself sets six options at its start, and fails without."""
REQUESTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An error of a system call, and how many of the requests are answered all the same."""

    call: str
    errors: tuple[str, ...]
    when: str
    answered: float = 1.0
    """At least this share of the requests."""


TABLE = (
    # Options only make things better.
    Row(
        call="setsockopt",
        errors=("ENOPROTOOPT", "EPERM", "EINVAL", "ENOMEM", "ENOBUFS", "EDOM", "EACCES"),
        when=AFTER_TRIO,
    ),
    # A connection that is not accepted stays in the kernel's queue.
    Row(
        call="accept4",
        errors=(
            *("EAGAIN", "EINTR", "ECONNABORTED", "EPERM", "EPROTO", "ETIMEDOUT"),
            *("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSR", "ESOCKTNOSUPPORT"),
            *("EPROTONOSUPPORT", "ENETDOWN", "EHOSTUNREACH", "ENETUNREACH", "EOPNOTSUPP"),
        ),
        when=SOMETIMES,
    ),
    # Other errors would break trio, which wakes itself by a socket; those of a connection are in
    # tests/server/test_buffered.py.
    Row(call="recvfrom", errors=("EAGAIN", "EINTR"), when=SOMETIMES, answered=0.3),
    # What is being sent is lost with its connection.
    Row(
        call="sendto",
        errors=("EAGAIN", "EINTR", "ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM"),
        when=SOMETIMES,
        answered=0.3,
    ),
)

BROKEN = ("EBADF", "EINVAL", "EFAULT", "ENOTSOCK")
"""Errors of accept4 that tell that the listener cannot be used any more."""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[DriverProcess]:
    assert shutil.which("strace"), "there is no strace here: apt-get install strace"
    with DriverProcess(tmp_path / "csi.sock") as driver:
        yield driver


def injected(driver: DriverProcess, folder: Path, call: str, error: str, when: str) -> Sidecar:
    """Start the command with this error in a system call of all its threads."""
    strace = ("strace", "-D", "-f", "-q", "--seccomp-bpf", "-o", folder / "strace.log")
    injection = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    flags = (f"--csi-address={driver.socket}", "--http-endpoint=127.0.0.1:0", "--v=2")
    command = (*strace, *injection, "--", COMMAND)
    return Sidecar(*flags, log=folder / "sidecar.log", command=command)


def answers(sidecar: Sidecar) -> Iterator[bool]:
    """Ask many times, and say each time whether there was an answer."""
    for _ in range(REQUESTS):
        try:
            answer = sidecar.ask()
        except (OSError, HTTPException):
            yield False
        else:
            yield answer.status in {200, 500}


@pytest.mark.parametrize(
    ("row", "error"),
    [pytest.param(row, error, id=f"{row.call}-{error}") for row in TABLE for error in row.errors],
)
def test_the_program_goes_on(driver: DriverProcess, tmp_path: Path, row: Row, error: str) -> None:
    assert hasattr(errno, error)
    with injected(driver, tmp_path, row.call, error, row.when) as sidecar:
        sidecar.wait_for_listeners(1)
        assert sum(answers(sidecar)) >= row.answered * REQUESTS
    assert "(INJECTED)" in (tmp_path / "strace.log").read_text()


@pytest.mark.parametrize("error", ["ENOPROTOOPT", "EPERM"])
def test_an_option_that_is_refused_costs_a_line(
    driver: DriverProcess, tmp_path: Path, error: str
) -> None:
    with injected(driver, tmp_path, "setsockopt", error, AFTER_TRIO) as sidecar:
        sidecar.wait_for_listeners(1)
        wait_until(lambda: sidecar.log.count("Listening without a TCP option") == 3)
        assert sidecar.log.count("Listening without SO_REUSEADDR") == 1


@pytest.mark.parametrize("error", BROKEN)
def test_a_broken_listener_ends_the_program(
    driver: DriverProcess, tmp_path: Path, error: str
) -> None:
    sidecar = injected(driver, tmp_path, "accept4", error, ALWAYS)
    try:
        assert exit_code(sidecar) == 1
        assert "Exiting because of a bug in livenessprobe" in sidecar.log
    finally:
        sidecar.kill()


def exit_code(sidecar: Sidecar) -> int | None:
    """Ask until the sidecar has exited, which may be before it listens."""

    def has_exited() -> bool:
        if sidecar.addresses:
            with suppress(OSError, HTTPException):
                sidecar.ask()
        return sidecar.exit_code is not None

    wait_until(has_exited)
    return sidecar.exit_code


@pytest.mark.parametrize("error", ["ENOMEM", "ENOSPC"])
def test_trio_may_not_survive_epoll_ctl_but_says_so(
    driver: DriverProcess, tmp_path: Path, error: str
) -> None:
    sidecar = injected(driver, tmp_path, "epoll_ctl", error, "40+9")
    try:
        sidecar.wait_for_listeners(1)
        if sum(answers(sidecar)) < 0.3 * REQUESTS:
            wait_until(lambda: sidecar.exit_code is not None)  # it may be about to exit
        if sidecar.exit_code is not None:
            assert sidecar.exit_code == 1
            assert "Exiting because of a bug in livenessprobe" in sidecar.log
    finally:
        sidecar.kill()
