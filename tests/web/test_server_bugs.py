"""Our own bugs in what serves a connection: they end the server, whichever client met them.

Those of an endpoint are in `test_server`. What only a client can bring about is no bug of ours:
there is nothing else in `test_server_hostile`.
"""

import socket
import struct
import time
from contextlib import AsyncExitStack, ExitStack
from typing import NoReturn

import pytest
import trio

from livenessprobe.web import accept, asgi, patience, plain, server
from livenessprobe.web.connection import Connection
from livenessprobe.web.conversation import Conversation
from livenessprobe.web.pieces import Pieces
from tests.web.harness import (
    GET,
    H2_HELLO,
    POST,
    Server,
    census,
    h2_request,
    leaving_nothing,
    serving,
)

NOT_PLAIN = POST + b"Content-Length: 1\r\n\r\nx"

BUGS = {
    "guests": (accept.Guests, "heard"),
    "plain": (plain, "answer"),
    "connection": (Connection, "_send"),
    "connection, its next request": (Connection, "_has_words"),
    "responder": (Server, "_observe"),
}
BUGS_OF_CONVERSATIONS = {
    "guests": (accept.Guests, "heard"),
    "pieces": (Pieces, "feed"),
    "pieces, taken": (Pieces, "take"),
    "pieces, answered": (Pieces, "sent"),
    "conversation": (Conversation, "run"),
    "conversation, its time": (Conversation, "_limit"),
    "conversation, its end": (Conversation, "_finish"),
    "application": (asgi, "_request"),
    "responder": (Server, "_observe"),
}


@pytest.mark.parametrize(
    ("place", "sent"),
    [(place, GET) for place in BUGS.values()]
    + [
        (place, sent)
        for place in BUGS_OF_CONVERSATIONS.values()
        for sent in (NOT_PLAIN, H2_HELLO + h2_request())
    ],
)
async def test_a_bug_is_not_taken_for_a_client_s_fault(
    monkeypatch: pytest.MonkeyPatch, place: tuple[object, str], sent: bytes
) -> None:
    def bug(*_: object, **__: object) -> NoReturn:
        raise LookupError("injected here")

    monkeypatch.setattr(*place, bug)
    async with leaving_nothing():
        with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
            async with serving() as web, web.client(sent) as client:
                await client.half_close()
                await trio.sleep_forever()


@pytest.mark.parametrize(
    ("place", "error", "sent"),
    [((Pieces, "take"), error, NOT_PLAIN) for error in server.NO_BUGS]
    + [
        ((plain, "answer"), error, sent)
        for error in (OSError, MemoryError)
        for sent in (GET, NOT_PLAIN)
    ],
)
async def test_what_befalls_a_connection_is_no_bug(
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[object, str],
    error: type[Exception],
    sent: bytes,
) -> None:
    really = getattr(*place)

    def befall(*_: object, **__: object) -> NoReturn:
        monkeypatch.setattr(*place, really)
        raise error

    monkeypatch.setattr(*place, befall)
    async with serving() as web, web.client(sent) as client:
        assert await client.rest() == b""
        await web.assert_unharmed()


async def test_to_be_closed_before_the_first_turn_is_no_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A burst lets in more than there is room for."""
    monkeypatch.setattr(accept, "limit", lambda: 1)
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


async def test_a_reset_that_crosses_the_goodbye_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one turn trio runs tasks in any order: of so many, some say goodbye to nobody."""
    monkeypatch.setattr(patience, "LIFETIME", 0.5)
    async with serving() as web, AsyncExitStack() as clients:
        all_of_them = [await clients.enter_async_context(web.client(H2_HELLO)) for _ in range(20)]
        for client in all_of_them:
            await client.stream.receive_some(1)
        for client in all_of_them:
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.stream.socket.close()
        time.sleep(0.5)  # noqa: ASYNC251 - so that both are there when the next turn begins
        await web.assert_unharmed()
