"""Checks that a lack of descriptors, threads, memory or CPU is not blamed on the driver."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.cgroup import own_cgroup
from tests.e2e.conftest import FAST, StartSidecar
from tests.e2e.harness import DriverProcess, Sidecar, connect, wait_until

HTTP = "--http-endpoint=127.0.0.1:0"

LACKS = "the driver was not asked, livenessprobe itself has no descriptor, thread or memory left"

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: sidecar\r\n\r\n"


@contextmanager
def descriptors(sidecar: Sidecar, free: int) -> Iterator[None]:
    """Limit the sidecar to `free` descriptors more than it has between two Probes."""
    between_probes = min((open_files(sidecar) for _ in range(500)), key=len)
    limit = [number for number in range(1000) if number not in between_probes][free]
    soft, hard = resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, (soft, hard))


def open_files(sidecar: Sidecar) -> set[int]:
    return {int(entry.name) for entry in Path(f"/proc/{sidecar.pid}/fd").iterdir()}


@pytest.mark.parametrize("idle_connections", [0, 20])
@pytest.mark.parametrize("free", [1, 2])
def test_without_a_descriptor_for_a_probe_the_driver_is_not_blamed(
    driver: DriverProcess, start_sidecar: StartSidecar, idle_connections: int, free: int
) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for_name()
    driver.tell("error 13 broken")  # so that no held connection is left to the next Probe
    sidecar.wait_for(500, "broken")
    before = blamed(sidecar)
    with ExitStack() as stack:
        for _ in range(idle_connections):
            connection = stack.enter_context(connect(sidecar.address, REQUEST))
            assert connection.recv(65536).startswith(b"HTTP/1.1 500")
        with descriptors(sidecar, free):
            sidecar.wait_for(500, f"{LACKS}: Too many open files")
            assert sidecar.ask("/metrics").status == 200
            driver.tell("ready")
        sidecar.wait_for(200, "ok")
    assert blamed(sidecar) == before


def test_a_probe_reuses_the_descriptors_of_the_last_one(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for_name()
    with descriptors(sidecar, 1):  # for the request
        driver.wait_for_probes(10)
        assert sidecar.ask().status == 200
    assert blamed(sidecar) == []


def test_one_free_descriptor_is_enough_to_answer(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP, "--probe-interval=1h")
    sidecar.wait_for_name()
    wait_until(lambda: driver.counts.in_flight == 0)
    with descriptors(sidecar, 1):
        assert [sidecar.ask().status for _ in range(10)] == [200] * 10


def test_without_descriptors_the_listener_recovers_and_logs_once(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP, "--probe-interval=1h")
    sidecar.wait_for_name()
    with descriptors(sidecar, 0), socket.create_connection(sidecar.address) as client:
        client.sendall(REQUEST)
        sidecar.wait_for_log("Too many open files")
    assert sidecar.ask().status == 200
    assert sidecar.log.count("Too many open files") == 1


def test_without_threads_the_driver_is_not_blamed(driver: DriverProcess, tmp_path: Path) -> None:
    with own_cgroup("pids") as group:
        group.limit_threads(1)
        flags = (f"--csi-address={driver.socket}", HTTP, *FAST)
        with Sidecar(*flags, log=tmp_path / "log", command=group.command) as sidecar:
            sidecar.wait_for_listeners(1)
            sidecar.wait_for(500, f"{LACKS}: can't start new thread")
            group.limit_threads(None)
            sidecar.wait_for(200, "ok")
            assert blamed(sidecar) == []


def test_no_further_memory_is_needed_in_operation(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP)
    for state, status, body in [("error 13 broken", 500, "broken"), ("ready", 200, "ok")]:
        driver.tell(state)
        sidecar.wait_for(status, body)
    for _ in range(100):
        sidecar.ask()
    pages = int(Path(f"/proc/{sidecar.pid}/statm").read_text().split()[0])
    limit = (pages * resource.getpagesize(), resource.RLIM_INFINITY)
    resource.prlimit(sidecar.pid, resource.RLIMIT_AS, limit)
    driver.wait_for_probes(10)
    assert {sidecar.ask().status for _ in range(100)} == {200}
    driver.tell("error 13 broken")
    sidecar.wait_for(500, "broken")
    # To exit takes more: coverage, for one, writes its file then.
    resource.prlimit(sidecar.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)


def test_with_little_cpu_a_healthy_driver_stays_healthy(
    driver: DriverProcess, tmp_path: Path
) -> None:
    flags = (f"--csi-address={driver.socket}", HTTP, "--probe-timeout=3s")
    with (
        own_cgroup("cpu") as group,
        Sidecar(*flags, log=tmp_path / "log", command=group.command) as sidecar,
    ):
        sidecar.wait_for_listeners(1)
        sidecar.wait_for(200, "ok")
        group.limit_cpu(0.02)
        started = time.monotonic()
        answers = []
        for number in range(4):  # like kubelet, every 2 s
            time.sleep(max(0.0, started + 2 * number - time.monotonic()))
            answers.append(sidecar.ask().status)
        group.limit_cpu(None)
        assert answers == [200] * 4
        assert blamed(sidecar) == []


def blamed(sidecar: Sidecar) -> list[str]:
    """Return the log lines that report a failure of the driver."""
    lines = sidecar.log.splitlines()
    return [line for line in lines if 'state="failed"' in line or 'state="timed out"' in line]
