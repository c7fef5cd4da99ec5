"""The socket's buffer, and whatever may happen to a connection in a system call."""

import errno
import os
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest
import trio
import trio.testing

from livenessprobe.server.buffered import BufferedSocket
from livenessprobe.server.connection import Connection, ServerState
from livenessprobe.server.protocols import Setup, WorkerContext, configure
from livenessprobe.server.registry import ConnectionRegistry
from tests.server.harness import GET, serving

CLOSING = GET.replace(b"Host", b"Connection: close\r\nHost")

ERRORS = (
    *("ECONNREFUSED", "ECONNRESET", "ENOMEM", "ENOBUFS", "ETIMEDOUT", "ENOTCONN", "EPIPE"),
    *("EHOSTUNREACH", "ENETDOWN", "EACCES", "EPERM", "EIO", "EAGAIN"),
)


@pytest.fixture
def pair() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003 - that is how it is spelt
    with near, far:
        yield BufferedSocket(near), far


async def test_what_is_put_is_written_in_one_go(pair: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, far = pair
    buffered.put(b"a")
    buffered.put(b"b")
    assert buffered.unsent
    buffered.write()
    assert not buffered.unsent
    assert far.recv(9) == b"ab"


async def test_several_tasks_may_wait_for_the_rest(
    pair: tuple[BufferedSocket, socket.socket],
) -> None:
    buffered, far = pair
    sent = os.urandom(1 << 20)
    buffered.put(sent)
    received = b""
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(buffered.flush)
        await trio.testing.wait_all_tasks_blocked()
        assert buffered.unsent
        while len(received) < len(sent):
            received += await trio.to_thread.run_sync(far.recv, 1 << 16)
    assert received == sent


async def test_who_waits_for_one_that_is_closed_is_told(
    pair: tuple[BufferedSocket, socket.socket],
) -> None:
    buffered, _ = pair
    with pytest.RaisesGroup(trio.ClosedResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(buffered.receive, 1)
            await trio.testing.wait_all_tasks_blocked()
            buffered.close()
            buffered.close()


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("method", ["receive", "write", "finish"])
async def test_an_error_ends_its_connection_only(
    monkeypatch: pytest.MonkeyPatch, method: str, name: str
) -> None:
    really = getattr(BufferedSocket, method)
    failed = trio.Event()

    def fail_once(*_: object) -> NoReturn:
        monkeypatch.setattr(BufferedSocket, method, really)
        failed.set()
        raise OSError(getattr(errno, name), name)

    monkeypatch.setattr(BufferedSocket, method, fail_once)
    async with serving() as web, web.client(CLOSING[:-1]) as client:
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(CLOSING[-1:])
        await client.rest()
        await failed.wait()
        await web.assert_unharmed()


async def test_a_closed_socket_is_not_waited_for(
    pair: tuple[BufferedSocket, socket.socket],
) -> None:
    buffered, _ = pair
    buffered.put(b"a")
    buffered.close()
    with pytest.raises(trio.ClosedResourceError):
        await buffered.receive(1)
    with pytest.raises(trio.ClosedResourceError):
        await buffered.flush()


async def test_a_connection_may_be_evicted_when_its_turn_has_come() -> None:
    async def application(*_: object) -> None: ...

    registry = ConnectionRegistry(1)
    server = ServerState(Setup(application, configure(), WorkerContext(None)), registry)
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003 - that is how it is spelt
    with near, far:
        connection = Connection(near, b"", server)
        registry.add(connection)
        with pytest.RaisesGroup(trio.ClosedResourceError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.serve)
                await trio.testing.wait_all_tasks_blocked()
                async with server.fairness:
                    far.send(b"GET")
                    await trio.testing.wait_all_tasks_blocked(0.05)  # received, and waits
                registry.evict()
