import math
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NoReturn

import h11
import pytest
import trio
import trio.lowlevel
from h2.events import ConnectionTerminated
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame

from livenessprobe.health import NOTHING_KNOWN, Verdict
from livenessprobe.web import conversation, patience, server
from tests.web.harness import (
    GET,
    GET_HUGE,
    H2_HELLO,
    H2_PREFACE,
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
        "x-content-type-options": "nosniff",
    }
    async with serving(lambda: verdict) as web:
        over_1 = await web.ask()
        async with web.client() as client:
            h2 = H2Client(client.stream)
            await h2.start()
            over_2 = await h2.ask()
    for answer in over_1, over_2:
        assert in_short(answer) == (status, body.encode())
        assert parsedate_to_datetime(answer.headers.pop("date")).year >= 2025
        assert answer.headers == expected


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
    "CONNECT to another host": (b"CONNECT y:80 HTTP/1.1\r\nHost: y:80\r\n\r\n", NOT_FOUND),
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


async def test_head_has_the_length_of_a_body_but_no_body() -> None:
    async with serving() as web, web.client(GET.replace(b"GET", b"HEAD")) as client:
        head = await client.answer("HEAD")
        assert in_short(head) == (200, b"")
        assert head.headers["content-length"] == "2"
        await client.send(GET)
        assert in_short(await client.answer()) == OK


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


async def test_the_answer_does_not_wait_for_the_body() -> None:
    async with serving() as web, web.client(POST + b"Content-Length: 5\r\n\r\nhe") as client:
        assert in_short(await client.answer()) == OK
        await client.send(b"llo" + GET)
        assert in_short(await client.answer()) == OK


async def test_expect_100_continue() -> None:
    head = POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    async with serving() as web, web.client(head) as client:
        answer = await client.answer()
        assert (answer.informational, *in_short(answer)) == ((100,), *OK)
        await client.send(b"hello" + GET)
        assert in_short(await client.answer()) == OK


async def test_connect_is_agreed_to_but_there_is_no_tunnel(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving() as web, web.client(GET.replace(b"GET", b"CONNECT")) as client:
        assert (await client.rest()).startswith(b"HTTP/1.1 200 ")
    assert capsys.readouterr() == ("", "")  # hypercorn is not asked for its opinion


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (WEBSOCKET, OK),
        (WEBSOCKET.replace(b"/healthz", b"/"), NOT_FOUND),
        (WEBSOCKET.replace(b"GET", b"POST"), OK),
        (KEYLESS_WEBSOCKET, (400, b"")),
    ],
)
async def test_a_websocket_upgrade_is_answered_in_http(
    request_bytes: bytes, expected: tuple[int, bytes]
) -> None:
    async with serving() as web:
        assert in_short(await web.ask(request_bytes)) == expected


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


async def test_http_2_by_upgrade() -> None:
    async with serving() as web, web.client() as client:
        h2 = H2Client(client.stream)
        assert in_short(await h2.upgrade()) == OK
        assert in_short(await h2.ask("/")) == NOT_FOUND


# Ends of connections

RESET = RstStreamFrame(1).serialize()
NO_WINDOW = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()

