"""The application alone: which events it waits for before it answers, and which ones it sends."""

from typing import Any, Self

import pytest
import trio.testing

from livenessprobe.web import grpc, response
from livenessprobe.web.asgi import Application
from livenessprobe.web.request import Request
from livenessprobe.web.responder import Responder
from livenessprobe.web.response import Response
from tests.web.call import HEADERS

GRPC = list(HEADERS.items())
END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


def part(body: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": True}


class Exchange:
    """One request, of which all that comes after its head is scripted."""

    def __init__(self, *incoming: dict[str, Any], **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.asked: list[Request] = []
        self.bugs: list[Exception] = []
        self.observed: list[tuple[str, int, float]] = []
        self.received_before_the_answer = 0
        self.seconds_to_send = 0.0
        self._incoming = list(incoming)
        self._received = 0
        self._scope: Any = {
            "type": "http",
            "http_version": "2",
            "method": "POST",
            "path": "/x",
            "query_string": b"a=b",
            "headers": [],
        } | scope
        if self._scope["type"] == "websocket":
            del self._scope["method"]  # as it is with hypercorn

    async def run(self, answer: Response | Exception) -> Self:
        """Have the application answer; what there is to receive has to be enough."""

        def endpoint(request: Request) -> Response:
            self.asked.append(request)
            self.received_before_the_answer = self._received
            if isinstance(answer, Exception):
                raise answer
            return answer

        responder = Responder({"/x": endpoint}, self._observe, self.bugs.append)
        application: Any = Application(responder)
        with trio.fail_after(1):
            await application(self._scope, self._receive, self._send)
        return self

    @property
    def left(self) -> int:
        """How many events the application has not waited for."""
        return len(self._incoming) - self._received

    def _observe(self, *told: Any) -> None:
        self.observed.append(told)

    async def _receive(self) -> dict[str, Any]:
        if not self.left:
            await trio.sleep_forever()
        self._received += 1
        return self._incoming[self._received - 1]

    async def _send(self, event: dict[str, Any]) -> None:
        await trio.sleep(self.seconds_to_send)
        self.sent.append(event)


OK = response.text(200, "ok")
TRAILED = Response(status=200, headers=((b"a", b"b"),), body=b"x", trailers=((b"c", b"d"),))


@pytest.fixture(autouse=True)
def _autojump(autojump_clock: trio.testing.MockClock) -> None:
    """Let an application that waits for too much fail at once."""


async def test_a_request_is_told_to_its_endpoint() -> None:
    exchange = await Exchange(END, headers=[(b"a", b"b")]).run(OK)
    assert exchange.asked == [
        Request(path="/x", query=b"a=b", headers=[(b"a", b"b")], method="POST", http_version="2")
    ]


async def test_a_plain_request_is_answered_before_its_body_and_finished_after_it() -> None:
    exchange = await Exchange(part(b"1"), part(b"2"), END).run(OK)
    assert exchange.received_before_the_answer == 0
    assert exchange.left == 0
    assert [(event["type"], event.get("body")) for event in exchange.sent] == [
        ("http.response.start", None),
        ("http.response.body", b"ok"),
        ("http.response.body", b""),
    ]
    assert exchange.asked[0].body == b""


LIMIT = grpc.MAX_BODY_BYTES

CALLS = {
    "whole": ([part(b"12"), part(b""), part(b"3"), END], 4, b"123"),
    "empty": ([END], 1, b""),
    "as long as may be": ([part(bytes(LIMIT)), END], 2, bytes(LIMIT)),
    "too long": ([part(bytes(LIMIT)), part(b"1"), part(b"2"), END], 2, bytes(LIMIT) + b"1"),
    "too long at once": ([part(bytes(16384)), part(b""), END], 1, bytes(16384)),
    "given up": ([part(b"1"), GONE], 2, b"1"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_is_collected_until_it_ends_or_is_too_long(name: str) -> None:
    incoming, received, body = CALLS[name]
    exchange = await Exchange(*incoming, headers=GRPC).run(OK)
    assert exchange.received_before_the_answer == received
    assert exchange.asked[0].body == body
    assert exchange.left == 0


async def test_an_answer_is_told_with_its_path_its_status_and_the_time_until_it_was_sent() -> None:
    exchange = Exchange(part(b"1"), END)
    exchange.seconds_to_send = 0.25
    await exchange.run(OK)
    [(path, status, seconds)] = exchange.observed
    assert (path, status) == ("/x", 200)
    assert seconds == pytest.approx(0.5, rel=0.1)  # the head and the body


async def test_paths_that_there_are_not_are_told_as_one() -> None:
    for path in ("/y", "/z"):
        [(endpoint, status, _)] = (await Exchange(END, path=path).run(OK)).observed
        assert (endpoint, status) == ("other", 404)


async def test_trailers_come_last() -> None:
    exchange = await Exchange(END, headers=GRPC).run(TRAILED)
    assert exchange.sent == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": ((b"a", b"b"),),
            "trailers": True,
        },
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.body", "body": b""},
        {"type": "http.response.trailers", "headers": ((b"c", b"d"),)},
    ]


async def test_who_gets_no_trailers_is_promised_none() -> None:
    exchange = await Exchange(END).run(OK)
    assert exchange.sent[0]["trailers"] is False


async def test_a_websocket_is_answered_in_http() -> None:
    scope = {"type": "websocket", "path": "/none", "http_version": "1.1"}
    exchange = await Exchange({"type": "websocket.connect"}, **scope).run(OK)
    assert [event["type"] for event in exchange.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
        "websocket.http.response.body",
    ]
    assert exchange.sent[0]["status"] == 404


async def test_a_websocket_is_no_call_whatever_its_headers_say() -> None:
    exchange = await Exchange(GONE, type="websocket", path="/none", headers=GRPC).run(OK)
    assert exchange.sent[0]["status"] == 404


async def test_a_bug_is_reported_and_nobody_is_healthy_by_it() -> None:
    bug = KeyError("bug")
    exchange = await Exchange(END).run(bug)
    assert exchange.bugs == [bug]
    assert exchange.sent[0]["status"] == 500
