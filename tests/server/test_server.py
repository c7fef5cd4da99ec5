import math
import socket
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NoReturn

import pytest
import trio
import trio.lowlevel
from h2.events import ConnectionTerminated
from hyperframe.frame import RstStreamFrame, SettingsFrame

from livenessprobe.endpoints.not_found import not_found
from livenessprobe.health.verdict import NOTHING_KNOWN, Verdict
from livenessprobe.server import accept, connection, server
from livenessprobe.server.asgi import Application
from livenessprobe.server.limits import HEAD_BYTES, READ_BYTES
from livenessprobe.server.listen import open_listeners
from livenessprobe.server.request import BODY_BYTES
from livenessprobe.server.state import DRAIN, TIMEOUTS, State
from tests.server.harness import (
    GET,
    GET_HUGE,
    H2_HELLO,
    H2_PREFACE,
    H2C,
    HEALTHY,
    HUGE,
    KEYLESS_WEBSOCKET,
    PATIENCE,
    POST,
    POST_CHUNKED,
    WEBSOCKET,
    Answer,
    H2Client,
    h2_request,
    leaving_nothing,
    serving,
)

OK = (200, b"ok")
NOT_FOUND = (404, b"404 page not found\n")
NO_TUNNEL = (501, b"this is no proxy\n")


def in_short(answer: Answer) -> tuple[int, bytes]:
    return answer.status, answer.body


# Answers


@pytest.mark.parametrize(
    ("verdict", "status", "body"),
    [
        (HEALTHY, 200, "ok"),
        (NOTHING_KNOWN, 500, "no Probe() has finished yet"),
        (Verdict(healthy=False, reason="cassé ✗\r\n\r\nX: y\0"), 500, "cassé ✗\\r\n\\r\nX: y\\x00"),
        (Verdict(healthy=False, reason=""), 500, ""),
        (Verdict(healthy=False, reason="é" * 5000), 500, "é" * 4096),
    ],
)
async def test_healthz(verdict: Verdict, status: int, body: str) -> None:
    expected = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body.encode())),
    }
    if status != 200:
        expected["x-content-type-options"] = "nosniff"
    async with serving(lambda: verdict) as web:
        over_1 = await web.ask()
        async with web.client() as client:
            h2 = H2Client(client.stream)
            await h2.start()
            over_2 = await h2.ask()
    for answer in over_1, over_2:
        assert in_short(answer) == (status, body.encode())
        assert parsedate_to_datetime(answer.headers.pop("date")).year >= 2025
    assert over_1.headers.pop("keep-alive") == "timeout=55"
    assert over_1.headers == over_2.headers == expected


