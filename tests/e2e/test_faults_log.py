"""Checks that a stderr that accepts nothing affects neither the answers nor the exit code."""

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

# Seconds; far above the millisecond or two that an answer takes. Waiting for the reader of the log
# would take for ever.
AT_SPEED = 0.5


@contextmanager
def logging_to(stderr: int, driver: DriverProcess) -> Iterator[Address]:
    """Run the sidecar with this stderr; it must exit with 0."""
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


def answers(address: Address, text: str) -> bool:
    with suppress(OSError, HTTPException):
        return text in ask(address).body
    return False


def flap(driver: DriverProcess, address: Address, times: int) -> None:
    """Let the driver fail and recover, each with a log line; check that answers are quick."""
    for _ in range(times):
        for behaviour, text in (("error 13 broken", "broken"), ("ready", "ok")):
            driver.tell(behaviour)
            assert median(latencies_until(text, address)) < AT_SPEED


def latencies_until(text: str, address: Address) -> list[float]:
    """Send requests until the body has this text; return how long each took, in seconds."""
    latencies: list[float] = []

    def answered() -> bool:
        started = time.monotonic()
        is_expected = answers(address, text)
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
