"""What an operator reads on stderr."""

import fcntl
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.csi_driver import DRIVER_NAME
from tests.e2e.conftest import StartSidecar
from tests.e2e.harness import (
    COMMAND,
    PATIENCE,
    Address,
    DriverProcess,
    Sidecar,
    ask,
    free_port,
    wait_until,
)

HTTP = "--http-endpoint=127.0.0.1:0"
KLOG_LINE = re.compile(r'[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] "')


def log_lines(sidecar: Sidecar) -> list[str]:
    return sidecar.log.splitlines()


@pytest.mark.usefixtures("driver")
def test_each_text_line_has_its_klog_head(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for_log("CSI driver name")
    assert [line for line in log_lines(sidecar) if not KLOG_LINE.match(line)] == []
    assert f'"CSI driver name" driver="{DRIVER_NAME}"' in sidecar.log


def test_json_lines(driver: DriverProcess, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP, "--logging-format=json", listeners=0)
    driver.tell("error 9 not healthy")
    driver.wait_for_probes(3)
    sidecar.wait_for_log("CSI driver name")
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
    sidecar.wait_for_log("CSI driver name")
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


def test_a_log_that_nobody_reads_holds_nothing_up(driver: DriverProcess, csi_socket: Path) -> None:
    port = free_port()
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    flags = (f"--csi-address={csi_socket}", f"--http-endpoint=127.0.0.1:{port}", "-v=5")
    with subprocess.Popen(  # noqa: S603 - our own command
        [COMMAND, *flags, "--probe-interval=100ms"], stderr=writer
    ) as process:
        wait_until(lambda: listens(port))
        driver.wait_for_probes(60)  # each has a line of some 90 bytes: far more than there is room
        assert ask(Address("127.0.0.1", port)).status == 200
        process.terminate()
        assert process.wait(PATIENCE) == 0
    os.close(writer)
    os.close(reader)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
