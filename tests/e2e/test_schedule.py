"""Checks the schedule in the running command: events between Probes, regular callers, bounds."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from tests.csi_driver import CsiDriver, error
from tests.e2e.conftest import StartDriver, StartSidecar
from tests.e2e.harness import DriverProcess, Sidecar, connect, wait_until

HTTP = "--http-endpoint=127.0.0.1:0"
AUTO = (HTTP, "--probe-interval=auto", "--probe-timeout=3s")
RARELY = (HTTP, "--probe-interval=1h", "--probe-timeout=3s")

FAILED = '"Health check failed"'
SUCCEEDED = '"Health check succeeded"'


def wait_for_log(sidecar: Sidecar, text: str, times: int = 1) -> None:
    """Wait until the log has this text so often, without sending requests."""
    wait_until(lambda: sidecar.log.count(text) >= times)


def test_the_exit_of_the_driver_is_detected_between_probes(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(*RARELY)
    sidecar.wait_for_name()  # from then on the connection is idle
    driver.signal(SIGKILL)
    wait_for_log(sidecar, FAILED)
    sidecar.wait_for(
        500, "connection refused"
    )  # the first Probe may have reached the dying process


def test_a_driver_that_is_back_is_probed_at_once(
    start_driver: StartDriver, start_sidecar: StartSidecar
) -> None:
    hung = start_driver()
    hung.tell("hang")
    sidecar = start_sidecar(HTTP, "--probe-interval=1h", "--probe-timeout=100ms")
    wait_for_log(sidecar, 'state="timed out"')
    hung.signal(SIGKILL)
    start_driver()
    wait_for_log(sidecar, SUCCEEDED)


def test_the_replacement_of_a_healthy_driver_is_detected(
    start_driver: StartDriver, start_sidecar: StartSidecar
) -> None:
    old = start_driver()
    sidecar = start_sidecar(*RARELY)
    sidecar.wait_for_name()  # from then on the connection is idle
    start_driver().tell("error 13 the new one")
    old.signal(SIGKILL)
    wait_for_log(sidecar, "the new one")


def test_one_failed_probe_fails_one_request(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("error 9 a blip")
    sidecar = start_sidecar(*RARELY)
    wait_for_log(sidecar, FAILED)
    driver.tell("ready")
    assert sidecar.ask().status == 500
    wait_for_log(sidecar, SUCCEEDED)
    assert sidecar.ask().status == 200
    assert driver.counts.probes == 2


def test_each_request_of_a_regular_caller_has_a_fresh_probe(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(*AUTO)
    wait_for_log(sidecar, SUCCEEDED)
    ages = []
    start = time.monotonic()
    for number in range(6):
        time.sleep(max(0.0, start + 2 * number - time.monotonic()))
        ages.append(int(sidecar.ask().headers["age"]))
    # A Probe begins 3.25 s before a request, with a period of 2 s that is 1.25 s before another.
    assert sorted(ages[2:])[:3] == [1, 1, 1]  # one may be late on a busy machine
    # One for each request, one at the start, and at most one while idle.
    assert driver.counts.probes <= 6 + 1 + 1
    assert sidecar.log.count("Requests come more often than a Probe may take") == 1


def test_a_burst_of_requests_starts_at_most_one_probe_a_second(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("delay 0.05")
    sidecar = start_sidecar(*AUTO)
    started = time.monotonic()
    sidecar.wait_for(200, "ok")
    with ThreadPoolExecutor(50) as callers:
        responses = list(callers.map(lambda _: sidecar.ask(), range(500)))
    counts, elapsed = driver.counts, time.monotonic() - started
    assert {response.status for response in responses} == {200}
    assert counts.probes <= elapsed + 2
    assert counts.max_in_flight == 1


def test_a_stopped_process_reports_it_until_the_next_result(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP, "--probe-interval=1s", "--probe-timeout=500ms", "-v=5")
    sidecar.wait_for(200, "ok")
    wait_for_log(sidecar, "Probe finished", times=sidecar.log.count("Probe finished") + 1)
    sidecar.send_signal(SIGSTOP)
    driver.tell("hang")
    time.sleep(4.0)  # longer than an interval, a timeout and the slack
    request = b"GET /healthz HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n"
    # The kernel accepts it, so that it is there before the next Probe can end.
    with connect(sidecar.address, request) as connection, connection.makefile("rb") as stream:
        sidecar.send_signal(SIGCONT)
        assert b"the next one should have by now" in stream.read()
    driver.tell("ready")
    sidecar.wait_for(200, "ok")
    assert 'state="unknown"' in sidecar.log
    assert "No Probe finished for long" in sidecar.log


def test_a_driver_that_closes_idle_connections_is_asked_for_its_name_once_more_only(
    csi_socket: Path, start_sidecar: StartSidecar
) -> None:
    with CsiDriver(csi_socket, max_idle_ms=200) as driver:
        driver.plugin_info = error(12)
        start_sidecar(HTTP, "--probe-interval=1s")
        wait_until(lambda: driver.counts.plugin_infos == 2)  # after the first connection has closed
        probes = driver.counts.probes
        wait_until(lambda: driver.counts.probes > probes + 3)  # and so have three more, since then
        assert driver.counts.plugin_infos == 2
