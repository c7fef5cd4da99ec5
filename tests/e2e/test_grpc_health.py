"""Checks the gRPC health service with grpcio as the client, as for a kubelet's `grpc` probe."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from signal import SIGKILL

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # likewise
from grpc_health.v1.health_pb2 import (  # type: ignore[import-untyped]  # likewise
    HealthCheckRequest,
    HealthListRequest,
)

from tests.e2e.conftest import FAST, StartDriver, StartSidecar
from tests.e2e.harness import TIMEOUT, Address, DriverProcess, Sidecar, wait_until

HTTP = "--http-endpoint=127.0.0.1:0"
METRICS = ("--health-port=0", "--metrics-address=127.0.0.1:0")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

CHECK = "/grpc.health.v1.Health/Check"

SERVICES = ("", "liveness", "readiness")


@contextmanager
def dial(address: Address) -> Iterator[grpc.Channel]:
    """Open a channel with its own connection; by default grpcio shares one between channels."""
    own = ("grpc.use_local_subchannel_pool", 1)
    host = f"[{address.host}]" if ":" in address.host else address.host
    with grpc.insecure_channel(f"{host}:{address.port}", options=[own]) as channel:
        yield channel


def check(channel: grpc.Channel, service: str) -> int:
    request = HealthCheckRequest(service=service)
    status: int = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT).status
    return status


def check_all(channel: grpc.Channel) -> list[int]:
    return [check(channel, service) for service in SERVICES]


def check_anew(sidecar: Sidecar, service: str = "") -> int:
    """Send one Check over a new connection, as kubelet does."""
    with dial(sidecar.address) as channel:
        return check(channel, service)


def code(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Return the status code and details of the error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DriverProcess, Sidecar]]:
    """A driver and a sidecar, shared by the tests that only change the driver's replies."""
    folder = tmp_path_factory.mktemp("grpc")
    with ExitStack() as stack:
        driver = stack.enter_context(DriverProcess(folder / "csi.sock"))
        flags = (f"--csi-address={folder / 'csi.sock'}", HTTP, *FAST)
        sidecar = stack.enter_context(Sidecar(*flags, log=folder / "log"))
        sidecar.wait_for_listeners(1)
        yield driver, sidecar


@pytest.fixture
def channel(pair: tuple[DriverProcess, Sidecar]) -> Iterator[grpc.Channel]:
    """A channel to the sidecar of a driver that is ready."""
    driver, sidecar = pair
    driver.tell("ready")
    sidecar.wait_for(200, "ok")
    with dial(sidecar.address) as channel:
        yield channel


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [
        ("ready", [SERVING, SERVING, SERVING]),
        ("ready-absent", [SERVING, SERVING, SERVING]),
        ("not-ready", [NOT_SERVING, SERVING, NOT_SERVING]),
        ("error 9 not healthy", [NOT_SERVING, NOT_SERVING, NOT_SERVING]),
        ("hang", [NOT_SERVING, NOT_SERVING, NOT_SERVING]),
    ],
)
def test_the_statuses_for_each_state_of_the_driver(
    pair: tuple[DriverProcess, Sidecar], behaviour: str, statuses: list[int]
) -> None:
    driver, sidecar = pair
    driver.tell(behaviour)
    driver.wait_for_probes(3)
    assert [check_anew(sidecar, service) for service in SERVICES] == statuses
    with dial(sidecar.address) as channel:
        listed = health_pb2_grpc.HealthStub(channel).List(HealthListRequest(), timeout=TIMEOUT)
    assert [listed.statuses[service].status for service in SERVICES] == statuses
    assert len(listed.statuses) == len(SERVICES)


def test_the_statuses_follow_the_driver_over_one_connection(
    start_driver: StartDriver, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP)
    with dial(sidecar.address) as channel:
        wait_until(lambda: check(channel, "") == NOT_SERVING)
        driver = start_driver()
        wait_until(lambda: check_all(channel) == [SERVING, SERVING, SERVING])
        driver.tell("not-ready")
        wait_until(lambda: check_all(channel) == [NOT_SERVING, SERVING, NOT_SERVING])
        driver.signal(SIGKILL)
        wait_until(lambda: check_all(channel) == [NOT_SERVING, NOT_SERVING, NOT_SERVING])


