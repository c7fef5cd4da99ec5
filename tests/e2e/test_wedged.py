"""A Probe that cannot be ended: its thread is stuck in the kernel."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import wedged
from tests.e2e.conftest import FAST
from tests.e2e.harness import DriverProcess, Sidecar

COMMAND = (sys.executable, wedged.__file__)


@pytest.fixture
def sidecar(driver: DriverProcess, csi_socket: Path, tmp_path: Path) -> Iterator[Sidecar]:
    flags = (f"--csi-address={csi_socket}", "--http-endpoint=127.0.0.1:0", *FAST)
    with Sidecar(*flags, log=tmp_path / "log", command=COMMAND) as sidecar:
        sidecar.wait_for_listeners(1)
        yield sidecar


def test_is_told_as_such_and_logged_until_it_has_ended(sidecar: Sidecar) -> None:
    sidecar.wait_for(500, "the next one should have by now")
    sidecar.wait_for_log('"Health check failed" err="the last Probe() finished')
    sidecar.wait_for(200, "ok")
    assert "No Probe finished for long" in sidecar.log
    assert "DeadlineExceeded" not in sidecar.log


def test_does_not_hold_up_the_end(sidecar: Sidecar) -> None:
    sidecar.wait_for(500, "the next one should have by now")
    sidecar.stop()
