"""Checks the responses of /healthz, byte for byte, in every state of the driver."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import FAST, StartSidecar
from tests.e2e.harness import DriverProcess, Response, Sidecar, connect

HTTP = "--http-endpoint=127.0.0.1:0"
NO_ANSWER = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
ERROR = "rpc error: code = {} desc = {}"

ANSWERS = [
    ("ready-absent", 200, "ok"),
    ("ready", 200, "ok"),
    ("not-ready", 500, "driver responded but is not ready"),
    ("hang", 500, NO_ANSWER),
    ("delay 30", 500, NO_ANSWER),
    ("error 1 given up", 500, ERROR.format("Canceled", "given up")),
    ("error 2", 500, ERROR.format("Unknown", "")),
    ("error 3 bad request", 500, ERROR.format("InvalidArgument", "bad request")),
    ("error 4 the disk is slow", 500, ERROR.format("DeadlineExceeded", "the disk is slow")),
    ("error 5 no volume", 500, ERROR.format("NotFound", "no volume")),
    ("error 6 twice", 500, ERROR.format("AlreadyExists", "twice")),
    ("error 7 keep out", 500, ERROR.format("PermissionDenied", "keep out")),
    ("error 8 too much", 500, ERROR.format("ResourceExhausted", "too much")),
    ("error 9 not healthy", 500, ERROR.format("FailedPrecondition", "not healthy")),
    ("error 10 lost a race", 500, ERROR.format("Aborted", "lost a race")),
    ("error 11 the end", 500, ERROR.format("OutOfRange", "the end")),
    ("error 12 no such thing", 500, ERROR.format("Unimplemented", "no such thing")),
    ("error 13 disque cassé ✗", 500, ERROR.format("Internal", "disque cassé ✗")),
    ("error 14 backend gone", 500, ERROR.format("Unavailable", "backend gone")),
    ("error 15 bits lost", 500, ERROR.format("DataLoss", "bits lost")),
    ("error 16 who are you", 500, ERROR.format("Unauthenticated", "who are you")),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DriverProcess, Sidecar]]:
    """A driver and a sidecar, shared by the tests that only change the driver's replies."""
    folder = tmp_path_factory.mktemp("healthz")
    csi_socket = folder / "csi.sock"
    with ExitStack() as stack:
        driver = stack.enter_context(DriverProcess(csi_socket))
        flags = (f"--csi-address={csi_socket}", HTTP, *FAST)
        sidecar = stack.enter_context(Sidecar(*flags, log=folder / "log"))
        sidecar.wait_for_listeners(1)
        yield driver, sidecar


@pytest.fixture
def healthy(pair: tuple[DriverProcess, Sidecar]) -> Sidecar:
    driver, sidecar = pair
    driver.tell("ready")
    sidecar.wait_for(200, "ok")
    return sidecar


def assert_plain_text(response: Response) -> None:
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    nosniff = response.headers.get("x-content-type-options") == "nosniff"
    assert nosniff is (response.body != "ok")  # so does Go's http.Error


@pytest.mark.parametrize(("behaviour", "status", "body"), ANSWERS)
def test_the_status_and_body_for_each_state_of_the_driver(
    pair: tuple[DriverProcess, Sidecar], behaviour: str, status: int, body: str
) -> None:
    driver, sidecar = pair
    driver.tell(behaviour)
    driver.wait_for_probes(3)
    response = sidecar.ask()
    assert (response.status, response.body) == (status, body)
    assert response.headers["content-length"] == str(len(body.encode()))
    assert_plain_text(response)


def test_a_missing_socket_is_named_with_the_reason(
    start_sidecar: StartSidecar, csi_socket: Path
) -> None:
    response = start_sidecar(HTTP).wait_for(500, str(csi_socket))
    assert "no such file" in response.body
    assert_plain_text(response)


def test_a_socket_without_a_listener_is_named_with_the_reason(
    start_sidecar: StartSidecar, csi_socket: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(csi_socket))
    response = start_sidecar(HTTP).wait_for(500, str(csi_socket))
    assert "connection refused" in response.body


@pytest.mark.parametrize("prefix", ["unix://", "unix:"])
def test_the_socket_may_be_given_as_a_url(
    driver: DriverProcess, start_sidecar: StartSidecar, prefix: str
) -> None:
    start_sidecar(HTTP, f"--csi-address={prefix}{driver.socket}").wait_for(200, "ok")


def test_a_driver_that_accepts_no_connections_is_reported_as_such(
    start_sidecar: StartSidecar, csi_socket: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(csi_socket))
        busy.listen(0)
        waiting.connect(str(csi_socket))
        start_sidecar(HTTP).wait_for(500, "the driver does not accept connections")


def test_unhealthy_until_the_first_result(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("hang")
    response = start_sidecar(HTTP, "--probe-timeout=1m").ask()
    assert (response.status, response.body) == (500, "no Probe() has finished yet")
    assert_plain_text(response)


def test_the_driver_gets_the_deadline_as_grpc_timeout(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    start_sidecar(HTTP, "--probe-timeout=90s").wait_for(200, "ok")
    assert 90 < driver.counts.last_timeout <= 91


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_any_method_answers(healthy: Sidecar, method: str) -> None:
    response = healthy.ask(method=method)
    assert (response.status, response.body) == (200, "ok")


def test_head_has_the_headers_and_no_body(healthy: Sidecar) -> None:
    request = b"HEAD /healthz HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n"
    with connect(healthy.address, request) as connection, connection.makefile("rb") as stream:
        head, body = stream.read().split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 2" in head.lower()
    assert body == b""


def test_any_other_query_than_verbose_is_ignored(healthy: Sidecar) -> None:
    response = healthy.ask("/healthz?a=verbose&x=%2F")
    assert (response.status, response.body) == (200, "ok")


@pytest.mark.parametrize("target", ["/", "/healthz/", "/healthz/x", "/HEALTHZ", "/x?/healthz"])
def test_any_other_path_is_not_found(healthy: Sidecar, target: str) -> None:
    response = healthy.ask(target)
    assert (response.status, response.body) == (404, "404 page not found\n")
    assert_plain_text(response)


UPGRADE_TO_HTTP2 = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: ????\r\n"
)
UPGRADE_TO_WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: sidecar\r\n\r\n",
        b"GET http://[/healthz HTTP/1.1\r\nHost: sidecar\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: sidecar\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: sidecar\r\nContent-Length: -1\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: sidecar\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"GET / HTTP/1.1\r\nHost: sidecar\r\n%b\r\n" % UPGRADE_TO_HTTP2,
        b"GET / HTTP/1.1\r\nHost: sidecar\r\n%b\r\n\x00" % UPGRADE_TO_WEBSOCKET,
    ],
    ids=lambda request_bytes: repr(request_bytes)[:60],
)
def test_an_abusive_client_affects_no_other(healthy: Sidecar, request_bytes: bytes) -> None:
    with suppress(OSError), connect(healthy.address, request_bytes) as connection:
        # It may get a response, EOF or a reset, or nothing.
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.3)
        while connection.recv(65536):
            pass
    assert healthy.ask().status == 200


def test_one_connection_may_send_two_requests(healthy: Sidecar) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: sidecar\r\n"
    last = b"Connection: close\r\n\r\n"
    with (
        connect(healthy.address, request + b"\r\n" + request + last) as connection,
        connection.makefile("rb") as stream,
    ):
        assert stream.read().count(b"HTTP/1.1 200") == 2
