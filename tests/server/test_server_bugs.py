"""Our own bugs in what serves a connection: they end the server, whichever client met them.

Those of an endpoint are in `test_server`. What only a client can bring about is no bug of ours:
there is nothing else in `test_server_hostile`.
"""

import socket
from contextlib import ExitStack
from typing import NoReturn

import pytest
import trio
from hyperframe.frame import GoAwayFrame

from livenessprobe.health.verdict import Verdict
from livenessprobe.server import accept, asgi, protocols, registry, server
from livenessprobe.server.buffered import BufferedSocket
from livenessprobe.server.connection import Connection
from livenessprobe.server.limits import AbuseError, Http1Input, Http2Input
from tests.server.harness import (
    GET,
    H2_HELLO,
    HEALTHY,
    POST,
    Server,
    census,
    h2_request,
    leaving_nothing,
    serving,
)

WITH_BODY = POST + b"Content-Length: 1\r\n\r\nx"
HTTP_2 = H2_HELLO + h2_request()
ALL = (GET, WITH_BODY, HTTP_2)

BUGS = {
    "input": (Http1Input, "take", ALL),
    "input, HTTP/2": (Http2Input, "take", (HTTP_2,)),
    "socket": (BufferedSocket, "put", ALL),
    "connection": (Connection, "_serve", (WITH_BODY, HTTP_2)),
    "connection, its time": (Connection, "_limit", ALL),
    "tasks": (protocols.InPlace, "_run", ALL),
    "application": (asgi, "_request", ALL),
    "observer": (Server, "_observe", ALL),
}


@pytest.mark.parametrize(
    ("place", "name", "sent"),
    [(place, name, sent) for place, name, all_sent in BUGS.values() for sent in all_sent],
)
async def test_a_bug_is_not_taken_for_a_client_s_fault(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, sent: bytes
) -> None:
    def bug(*_: object, **__: object) -> NoReturn:
        raise LookupError("injected here")

    monkeypatch.setattr(place, name, bug)
    async with leaving_nothing():
        with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
            async with serving() as web, web.client(sent) as client:
                if sent is not HTTP_2:  # whose requests under way end with the client's side
                    await client.half_close()
                await trio.sleep_forever()


@pytest.mark.parametrize("sent", ALL)
@pytest.mark.parametrize("error", server.EXPECTED_ERRORS)
@pytest.mark.parametrize(
    ("place", "name"), [(Http1Input, "take"), (BufferedSocket, "put"), (asgi, "_request")]
)
async def test_what_happens_to_a_connection_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, error: type[Exception], sent: bytes
) -> None:
    really = getattr(place, name)

    def fail_once(*_: object, **__: object) -> NoReturn:
        monkeypatch.setattr(place, name, really)
        raise error

    monkeypatch.setattr(place, name, fail_once)
    async with serving() as web, web.client(sent) as client:
        received = await client.rest()
        assert b"ok" not in received
        await web.assert_unharmed()


async def test_a_request_without_memory_for_its_answer_ends_its_connection_only() -> None:
    lacks = iter([True])

    def judge() -> Verdict:
        if next(lacks, False):
            raise MemoryError
        return HEALTHY

    async with serving(judge) as web:
        async with web.client(GET) as client:
            assert await client.rest() == b""
        await web.assert_unharmed()


@pytest.mark.parametrize("sent", ALL)
async def test_abuse_is_answered_and_no_bug(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    def abuse(_: object) -> NoReturn:
        raise AbuseError("too much")

    monkeypatch.setattr(Http2Input if sent is HTTP_2 else Http1Input, "take", abuse)
    async with serving() as web, web.client(sent) as client:
        received = await client.rest()
        enhance_your_calm = GoAwayFrame(0, error_code=11).serialize()
        assert received.endswith(enhance_your_calm) or received.startswith(b"HTTP/1.1 400 ")


async def test_to_be_closed_before_the_first_turn_is_no_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A burst lets in more than there is room for."""
    monkeypatch.setattr(registry, "CONNECTIONS", 1)
    monkeypatch.setitem(accept.OPTIONS, socket.TCP_DEFER_ACCEPT, 0)
    async with serving() as web:
        with ExitStack() as clients:
            for _ in range(accept.BURST):  # without a turn of the server's in between
                clients.enter_context(socket.create_connection(web.address))
            await web.assert_unharmed()


async def test_a_reset_before_the_first_byte_is_no_bug() -> None:
    async with serving() as web:
        files, _ = census()
        async with web.client() as client:
            while census()[0] < files + 2:  # noqa: ASYNC110 - until it is let in, no event tells
                await trio.sleep(0.01)
            await client.reset()
        await web.assert_unharmed()
