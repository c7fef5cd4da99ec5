"""The application alone: what it reads, and which events it sends."""

from typing import Any, Self

import pytest
import trio.testing

from livenessprobe.server import response
from livenessprobe.server.asgi import Application
from livenessprobe.server.request import BODY_BYTES, Request
from livenessprobe.server.response import Response

END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


def part(body: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": True}


class Exchange:
    """One request, of which all that comes after its head is scripted."""

    def __init__(self, *incoming: dict[str, Any], **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.asked: list[Request] = []
        self.observed: list[tuple[str, int, float]] = []
        self.seconds_to_send = 0.0
        self._incoming = list(incoming)
        self._scope: Any = {
            "type": "http",
            "http_version": "2",
            "method": "POST",
            "path": "/x",
            "query_string": b"a=b",
            "headers": [],
        } | scope

    async def run(self, answer: Response | Exception) -> Self:
        """Have the application answer; what there is to receive has to be enough."""

        def endpoint(request: Request) -> Response:
            self.asked.append(request)
            if isinstance(answer, Exception):
                raise answer
            return answer

        application = Application({"/x": endpoint}, lambda _: NOT_FOUND, self._observe)
        with trio.fail_after(1):
            await application(self._scope, self._receive, self._send)
        return self

    @property
    def left(self) -> int:
        """How many events the application has not waited for."""
        return len(self._incoming)

    def _observe(self, *told: Any) -> None:
        self.observed.append(told)

    async def _receive(self) -> dict[str, Any]:
        if not self._incoming:
            await trio.sleep_forever()
        return self._incoming.pop(0)

    async def _send(self, event: dict[str, Any]) -> None:
        await trio.sleep(self.seconds_to_send)
        self.sent.append(event)


OK, NOT_FOUND = response.text(200, "ok"), response.text(404, "")
TRAILED = Response(status=200, headers=((b"a", b"b"),), body=b"x", trailers=((b"c", b"d"),))


@pytest.fixture(autouse=True)
def _autojump(autojump_clock: trio.testing.MockClock) -> None:
    """Let an application that waits for too much fail at once."""


async def test_a_request_is_told_to_its_endpoint() -> None:
    exchange = await Exchange(part(b"1"), part(b"2"), END, headers=[(b"a", b"b")]).run(OK)
    [request] = exchange.asked
    assert request == Request(
        path="/x",
        query=b"a=b",
        headers=[(b"a", b"b")],
        method="POST",
        http_version="2",
        body=b"12",
    )
    assert [(event["type"], event.get("body")) for event in exchange.sent] == [
        ("http.response.start", None),
        ("http.response.body", b"ok"),
    ]


@pytest.mark.parametrize(
    ("incoming", "body", "left"),
    [
        ([part(b"12"), part(b""), part(b"3"), END], b"123", 0),
        ([END], b"", 0),
        (
            [part(bytes(BODY_BYTES - 1)), part(b"12"), part(b"3"), END],
            bytes(BODY_BYTES - 1) + b"1",
            2,
        ),
        ([part(b"1"), GONE], b"1", 0),
    ],
)
async def test_a_body_is_read_until_it_ends_or_is_too_long(
    incoming: list[dict[str, Any]], body: bytes, left: int
) -> None:
    exchange = await Exchange(*incoming).run(OK)
    assert (exchange.asked[0].body, exchange.left) == (body, left)


async def test_a_response_is_observed_with_the_time_until_it_was_sent() -> None:
    exchange = Exchange(END)
    exchange.seconds_to_send = 0.25
    await exchange.run(OK)
    [(path, status, seconds)] = exchange.observed
    assert (path, status) == ("/x", 200)
    assert seconds == pytest.approx(0.5, rel=0.1)  # the head and the body


async def test_paths_that_there_are_not_are_observed_as_one() -> None:
    for path in ("/y", "/z"):
        [(endpoint, status, _)] = (await Exchange(END, path=path).run(OK)).observed
        assert (endpoint, status) == ("other", 404)


async def test_trailers_come_last() -> None:
    exchange = await Exchange(END).run(TRAILED)
    start = {"type": "http.response.start", "status": 200, "headers": ((b"a", b"b"),)}
    assert exchange.sent == [
        start | {"trailers": True},
        {"type": "http.response.body", "body": b"x"},
        {"type": "http.response.trailers", "headers": ((b"c", b"d"),)},
    ]


async def test_who_gets_no_trailers_is_promised_none() -> None:
    exchange = await Exchange(END).run(OK)
    assert exchange.sent[0]["trailers"] is False


async def test_a_tunnel_is_refused() -> None:
    exchange = await Exchange(END, method="CONNECT").run(OK)
    assert (exchange.sent[0]["status"], exchange.asked) == (501, [])


async def test_a_websocket_is_refused() -> None:
    exchange = await Exchange(type="websocket").run(OK)
    assert (exchange.sent, exchange.asked) == ([{"type": "websocket.close"}], [])


@pytest.mark.parametrize("error", [KeyError("bug"), MemoryError()])
async def test_a_request_that_fails_is_not_answered(error: Exception) -> None:
    exchange = Exchange(END)
    with pytest.raises(type(error)):
        await exchange.run(error)
    assert exchange.sent == []