REQUESTS = {
    "GET": (GET, OK),
    "POST without a body": (POST + b"\r\n", OK),
    "POST with a body": (POST + b"Content-Length: 5\r\n\r\nhello", OK),
    "POST with a large body": (POST + b"Content-Length: 5000000\r\n\r\n" + bytes(5_000_000), OK),
    "POST with many chunks": (POST_CHUNKED + b"1\r\nx\r\n" * 5_000 + b"0\r\nX: y\r\n\r\n", OK),
    "OPTIONS": (GET.replace(b"GET", b"OPTIONS"), OK),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", NOT_FOUND),
    "DELETE": (GET.replace(b"GET", b"DELETE"), OK),
    "a method that nobody knows": (GET.replace(b"GET", b"X!"), OK),
    "CONNECT to another host": (b"CONNECT y:80 HTTP/1.1\r\nHost: y:80\r\n\r\n", NO_TUNNEL),
    "CONNECT to a path": (GET.replace(b"GET", b"CONNECT"), NO_TUNNEL),
    "a query": (GET.replace(b"z HTTP", b"z?x=/y&%00 HTTP"), OK),
    "percent-encoded": (GET.replace(b"/h", b"/%68"), OK),
    "percent-encoded slash": (GET.replace(b"/h", b"%2Fh"), OK),
    "percent-encoded badly": (GET.replace(b"/h", b"/%ff%h"), NOT_FOUND),
    "a query, percent-encoded": (GET.replace(b"z HTTP", b"z%3Fx HTTP"), NOT_FOUND),
    "absolute form": (GET.replace(b"/h", b"http://y:80/h"), OK),
    "absolute form in capitals": (GET.replace(b"/h", b"HTTP://y/h"), OK),
    "absolute form without a path": (GET.replace(b"/healthz", b"http://y"), NOT_FOUND),
    "absolute form of a bad host": (GET.replace(b"/h", b"http://[/h"), OK),
    "a slash too much": (GET.replace(b"z HTTP", b"z/ HTTP"), NOT_FOUND),
    "another path": (GET.replace(b"healthz", b""), NOT_FOUND),
    "an upgrade to HTTP/2": (H2C, OK),
    "an upgrade to HTTP/2, with settings": (
        H2C.replace(b"Upgrade\r\n", b"Upgrade, HTTP2-Settings\r\nHTTP2-Settings: \r\n", 1),
        OK,
    ),
    "a websocket": (WEBSOCKET, OK),
    "a websocket without a key": (KEYLESS_WEBSOCKET, OK),
    "an unknown upgrade": (GET.replace(b"Host", b"Connection: upgrade\r\nUpgrade: y\r\nHost"), OK),
    # RFC 9112, 6.3: Transfer-Encoding overrides Content-Length. Every answer is everybody's, so
    # there is nothing to smuggle a request to.
    "two lengths of a body": (
        POST + b"Content-Length: 9\r\n" + POST_CHUNKED[len(POST) :] + b"0\r\n\r\n",
        OK,
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_is_answered_and_so_is_the_next_on_its_connection(name: str) -> None:
    request, expected = REQUESTS[name]
    async with serving() as web, web.client() as client:
        for _ in range(2):
            await client.send(request)
            assert in_short(await client.answer()) == expected


def padded(size: int, lines: int) -> bytes:
    """Return a request whose head has this size, in so many more lines."""
    line = b"X: " + b"y" * ((size - len(GET)) // lines - 5) + b"\r\n"
    head = GET.replace(b"Host", line * lines + b"Host")
    return head.replace(b"X: ", b"X: " + b"y" * (size - len(head)), 1)


@pytest.mark.parametrize("size", [30_000, HEAD_BYTES])
@pytest.mark.parametrize("lines", [1, 20, 2_000])
async def test_a_large_head_is_answered(size: int, lines: int) -> None:
    head = padded(size, lines)
    assert len(head) == size
    async with serving() as web, web.client() as client:
        for _ in range(2):
            await client.send(head)
            assert in_short(await client.answer()) == OK


@pytest.mark.parametrize("surplus", [-1, 0, 1, BODY_BYTES])
async def test_the_beginning_of_a_body_is_read(surplus: int) -> None:
    body = bytes(range(256)) * (2 * BODY_BYTES // 256)
    sent = body[: BODY_BYTES + surplus]
    parts = [sent[start : start + 99] for start in range(0, len(sent), 99)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    async with serving() as web:
        over_1 = await web.ask(POST_CHUNKED.replace(b"healthz", b"echo") + chunks + b"0\r\n\r\n")
        async with web.client() as client:
            h2 = H2Client(client.stream)
            await h2.start()
            over_2 = await h2.ask("/echo", "POST", sent)
    assert over_1.body == over_2.body == sent[:BODY_BYTES]


async def test_a_head_that_is_too_large_is_refused() -> None:
    async with serving() as web:
        answer = await web.ask(padded(HEAD_BYTES + 2 * READ_BYTES, 1))
        assert (answer.status, answer.headers["connection"]) == (431, "close")


async def test_raw_utf_8_in_a_query_is_refused() -> None:
    async with serving() as web:
        raw = await web.ask("GET /healthz?a=ü HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (raw.status, raw.headers["connection"]) == (400, "close")
        encoded = await web.ask(GET.replace(b"/healthz", b"/healthz?a=%C3%BC"))
        assert in_short(encoded) == OK


async def test_head_has_the_length_of_a_body_but_no_body() -> None:
    async with serving() as web, web.client(GET.replace(b"GET", b"HEAD")) as client:
        head = await client.answer("HEAD")
        assert in_short(head) == (200, b"")
        assert head.headers["content-length"] == "2"
        await client.send(GET)
        assert in_short(await client.answer()) == OK


async def test_a_request_is_answered_in_a_task_if_it_is_to_be(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    serve, tasks = connection.Connection.serve, 0

    async def count(self: connection.Connection) -> None:
        nonlocal tasks
        tasks += 1
        await serve(self)

    monkeypatch.setattr(connection.Connection, "serve", count)
    async with serving() as web:
        await web.ask(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert tasks == (way == "in_a_task")


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving() as web, web.client(b"GET /healthz HTTP/1.0\r\n\r\n") as client:
        answer = await client.answer()
        assert in_short(answer) == OK
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""


async def test_a_client_may_ask_for_the_connection_to_be_closed() -> None:
    closing = GET.replace(b"Host", b"Connection: close\r\nHost")
    async with serving() as web, web.client(closing) as client:
        assert in_short(await client.answer()) == OK
        assert await client.rest() == b""


@pytest.mark.parametrize("request_bytes", [GET, POST + b"Content-Length: 5\r\n\r\nhello"])
async def test_a_client_may_close_its_half_before_it_is_answered(request_bytes: bytes) -> None:
    async with serving() as web, web.client(request_bytes) as client:
        await client.stream.send_eof()
        assert in_short(await client.answer()) == OK
        assert await client.rest() == b""


async def test_pipelined_requests_are_answered_in_order() -> None:
    missing = GET.replace(b"/healthz", b"/")
    async with serving() as web, web.client((GET + missing) * 50) as client:
        answers = [in_short(await client.answer()) for _ in range(100)]
    assert answers == [OK, NOT_FOUND] * 50


@pytest.mark.parametrize("first", [GET, GET + GET])
async def test_a_connection_keeps_the_version_that_it_began_with(first: bytes) -> None:
    async with serving() as web, web.client(first + H2_PREFACE) as client:
        for _ in range(first.count(GET)):
            assert in_short(await client.answer()) == OK
        assert in_short(await client.answer()) == NOT_FOUND  # to the method PRI
        assert (await client.answer()).status == 400  # to the rest of the preface
        assert await client.rest() == b""


async def test_a_request_is_answered_once_it_is_whole() -> None:
    async with serving() as web, web.client(POST + b"Content-Length: 5\r\n\r\nhe") as client:
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert web.observed == []
        await client.send(b"llo" + GET)
        for _ in range(2):
            assert in_short(await client.answer()) == OK


async def test_expect_100_continue() -> None:
    head = POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    async with serving() as web, web.client(head) as client:
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.send(b"hello" + GET)
        for _ in range(2):
            assert in_short(await client.answer()) == OK


async def test_http_2_with_prior_knowledge() -> None:
    async with serving() as web, web.client() as client:
        h2 = H2Client(client.stream)
        await h2.start()
        assert in_short(await h2.ask()) == OK
        assert in_short(await h2.ask("/healthz?x=y", "DELETE")) == OK
        assert in_short(await h2.ask("/healthz/")) == NOT_FOUND
        assert in_short(await h2.ask(method="POST", body=b"hello")) == OK
        head = await h2.ask(method="HEAD")
        assert (head.headers["content-length"], head.body) == ("2", b"")
        assert len((await h2.ask("/huge")).body) == HUGE


async def test_a_websocket_over_http_2_is_refused() -> None:
    pseudo = {":method": "CONNECT", ":scheme": "http", ":path": "/healthz", ":authority": "x"}
    fields = pseudo | {":protocol": "websocket", "sec-websocket-version": "13"}
    async with serving() as web, web.client() as client:
        h2 = H2Client(client.stream)
        await h2.start()
        h2.connection.send_headers(1, list(fields.items()))
        await client.send(h2.connection.data_to_send())
        assert (await h2.answer(1)).status == 403


# Ends of connections

RESET = RstStreamFrame(1).serialize()
NO_WINDOW = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()

IDLE_CLIENTS = {
    "says nothing": b"",
    "has its answer": GET,
    "says only hello in HTTP/2": H2_HELLO,
    "has its answer in HTTP/2": H2_HELLO + h2_request(),
    "resets its stream": H2_HELLO + h2_request() + RESET,
}
STUCK_CLIENTS = {
    "says half a method": b"GE",
    "says half a header": b"GET /healthz HTTP/1.1\r\nHo",
    "says what is not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "does not read": GET_HUGE * 10,
    "says half a body": POST + b"Content-Length: 5\r\n\r\nhe",
    "says many chunks and does not read": POST_CHUNKED.replace(b"healthz", b"huge")
    + b"1\r\nx\r\n" * 1_000,
    "has no window": H2_PREFACE + NO_WINDOW + h2_request(),
}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the server wait for ever, for all but what the test sets."""
    for state in TIMEOUTS:
        monkeypatch.setitem(TIMEOUTS, state, math.inf)
    monkeypatch.setattr(connection, "DRAIN", math.inf)
    return monkeypatch


def test_every_state_has_its_time() -> None:
    assert TIMEOUTS.keys() == set(State)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("client", IDLE_CLIENTS | STUCK_CLIENTS)
async def test_a_connection_is_gone_as_soon_as_its_client(client: str) -> None:
    async with serving() as web, web.client((IDLE_CLIENTS | STUCK_CLIENTS)[client]):
        await web.assert_unharmed()
        await trio.testing.wait_all_tasks_blocked(0.01)  # it is idle by now


@pytest.mark.parametrize("client", IDLE_CLIENTS)
async def test_a_client_that_asks_nothing_is_hung_up_on(
    patient: pytest.MonkeyPatch, client: str
) -> None:
    for state in (State.IDLE, State.BUSY):
        patient.setitem(TIMEOUTS, state, 0.05)
    async with serving() as web, web.client(IDLE_CLIENTS[client]) as idle:
        await idle.rest()


@pytest.mark.parametrize("client", STUCK_CLIENTS)
async def test_a_request_and_its_response_have_their_time(
    patient: pytest.MonkeyPatch, client: str
) -> None:
    patient.setitem(TIMEOUTS, State.BUSY, 0.1)
    patient.setitem(TIMEOUTS, State.ENDING, 0.1)
    async with serving() as web, web.client() as stuck:
        async with leaving_nothing():
            await stuck.send(STUCK_CLIENTS[client])
            await trio.sleep(0.01)
        await web.assert_unharmed()


async def test_the_last_response_has_its_time_once(patient: pytest.MonkeyPatch) -> None:
    patient.setitem(TIMEOUTS, State.BUSY, 0.2)
    async with serving() as web, web.client() as stuck, leaving_nothing():
        await stuck.send(GET_HUGE.replace(b"1.1", b"1.0"))
        await stuck.stream.receive_some(1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        patient.setitem(TIMEOUTS, State.BUSY, math.inf)


async def test_half_a_request_has_its_time_however_its_bytes_come(
    patient: pytest.MonkeyPatch,
) -> None:
    patient.setitem(TIMEOUTS, State.BUSY, 0.1)
    async with serving() as web, web.client() as slow:
        with suppress(trio.BrokenResourceError):  # for it is closed
            while True:
                await slow.stream.send_all(b"G")
                await trio.sleep(0.01)


async def test_an_idle_http_2_client_is_told_before_its_connection_is_closed(
    patient: pytest.MonkeyPatch,
) -> None:
    patient.setitem(TIMEOUTS, State.IDLE, 0.1)
    async with serving() as web, web.client() as client:
        h2 = H2Client(client.stream)
        await h2.start()
        await h2.ask()
        events = h2.connection.receive_data(await client.rest())
        goaway = next(event for event in events if isinstance(event, ConnectionTerminated))
        assert (goaway.error_code, goaway.last_stream_id) == (0, 1)


async def test_the_last_response_of_a_connection_says_so(patient: pytest.MonkeyPatch) -> None:
    """As the server stops, what is under way is the last."""
    patient.setitem(TIMEOUTS, State.ENDING, 0.1)
    async with serving() as web, web.client(GET[:-2]) as client:
        await trio.testing.wait_all_tasks_blocked(0.01)
        web.stop()
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(GET[-2:])
        answer = await client.answer()
        assert (answer.headers["connection"], answer.headers.get("keep-alive")) == ("close", None)
        assert await client.rest() == b""
        await web.stopped.wait()


# The end of the server


def test_the_program_ends_within_a_second() -> None:
    assert DRAIN < 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("client", IDLE_CLIENTS)
async def test_idle_connections_are_closed_at_once(client: str) -> None:
    async with serving() as web, web.client(IDLE_CLIENTS[client]) as idle:
        await web.assert_unharmed()
        await trio.testing.wait_all_tasks_blocked(0.01)  # it is idle by now
        web.stop()
        await web.stopped.wait()
        await idle.send(b"x")  # the kernel tells a client that has said nothing only then
        await idle.rest()


async def test_a_connection_that_has_sent_nothing_is_closed_at_once(
    patient: pytest.MonkeyPatch,
) -> None:
    patient.setitem(accept.OPTIONS, socket.TCP_DEFER_ACCEPT, 0)  # else it is not even accepted
    async with serving() as web, web.client() as silent:
        await web.assert_unharmed()
        web.stop()
        assert await silent.rest() == b""
        await web.stopped.wait()


async def test_an_answer_in_flight_is_finished_and_nobody_else_is_let_in(
    patient: pytest.MonkeyPatch,
) -> None:
    patient.setitem(TIMEOUTS, State.ENDING, 0.1)
    async with serving() as web, web.client(GET_HUGE) as client, web.client() as client_2:
        h2 = H2Client(client_2.stream)
        await h2.start()
        await h2.ask()
        stream_id = await h2.request("/huge")
        begun = bytes(await h2.stream.receive_some(1))
        await client.stream.receive_some(1)
        web.stop()
        with pytest.raises(OSError, match="all attempts to connect"):
            await web.ask()
        assert (await client.rest()).endswith(bytes(HUGE))
        assert (await h2.answer(stream_id, begun)).body == bytes(HUGE)
        await web.stopped.wait()


@pytest.mark.parametrize("client", STUCK_CLIENTS)
async def test_what_is_under_way_is_cut_after_a_while(
    patient: pytest.MonkeyPatch, client: str
) -> None:
    patient.setattr(connection, "DRAIN", 0.05)
    async with serving() as web, web.client(STUCK_CLIENTS[client]):
        await web.assert_unharmed()
        web.stop()
        await web.stopped.wait()


async def test_a_client_cannot_put_off_the_end(patient: pytest.MonkeyPatch) -> None:
    patient.setattr(connection, "DRAIN", 0.05)
    async with serving() as web, web.client(GET_HUGE) as stuck:
        await stuck.stream.receive_some(1)
        web.stop()
        await trio.testing.wait_all_tasks_blocked()
        patient.setattr(connection, "DRAIN", math.inf)
        await stuck.stream.send_eof()
        await web.stopped.wait()


async def test_a_server_cancelled_before_it_starts_closes_its_listeners() -> None:
    [listener] = await open_listeners("127.0.0.1:0")
    application = Application({}, not_found({}), lambda *_: None)
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
        scope.cancel()
        await server.serve(application, [listener])
    assert listener.fileno() == -1


# Our own bugs


class WorseError(BaseException):
    """What `except Exception` does not catch."""


def fail(error: BaseException) -> Callable[[], NoReturn]:
    def judge() -> NoReturn:
        raise error

    return judge


@pytest.mark.parametrize("request_bytes", [GET, H2_HELLO + h2_request()])
async def test_a_bug_is_raised_and_leaves_nothing(request_bytes: bytes) -> None:
    async with leaving_nothing():
        with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
            async with serving(fail(KeyError("bug"))) as web, web.client(request_bytes):
                await trio.sleep_forever()


@pytest.mark.parametrize("error", [KeyError("bug"), WorseError()])
@pytest.mark.parametrize("stopped", [False, True])
async def test_a_bug_is_raised_though_a_client_does_not_read(
    patient: pytest.MonkeyPatch, error: BaseException, *, stopped: bool
) -> None:
    patient.setattr(connection, "DRAIN", 0.05)
    async with leaving_nothing():
        with pytest.RaisesGroup(type(error), flatten_subgroups=True):
            async with serving(fail(error)) as web, web.client(GET_HUGE) as stuck:
                await stuck.stream.receive_some(1)
                async with web.client(GET):
                    if stopped:
                        await trio.lowlevel.checkpoint()
                        web.stop()
                    await trio.sleep_forever()
