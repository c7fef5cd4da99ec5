"""Checks the addresses that the command listens on, and what each listener serves."""

import socket

import pytest

from tests.e2e.conftest import StartSidecar
from tests.e2e.harness import Address, ask, free_port

V4, V6 = "127.0.0.1", "::1"


def host_has_ipv6() -> bool:
    try:
        socket.create_server((V6, 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not host_has_ipv6(), reason="this host has no IPv6")


# The port is fixed, since 0 may stand for one port over IPv4 and for another over IPv6.
@pytest.mark.parametrize(
    ("flag", "hosts"),
    [
        ("--http-endpoint=0.0.0.0:{}", [V4]),
        ("--http-endpoint=127.0.0.1:{}", [V4]),
        ("--http-endpoint=localhost:{}", [V4]),
        pytest.param("--http-endpoint=[::1]:{}", [V6], marks=needs_ipv6),
        pytest.param("--http-endpoint=[::]:{}", [V6], marks=needs_ipv6),
        pytest.param("--http-endpoint=:{}", [V4, V6], marks=needs_ipv6),
        pytest.param("--health-port={}", [V4, V6], marks=needs_ipv6),
    ],
)
def test_the_addresses_that_a_flag_listens_on(
    start_sidecar: StartSidecar, flag: str, hosts: list[str]
) -> None:
    port = free_port()
    start_sidecar(flag.format(port))
    assert [ask(Address(host, port)).status for host in hosts] == [500] * len(hosts)


def test_one_ipv4_address_is_not_reachable_at_another(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar("--http-endpoint=127.0.0.1:0")
    with pytest.raises(ConnectionRefusedError):
        ask(Address("127.0.0.2", sidecar.address.port))


@pytest.mark.usefixtures("driver")
def test_no_metrics_unless_asked_for(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar("--health-port=0")
    sidecar.wait_for(200, "ok")
    assert sidecar.ask("/metrics").status == 404


def test_http_endpoint_serves_health_and_metrics(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar("--http-endpoint=127.0.0.1:0")
    assert sidecar.ask("/healthz").status == 500
    assert sidecar.ask("/metrics").status == 200


def test_metrics_address_is_apart_from_health(start_sidecar: StartSidecar) -> None:
    health, metrics = free_port(), free_port()
    start_sidecar(f"--health-port={health}", f"--metrics-address=127.0.0.1:{metrics}")
    assert ask(Address(V4, health), "/healthz").status == 500
    assert ask(Address(V4, health), "/metrics").status == 404
    assert ask(Address(V4, metrics), "/healthz").status == 404
    assert ask(Address(V4, metrics), "/metrics").status == 200


def test_metrics_path(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar("--http-endpoint=127.0.0.1:0", "--metrics-path=/a/b")
    assert sidecar.ask("/a/b").status == 200
    assert sidecar.ask("/metrics").status == 404