def test_the_reason_is_in_the_metadata(pair: tuple[DriverProcess, Sidecar]) -> None:
    driver, sidecar = pair
    driver.tell("error 13 100% cassé")
    sidecar.wait_for(500, "cassé")
    with dial(sidecar.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        _, call = stub.Check.with_call(HealthCheckRequest(), timeout=TIMEOUT)
        metadata = dict(call.initial_metadata())
    assert metadata["reason"] == "rpc error: code = Internal desc = 100%25 cass%C3%A9"
    assert float(metadata["age"]) < TIMEOUT


def test_without_a_driver_the_status_is_not_serving(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for(500, "no such file")
    with dial(sidecar.address) as channel:
        assert check_all(channel) == [NOT_SERVING, NOT_SERVING, NOT_SERVING]


def test_no_call_waits_for_a_hanging_driver(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("hang")
    sidecar = start_sidecar(HTTP, "--probe-timeout=1m")  # a call has `TIMEOUT`, which is less
    wait_until(lambda: driver.counts.in_flight)
    with dial(sidecar.address) as channel:
        assert {check(channel, "liveness") for _ in range(50)} == {NOT_SERVING}


@pytest.mark.parametrize("service", ["x", "csi.v1.Identity", "Liveness", "é"])
def test_an_unknown_service_is_not_found(channel: grpc.Channel, service: str) -> None:
    assert code(lambda: check(channel, service)) == (
        grpc.StatusCode.NOT_FOUND,
        "unknown service",
    )


def test_watch_is_unimplemented(channel: grpc.Channel) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch
    assert code(lambda: next(watch(HealthCheckRequest(), timeout=TIMEOUT))) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "unknown method /grpc.health.v1.Health/Watch",
    )


@pytest.mark.parametrize("path", ["/grpc.health.v1.Health/X", "/csi.v1.Identity/Probe", "/x"])
def test_any_other_method_is_unimplemented_on_every_listener(
    start_sidecar: StartSidecar, path: str
) -> None:
    sidecar = start_sidecar(*METRICS, listeners=3)
    assert len(sidecar.addresses) == 3
    for address in sidecar.addresses:
        with dial(address) as channel:
            call = channel.unary_unary(path)
            assert code(lambda: call(b"", timeout=TIMEOUT)) == (  # noqa: B023 - called at once
                grpc.StatusCode.UNIMPLEMENTED,
                f"unknown method {path}",
            )


MALFORMED = {
    "no message": ([], grpc.StatusCode.INTERNAL),
    "two messages": ([b"", b""], grpc.StatusCode.INTERNAL),
    "garbage": ([b"\x0a"], grpc.StatusCode.INTERNAL),
    "a long message": ([bytes(5_000_000)], grpc.StatusCode.RESOURCE_EXHAUSTED),
    "many long messages": ([bytes(100_000)] * 20, grpc.StatusCode.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_call_fails_and_the_next_does_not(channel: grpc.Channel, name: str) -> None:
    messages, expected = MALFORMED[name]
    call = channel.stream_unary(CHECK)
    assert code(lambda: call(iter(messages), timeout=TIMEOUT))[0] is expected
    assert check(channel, "") == SERVING


def test_compressed_messages_are_unimplemented(channel: grpc.Channel) -> None:
    call = channel.unary_unary(CHECK, HealthCheckRequest.SerializeToString)
    request = HealthCheckRequest(service="x" * 500)
    gzip = grpc.Compression.Gzip
    assert code(lambda: call(request, timeout=TIMEOUT, compression=gzip)) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "compressed messages are not supported",
    )


def test_one_connection_serves_many_calls(channel: grpc.Channel) -> None:
    assert {check(channel, "") for _ in range(500)} == {SERVING}


def test_many_calls_at_once(pair: tuple[DriverProcess, Sidecar], channel: grpc.Channel) -> None:
    _, sidecar = pair
    with ThreadPoolExecutor(20) as callers:
        over_one = list(callers.map(lambda _: check(channel, ""), range(200)))
        over_their_own = list(callers.map(lambda _: check_anew(sidecar), range(100)))
    assert set(over_one + over_their_own) == {SERVING}


def test_an_open_channel_does_not_delay_the_exit(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    with dial(sidecar.address) as channel:
        check(channel, "")
        sidecar.stop()
        assert code(lambda: check(channel, ""))[0] is grpc.StatusCode.UNAVAILABLE


def test_an_open_call_does_not_delay_the_exit(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    enough = threading.Event()

    def messages() -> Iterator[bytes]:
        enough.wait()
        yield b""

    with dial(sidecar.address) as channel:
        call = channel.stream_unary(CHECK).future(messages(), timeout=TIMEOUT)
        check(channel, "")
        sidecar.stop()
        enough.set()
        assert code(call.result)[0] is grpc.StatusCode.UNAVAILABLE
