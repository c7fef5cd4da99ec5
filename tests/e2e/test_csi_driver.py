"""Checks the scripted driver of the other tests, with grpcio as its client."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import pytest

from tests.csi_driver import DRIVER_NAME, HANG, NOT_READY, READY, CsiDriver, error, named
from tests.e2e.conftest import StartDriver
from tests.e2e.harness import wait_until

Call = Callable[..., bytes]


@pytest.fixture
def channel(csi_socket: Path) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"unix:{csi_socket}") as channel:
        yield channel


@pytest.fixture
def probe(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary("/csi.v1.Identity/Probe")


def test_answers(csi_driver: CsiDriver, probe: grpc.UnaryUnaryMultiCallable) -> None:
    assert probe(b"") == b""
    csi_driver.probe = READY
    assert probe(b"") == READY.reply
    csi_driver.probe = NOT_READY
    assert probe(b"", timeout=100) == NOT_READY.reply
    csi_driver.probe = error(9, "not healthy")
    with pytest.raises(grpc.RpcError) as raised:
        probe(b"")
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == "not healthy"


def test_a_name(csi_driver: CsiDriver, channel: grpc.Channel) -> None:
    get_plugin_info = channel.unary_unary("/csi.v1.Identity/GetPluginInfo")
    assert get_plugin_info(b"") == b"\x0a\x14" + DRIVER_NAME.encode()
    csi_driver.plugin_info = named("")
    assert get_plugin_info(b"") == b"\x0a\x00"
    assert csi_driver.counts.plugin_infos == 2


def test_a_hang_ends_on_cancellation_or_release(
    csi_driver: CsiDriver, probe: grpc.UnaryUnaryMultiCallable
) -> None:
    csi_driver.probe = HANG
    given_up, released = probe.future(b"", timeout=60), probe.future(b"")
    wait_until(lambda: csi_driver.counts.in_flight == 2)
    given_up.cancel()
    wait_until(lambda: csi_driver.counts.in_flight == 1)
    csi_driver.release()
    assert released.result() == b""
    assert csi_driver.counts.max_in_flight == csi_driver.counts.probes == 2


def test_stopping_ends_a_hang_and_leaves_no_thread(csi_socket: Path) -> None:
    before = threading.active_count()
    with CsiDriver(csi_socket) as driver, grpc.insecure_channel(f"unix:{csi_socket}") as channel:
        driver.probe = HANG
        call = channel.unary_unary("/csi.v1.Identity/Probe").future(b"")
        wait_until(lambda: driver.counts.in_flight == 1)
    assert call.done()
    wait_until(lambda: threading.active_count() == before)


def test_as_a_process_it_can_be_killed_and_restarted(
    start_driver: StartDriver, probe: grpc.UnaryUnaryMultiCallable
) -> None:
    first = start_driver()
    assert first.tell("not-ready") == "ok"
    assert probe(b"") == NOT_READY.reply
    assert first.counts.probes == 1
    first.signal(SIGKILL)
    second = start_driver()
    assert second.tell("info error 13 boom") == "ok"
    assert probe(b"", wait_for_ready=True) == b""
    assert second.counts.probes == 1
