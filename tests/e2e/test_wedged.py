"""Checks a Probe, and a check of the socket file, whose thread is stuck in the kernel."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import hanging, wedged
from tests.e2e.conftest import FAST
from tests.e2e.harness import TIMEOUT, DriverProcess, Sidecar, ask, wait_until

COMMAND = (sys.executable, wedged.__file__)


@pytest.fixture
def sidecar(driver: DriverProcess, csi_socket: Path, tmp_path: Path) -> Iterator[Sidecar]:
    flags = (f"--csi-address={csi_socket}", "--http-endpoint=127.0.0.1:0", *FAST)
    with Sidecar(*flags, log=tmp_path / "log", command=COMMAND) as sidecar:
        sidecar.wait_for_listeners(1)
        yield sidecar


def test_a_stuck_probe_is_reported_and_logged_until_it_has_ended(sidecar: Sidecar) -> None:
    sidecar.wait_for(500, "the next one should have by now")
    sidecar.wait_for_log('"Health check failed" err="the last Probe() finished')
    sidecar.wait_for(200, "ok")
    assert "No Probe finished for long" in sidecar.log
    assert "DeadlineExceeded" not in sidecar.log


def test_a_stuck_probe_does_not_delay_the_exit(sidecar: Sidecar) -> None:
    sidecar.wait_for(500, "the next one should have by now")
    sidecar.stop()


def test_a_hanging_file_system_delays_no_answer(tmp_path: Path) -> None:
    # Neither the Probe nor the checks of the socket file, ten a second, return.
    csi = tmp_path / "csi"
    csi.mkdir()
    namespace = ["unshare", "--map-root-user", "--mount"]
    command = [*namespace, sys.executable, hanging.__file__, str(csi)]
    flags = (f"--csi-address={csi}/csi.sock", "--http-endpoint=127.0.0.1:0", *FAST)
    with Sidecar(*flags, log=tmp_path / "log", command=command) as sidecar:
        wait_until(lambda: "ServeMux listening" in sidecar.log or "mount" in sidecar.log)
        if "cannot mount" in sidecar.log:
            pytest.skip(sidecar.log)
        started_at = time.monotonic()
        for _ in range(20):
            assert ask(sidecar.addresses[0]).body == "no Probe() has finished yet"
            time.sleep(0.02)  # some checks in the meantime
        assert time.monotonic() - started_at < TIMEOUT / 2
