"""A log that takes nothing: the answers go on, and it is no failure in the end."""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from statistics import median

import pytest

from tests.e2e.harness import (
    COMMAND,
    TIMEOUT,
    Address,
    DriverProcess,
    ask,
    free_port,
    wait_until,
)

# Far above the millisecond or two that an answer takes, and far below what it would take to wait
# for a reader who never comes.
AT_SPEED = 0.5


@contextmanager
def logging_to(stderr: int, driver: DriverProcess) -> Iterator[Address]:
    """Run the sidecar with this log; it must end with 0."""
    address = Address("127.0.0.1", free_port())
    flags = (f"--csi-address={driver.socket}", f"--http-endpoint={address.host}:{address.port}")
    command = (COMMAND, *flags, "-v=5", "--probe-interval=100ms")
    with subprocess.Popen(command, stderr=stderr) as process:  # noqa: S603 - our own command
        try:
            wait_until(lambda: answers(address, "ok"))
            yield address
            process.terminate()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


def answers(address: Address, words: str) -> bool:
    with suppress(OSError, HTTPException):
        return words in ask(address).body
    return False


def flap(driver: DriverProcess, address: Address, times: int) -> None:
    """Let the driver fail and recover, each a line of the log; every answer comes at speed."""
    for _ in range(times):
        for behaviour, words in (("error 13 broken", "broken"), ("ready", "ok")):
            driver.tell(behaviour)
            assert median(latencies_until(words, address)) < AT_SPEED


def latencies_until(words: str, address: Address) -> list[float]:
    """Ask until it answers with these words; return how long each answer took."""
    latencies: list[float] = []

    def answered() -> bool:
        started = time.monotonic()
        is_expected = answers(address, words)
        latencies.append(time.monotonic() - started)
        return is_expected

    wait_until(answered)
    return latencies


def test_a_full_pipe_delays_no_answer_and_the_dropped_lines_are_logged(
    driver: DriverProcess,
) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with logging_to(writer, driver) as address:
        flap(driver, address, times=20)
        os.set_blocking(reader, False)
        first = os.read(reader, 65536).decode()
        wait_until(lambda: "Log lines were dropped" in read(reader))
    assert "ServeMux listening" in first
    os.close(writer)
    os.close(reader)


def read(fd: int) -> str:
    try:
        return os.read(fd, 65536).decode()
    except BlockingIOError:
        return ""


@pytest.mark.parametrize("device", ["a full file system", "a pipe whose reader is gone"])
def test_a_failing_stderr_delays_no_answer(driver: DriverProcess, device: str) -> None:
    if device == "a full file system":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stderr = os.pipe()
        os.close(reader)
    with logging_to(stderr, driver) as address:
        flap(driver, address, times=5)
    os.close(stderr)
