"""Checks one sidecar through all states of a driver, and its use of resources."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from tests.e2e.conftest import StartDriver, StartSidecar
from tests.e2e.harness import TIMEOUT, Address, DriverProcess, Sidecar, ask

HTTP = "--http-endpoint=127.0.0.1:0"

PROBE_TIMEOUT = 2.0

# Seconds. The machine may be shared, and the test starts other processes. A request that waited for
# the driver would take a whole timeout.
P99_LATENCY = PROBE_TIMEOUT / 2


@dataclass(slots=True)
class Record:
    """The responses to a caller that sends requests continuously; latencies in seconds."""

    statuses: set[int] = field(default_factory=set)
    failures: list[Exception] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def ask(self, address: Address) -> None:
        started = time.monotonic()
        try:
            self.statuses.add(ask(address).status)
        except (OSError, HTTPException) as failure:
            self.failures.append(failure)
        self.latencies.append(time.monotonic() - started)

    def p99(self) -> float:
        return sorted(self.latencies)[len(self.latencies) * 99 // 100]


@contextmanager
def continuous_requests(address: Address) -> Iterator[Record]:
    """Send about 50 requests a second, each over a new connection, until the block ends."""
    record = Record()
    enough = threading.Event()

    def work() -> None:
        while not enough.wait(0.02):
            record.ask(address)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield record
    finally:
        enough.set()
        thread.join()


def test_the_verdict_follows_the_driver_through_its_life(
    start_driver: StartDriver, start_sidecar: StartSidecar, csi_socket: Path
) -> None:
    sidecar = start_sidecar(HTTP, f"--probe-timeout={PROBE_TIMEOUT}s")
    with continuous_requests(sidecar.address) as record:
        sidecar.wait_for(500, "no such file")
        first = start_driver()
        sidecar.wait_for(200, "ok")
        first.tell("error 9 not healthy")
        sidecar.wait_for(500, "not healthy")
        first.tell("not-ready")
        sidecar.wait_for(500, "driver responded but is not ready")
        first.tell("hang")
        sidecar.wait_for(500, "context deadline exceeded")
        first.tell("ready")
        sidecar.wait_for(200, "ok")
        first.signal(SIGSTOP)
        sidecar.wait_for(500, "context deadline exceeded")
        first.signal(SIGCONT)
        sidecar.wait_for(200, "ok")
        first.signal(SIGKILL)
        sidecar.wait_for(500, "connection refused")
        second = start_driver()
        sidecar.wait_for(200, "ok")
        second.tell("error 13 replaced")
        sidecar.wait_for(500, "replaced")
        start_driver()
        sidecar.wait_for(200, "ok")
        csi_socket.unlink()
        sidecar.wait_for(500, "no such file")
    assert record.failures == []
    assert record.statuses == {200, 500}
    assert record.p99() < P99_LATENCY, sorted(record.latencies)


def test_requests_start_no_probes_of_a_healthy_driver(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("delay 0.05")
    sidecar = start_sidecar(HTTP, "--probe-interval=200ms")
    sidecar.wait_for(200, "ok")
    started, before = time.monotonic(), driver.counts.probes
    with ThreadPoolExecutor(50) as callers:
        responses = list(callers.map(lambda _: sidecar.ask(), range(200)))
    probes, elapsed = driver.counts.probes - before, time.monotonic() - started
    assert {response.status for response in responses} == {200}
    assert probes <= elapsed / 0.2 + 1
    assert driver.counts.max_in_flight == 1


def listen(path: Path) -> socket.socket:
    """Return a UNIX listener with a timeout for accept."""
    listener = socket.socket(socket.AF_UNIX)
    listener.settimeout(TIMEOUT)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_a_probe_closes_its_connection_before_the_next_opens_one(
    start_sidecar: StartSidecar, csi_socket: Path
) -> None:
    with listen(csi_socket) as listener:
        start_sidecar(HTTP, "--probe-timeout=100ms")
        before, _ = listener.accept()
        for _ in range(10):
            after, _ = listener.accept()
            assert_closed(before)
            before = after
        before.close()


def test_a_driver_that_closes_every_connection_is_unavailable(
    start_sidecar: StartSidecar, csi_socket: Path
) -> None:
    with listen(csi_socket) as listener:
        # The Probe that follows these gets no answer, and ends long after the request.
        sidecar = start_sidecar(HTTP, "--probe-timeout=1m")
        for _ in range(10):
            listener.accept()[0].close()
        assert "code = Unavailable" in sidecar.ask().body


def assert_closed(connection: socket.socket) -> None:
    """Check that the peer has closed the connection already."""
    connection.settimeout(0)
    with connection:
        while connection.recv(65536):
            pass


def test_a_hanging_driver_adds_no_descriptors_or_threads(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("hang")
    sidecar = start_sidecar(HTTP, "--probe-timeout=200ms", "--probe-interval=200ms")
    early = peak_holdings(sidecar, driver, probes=4)
    driver.wait_for_probes(8)
    late = peak_holdings(sidecar, driver, probes=4)
    assert late["fd"] <= early["fd"]
    assert late["task"] <= early["task"]


def peak_holdings(sidecar: Sidecar, driver: DriverProcess, *, probes: int) -> Counter[str]:
    """Return the greatest numbers of open files and threads until so many Probes have begun."""
    peak = Counter[str]()
    process = Path("/proc") / str(sidecar.pid)
    target = driver.counts.probes + probes
    while driver.counts.probes < target:
        for kind in ("fd", "task"):
            peak |= {kind: len(list((process / kind).iterdir()))}
    return peak
