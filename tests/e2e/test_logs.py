"""Checks the log of the running command."""

import fcntl
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.csi_driver import DRIVER_NAME
from tests.e2e.conftest import StartSidecar
from tests.e2e.harness import (
    COMMAND,
    TIMEOUT,
    Address,
    DriverProcess,
    Sidecar,
    ask,
    free_port,
    wait_until,
)

HTTP = "--http-endpoint=127.0.0.1:0"

# Runs a command whose stdout and stderr are closed.
CLOSING = ("/bin/sh", "-c", 'exec "$0" "$@" >&- 2>&-')

KLOG_LINE = re.compile(r'[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] "')


def log_lines(sidecar: Sidecar) -> list[str]:
    return sidecar.log.splitlines()


@pytest.mark.usefixtures("driver")
def test_each_text_line_has_a_klog_header(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for_name()
    assert [line for line in log_lines(sidecar) if not KLOG_LINE.match(line)] == []
    assert f'"CSI driver name" driver="{DRIVER_NAME}"' in sidecar.log


def test_json_lines(driver: DriverProcess, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP, "--logging-format=json", listeners=0)
    driver.tell("error 9 not healthy")
    driver.wait_for_probes(3)
    sidecar.wait_for_name()
    records = [json.loads(line) for line in log_lines(sidecar)]
    assert all({"ts", "caller", "msg"} <= record.keys() for record in records)
    names = [(r["driver"], r["v"]) for r in records if r["msg"] == "CSI driver name"]
    assert names == [(DRIVER_NAME, 0)]
    errors = [record for record in records if "not healthy" in record.get("err", "")]
    assert errors
    assert all("v" not in record for record in errors)


def test_only_changes_are_logged_at_first(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP, "-v=0")
    sidecar.wait_for_name()
    driver.wait_for_probes(3)
    healthy = log_lines(sidecar)
    driver.wait_for_probes(5)
    assert log_lines(sidecar) == healthy
    driver.tell("error 9 not healthy")
    driver.wait_for_probes(8)
    unhealthy = log_lines(sidecar)[len(healthy) :]
    assert len(unhealthy) == 1
    assert unhealthy[0].startswith("E")
    assert "rpc error: code = FailedPrecondition desc = not healthy" in unhealthy[0]
    driver.tell("ready")
    driver.wait_for_probes(8)
    recovered = log_lines(sidecar)[len(healthy) + 1 :]
    assert len(recovered) == 1
    assert recovered[0].startswith("I")


def test_each_probe_is_logged_at_level_5(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP, "-v=5")
    sidecar.wait_for(200, "ok")
    before = len(log_lines(sidecar))
    driver.wait_for_probes(10)
    assert len(log_lines(sidecar)) >= before + 9


@contextmanager
def running(driver: DriverProcess, *command: str | Path, **streams: int) -> Iterator[Address]:
    """Run the command on a known port, without a log; it must respond, and exit with 0."""
    address = Address("127.0.0.1", free_port())
    flags = (f"--csi-address={driver.socket}", f"--http-endpoint={address.host}:{address.port}")
    more = ("-v=5", "--probe-interval=100ms")
    with subprocess.Popen([*command, *flags, *more], **streams) as process:  # type: ignore[call-overload] # noqa: S603 - our own command
        try:
            wait_until(lambda: listens(address))
            yield address
            assert ask(address).status == 200
            process.terminate()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()  # or the end of the block would wait for it


def listens(address: Address) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(address) == 0


def test_an_unread_log_delays_nothing(driver: DriverProcess) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with running(driver, COMMAND, stderr=writer):
        driver.wait_for_probes(
            60
        )  # each has a line of about 90 bytes, together far more than the pipe takes
    os.close(writer)
    os.close(reader)


def test_a_closed_stderr_does_not_fail_the_command(driver: DriverProcess) -> None:
    with running(driver, *CLOSING, COMMAND):
        driver.wait_for_probes(3)


@pytest.mark.parametrize(("flag", "code"), [("-h", 0), ("--nope", 2), ("--v=1x", 2)])
def test_closed_streams_do_not_change_the_exit_code(flag: str, code: int) -> None:
    ended = subprocess.run([*CLOSING, COMMAND, flag], timeout=TIMEOUT, check=False)  # noqa: S603 - our own command
    assert ended.returncode == code