IDLE_CLIENTS = {
    "says nothing": b"",
    "says half a method": b"GE",
    "says half a header": b"GET /healthz HTTP/1.1\r\nHo",
    "says what is not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "has its answer": GET,
    "has its answer in HTTP/2": H2_HELLO + h2_request(),
}
STUCK_CLIENTS = {
    "does not read": GET_HUGE * 10,
    "says half a body": POST + b"Content-Length: 5\r\n\r\nhe",
    "says many chunks and does not read": POST_CHUNKED.replace(b"healthz", b"huge")
    + b"1\r\nx\r\n" * 1_000,
    "stays after a refused upgrade": KEYLESS_WEBSOCKET,
    "asks for a tunnel": GET.replace(b"GET", b"CONNECT"),
    "says only hello in HTTP/2": H2_HELLO,
    "resets its stream": H2_HELLO + h2_request() + RESET,
    "has no window": H2_PREFACE + NO_WINDOW + h2_request(),
}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the server wait for ever, for all but what the test sets."""
    for constant in ("IDLE", "LIFETIME", "DRAIN"):
        monkeypatch.setattr(patience, constant, math.inf)
    return monkeypatch


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("client", IDLE_CLIENTS)
async def test_a_connection_is_gone_as_soon_as_its_client(client: str) -> None:
    async with serving() as web, web.client(IDLE_CLIENTS[client]):
        await web.assert_unharmed()
        await trio.testing.wait_all_tasks_blocked(0.01)  # it is idle by now


@pytest.mark.parametrize("client", IDLE_CLIENTS)
async def test_a_client_that_asks_nothing_is_hung_up_on(
    patient: pytest.MonkeyPatch, client: str
) -> None:
    patient.setattr(patience, "IDLE", 0.05)
    async with serving() as web, web.client(IDLE_CLIENTS[client]) as idle:
        await idle.rest()


@pytest.mark.parametrize("client", STUCK_CLIENTS)
async def test_a_connection_has_a_lifetime(patient: pytest.MonkeyPatch, client: str) -> None:
    patient.setattr(patience, "LIFETIME", 0.1)
    patient.setattr(patience, "DRAIN", 0.05)
    async with serving() as web, web.client() as stuck:
        async with leaving_nothing():
            await stuck.send(STUCK_CLIENTS[client])
            await stuck.stream.receive_some(1)
        await web.assert_unharmed()


@pytest.mark.parametrize("client", STUCK_CLIENTS)
async def test_a_connection_is_gone_soon_after_its_client(
    patient: pytest.MonkeyPatch, client: str
) -> None:
    patient.setattr(patience, "DRAIN", 0.05)
    async with serving() as web, web.client(STUCK_CLIENTS[client]) as stuck:
        await stuck.stream.receive_some(1)


async def test_an_idle_http_2_client_is_told_before_its_connection_is_closed(
    patient: pytest.MonkeyPatch,
) -> None:
    patient.setattr(patience, "LIFETIME", 1.0)
    patient.setattr(patience, "DRAIN", 0.05)
    async with serving() as web, web.client() as client:
        h2 = H2Client(client.stream)
        await h2.start()
        await h2.ask()
        events = h2.connection.receive_data(await client.rest())
        goodbye = next(event for event in events if isinstance(event, ConnectionTerminated))
        assert (goodbye.error_code, goodbye.last_stream_id) == (0, 2**31 - 1)


async def test_a_request_that_crosses_the_goodbye_is_answered(patient: pytest.MonkeyPatch) -> None:
    patient.setattr(patience, "LIFETIME", 1.0)
    async with serving() as web, web.client(H2_HELLO + h2_request()) as client:
        received = b""
        while conversation.GOAWAY not in received:
            received += await client.stream.receive_some()
        await client.send(h2_request(stream_id=3))
        while not received.endswith(DataFrame(3, flags=["END_STREAM"]).serialize()):
            received += await client.stream.receive_some()
        assert DataFrame(3, b"ok").serialize() in received


async def test_a_connection_in_use_has_a_lifetime_too(patient: pytest.MonkeyPatch) -> None:
    patient.setattr(patience, "LIFETIME", 0.05)
    async with serving() as web, web.client() as client:
        with suppress(h11.RemoteProtocolError, trio.BrokenResourceError):  # for it is closed
            while True:
                await client.send(GET)
                assert in_short(await client.answer()) == OK


# The end of the server


def test_the_program_ends_within_a_second() -> None:
    assert patience.DRAIN < 1


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


@pytest.mark.usefixtures("patient")
async def test_an_answer_in_flight_is_finished_and_nobody_else_is_let_in() -> None:
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
async def test_an_answer_that_is_not_taken_is_cut(patient: pytest.MonkeyPatch, client: str) -> None:
    patient.setattr(patience, "DRAIN", 0.05)
    async with serving() as web, web.client(STUCK_CLIENTS[client]) as stuck:
        await stuck.stream.receive_some(1)
        web.stop()
        await web.stopped.wait()


async def test_a_client_cannot_put_off_the_end(patient: pytest.MonkeyPatch) -> None:
    patient.setattr(patience, "DRAIN", 0.05)
    async with serving() as web, web.client(GET_HUGE) as stuck:
        await stuck.stream.receive_some(1)
        web.stop()
        await trio.testing.wait_all_tasks_blocked()
        patient.setattr(patience, "DRAIN", math.inf)
        await stuck.stream.send_eof()
        await web.stopped.wait()


async def test_a_server_cancelled_before_it_starts_closes_its_listeners() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
        scope.cancel()
        await server.serve({}, [listener], lambda *_: None)
    assert listener.socket.fileno() == -1


# Our own bugs


class WorseError(BaseException):
    """What `except Exception` does not catch."""


def fail(error: BaseException) -> Callable[[], NoReturn]:
    def judge() -> NoReturn:
        raise error

    return judge


@pytest.mark.parametrize("request_bytes", [GET, WEBSOCKET, H2_HELLO + h2_request()])
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
    patient.setattr(patience, "DRAIN", 0.05)
    async with leaving_nothing():
        with pytest.RaisesGroup(type(error), flatten_subgroups=True):
            async with serving(fail(error)) as web, web.client(GET_HUGE) as stuck:
                await stuck.stream.receive_some(1)
                async with web.client(GET):
                    if stopped:
                        await trio.lowlevel.checkpoint()
                        web.stop()
                    await trio.sleep_forever()


async def test_who_asks_for_a_bug_hears_of_it() -> None:
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        async with serving(fail(KeyError("bug"))) as web:
            assert in_short(await web.ask()) == (500, b"livenessprobe has a bug, see its log\n")
            await trio.sleep_forever()
