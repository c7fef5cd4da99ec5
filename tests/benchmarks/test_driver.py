"""The cheap driver is one, as far as grpcio can tell."""

from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import pytest

from tests.benchmarks.driver import NAME, READY, Driver
from tests.benchmarks.programs import OURS, Running
from tests.e2e.harness import TIMEOUT, ask, wait_until


@pytest.fixture
def driver(csi_socket: Path) -> Iterator[Driver]:
    with Driver(csi_socket) as driver:
        yield driver


def call(driver: Driver, method: str, timeout: float = TIMEOUT) -> bytes:
    own = ("grpc.use_local_subchannel_pool", 1)
    with grpc.insecure_channel(f"unix:{driver.socket}", options=[own]) as channel:
        ask: Callable[..., Any] = channel.unary_unary(f"/csi.v1.Identity/{method}")
        return bytes(ask(b"", timeout=timeout))


def test_it_is_ready_and_has_a_name(driver: Driver) -> None:
    assert call(driver, "GetPluginInfo") == b"\x0a" + bytes([len(NAME)]) + NAME
    assert call(driver, "Probe") == b"\x0a\x02\x08\x01"


def test_it_tells_its_name_on_the_connection_of_a_probe(driver: Driver) -> None:
    with Running(OURS, driver.socket) as running:
        running.wait_for_first()
        wait_until(lambda: NAME.decode() in ask(running.address, "/healthz?verbose").body)


def test_a_call_that_timed_out_leaves_its_connection_usable(driver: Driver) -> None:
    with grpc.insecure_channel(f"unix:{driver.socket}") as channel:
        probe: Callable[..., Any] = channel.unary_unary("/csi.v1.Identity/Probe")
        driver.delay(inf)
        with pytest.raises(grpc.RpcError):
            probe(b"", timeout=1.0)  # to reach the driver, on a busy machine too
        driver.delay(0)
        assert probe(b"", timeout=TIMEOUT) == READY
    assert driver.count() == 2


def test_it_counts_probes_and_nothing_else(driver: Driver) -> None:
    call(driver, "GetPluginInfo")
    assert driver.count() == 0
    call(driver, "Probe")
    call(driver, "Probe")
    assert driver.count() == 2


def test_it_hangs_when_told_to(driver: Driver) -> None:
    driver.delay(inf)
    with pytest.raises(grpc.RpcError) as failure:
        call(driver, "Probe", timeout=1.0)
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert driver.count() == 1


def test_it_takes_its_time_when_told_to(driver: Driver) -> None:
    driver.delay(0.3)
    with pytest.raises(grpc.RpcError):
        call(driver, "Probe", timeout=0.1)
    assert call(driver, "Probe")


def test_it_is_gone_and_its_socket_stays(driver: Driver) -> None:
    driver.kill()
    assert driver.socket.exists()
    wait_until(lambda: _is_unavailable(driver))


def _is_unavailable(driver: Driver) -> bool:
    with pytest.raises(grpc.RpcError) as failure:
        call(driver, "Probe")
    return failure.value.code() is grpc.StatusCode.UNAVAILABLE
