import errno
import logging
import os
import resource
import select
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any

import pytest
import trio
import trio.testing

from livenessprobe.klog import logger
from livenessprobe.server import accept, registry
from livenessprobe.server.listen import open_listeners
from livenessprobe.server.registry import ConnectionRegistry


class Evicted:
    """A connection that knows what was done to it."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def drain(self) -> None:
        raise NotImplementedError


def remaining(connections: list[Evicted]) -> list[int]:
    return [number for number, connection in enumerate(connections) if not connection.closed]


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ([], [1, 2, 3]),
        ([0], [0, 2, 3]),
        ([0, 1], [0, 1, 3]),
        ([0, 1, 2], [1, 2, 3]),
        ([2, 1, 0], [0, 1, 3]),
        ([0, 1, 2, 0], [0, 2, 3]),
    ],
)
def test_at_the_limit_the_idlest_is_evicted(active: list[int], expected: list[int]) -> None:
    open_ones = ConnectionRegistry(3)
    connections = [Evicted() for _ in range(4)]
    for connection in connections[:3]:
        open_ones.add(connection)
    for number in active:
        open_ones.touch(connections[number])
    open_ones.add(connections[3])
    assert remaining(connections) == expected


def test_one_that_is_closed_makes_room() -> None:
    open_ones = ConnectionRegistry(2)
    connections = [Evicted() for _ in range(4)]
    for connection in connections[:2]:
        open_ones.add(connection)
    open_ones.touch(connections[1])
    for connection in connections[:2]:
        open_ones.remove(connection)
        open_ones.remove(connection)
    assert list(open_ones) == []
    for connection in connections[2:]:
        open_ones.add(connection)
    assert list(open_ones) == connections[2:]
    assert remaining(connections) == [0, 1, 2, 3]


def test_with_nothing_open_nothing_is_evicted() -> None:
    assert not ConnectionRegistry(2).evict()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        *[(20, 1), (64, 1), (66, 1), (128, 32), (256, 96), (1024, 128), (2**30, 128)],
        (resource.RLIM_INFINITY, 128),
    ],
)
def test_the_limit_leaves_descriptors_for_probes(
    monkeypatch: pytest.MonkeyPatch, files: int, expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert registry.connection_limit() == expected


class Listener:
    """Accepts these connections, or raises these errors; in the end, nothing waits."""

    def __init__(self, *said: socket.socket | OSError) -> None:
        self._said = list(said)

    def accept(self) -> tuple[socket.socket, None]:
        said = self._said.pop(0) if self._said else BlockingIOError()
        if isinstance(said, OSError):
            raise said
        return said, None

    @property
    def waiting(self) -> int:
        return len(self._said)


class Handled:
    """Takes over the connections."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.connections: list[socket.socket] = []
        self.first = trio.Event()

    async def __call__(self, connection: socket.socket, received: bytes) -> None:
        self.received.append(received)
        self.connections.append(connection)
        self.first.set()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


async def burst(listener: Any, handled: Handled) -> None:
    await accept.accept_burst(listener, handled)


@pytest.fixture
def handled() -> Iterator[Handled]:
    with closing(Handled()) as handled:
        yield handled


@pytest.fixture
def connect() -> Iterator[Callable[[bytes], socket.socket]]:
    """Connect, send something, and return the server's end."""
    with ExitStack() as stack:

        def connected(sent: bytes) -> socket.socket:
            near, far = map(stack.enter_context, socket.socketpair())
            far.send(sent)
            return near

        yield connected


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ([], 0),
        ([b""] * 20, 20 - accept.BURST),
        ([b"x"] * 20, 20 - accept.BURST),
    ],
)
async def test_others_run_after_some_were_accepted(
    connect: Callable[[bytes], socket.socket], handled: Handled, sent: list[bytes], left: int
) -> None:
    listener = Listener(*map(connect, sent))
    await burst(listener, handled)
    assert listener.waiting == left
    assert handled.received == sent[: len(sent) - left]


async def test_a_lack_is_raised_if_nothing_was_accepted() -> None:
    with pytest.raises(OSError, match="lack"):
        await burst(Listener(OSError(errno.EMFILE, "lack")), Handled())


async def test_an_error_after_some_were_accepted_is_the_next_burst_s_matter(
    connect: Callable[[bytes], socket.socket], handled: Handled
) -> None:
    listener = Listener(connect(b"x"), OSError(errno.EMFILE, "lack"), connect(b"x"))
    await burst(listener, handled)
    assert listener.waiting == 1


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)])
async def test_one_that_is_closed_by_now_is_not_handled(handled: Handled, linger: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        if linger:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()
        connection, _ = listener.accept()
        select.select([connection], [], [])
    with connection:
        await burst(Listener(connection), handled)
        assert handled.connections == []


@asynccontextmanager
async def accepting(
    open_ones: ConnectionRegistry, handle: accept.Handler
) -> AsyncIterator[socket.socket]:
    """Accept connections while the block runs."""
    [listener] = await open_listeners("127.0.0.1:0")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept.accept, listener, open_ones, handle)
            await trio.testing.wait_all_tasks_blocked()
            yield listener
            nursery.cancel_scope.cancel()
    assert listener.fileno() == -1


async def send_a_byte(listener: socket.socket, handled: Handled) -> None:
    """Connect, send something, and wait for a connection to be handled."""
    async with await trio.open_tcp_stream(*listener.getsockname()) as client:
        await client.send_all(b"x")
        await handled.first.wait()


def fail_once(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the next burst fail so."""
    burst = accept.accept_burst

    async def fail(*_: object) -> None:
        monkeypatch.setattr(accept, "accept_burst", burst)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(accept, "accept_burst", fail)


@pytest.mark.parametrize("number", sorted(accept.EXHAUSTED))
async def test_for_whatever_the_system_lacks_the_idlest_is_evicted(
    monkeypatch: pytest.MonkeyPatch, handled: Handled, number: int
) -> None:
    open_ones = ConnectionRegistry(9)
    idlest = Evicted()
    open_ones.add(idlest)
    fail_once(monkeypatch, number)
    async with accepting(open_ones, handled) as listener:
        await send_a_byte(listener, handled)
    assert idlest.closed


@pytest.mark.parametrize(
    "number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EMFILE, errno.ETIMEDOUT]
)
async def test_the_next_connection_is_accepted_after_any_error_of_another(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    handled: Handled,
    number: int,
) -> None:
    fail_once(monkeypatch, number)
    async with accepting(ConnectionRegistry(9), handled) as listener:
        await send_a_byte(listener, handled)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_errors_are_logged_once_a_minute(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def at_once(_: object) -> None:
        pass

    monkeypatch.setattr(accept, "accept_burst", fail)
    monkeypatch.setattr(trio.lowlevel, "wait_readable", at_once)
    with trio.move_on_after(1.5 * accept.WARN_INTERVAL), socket.create_server(("", 0)) as listener:
        await accept.accept(listener, ConnectionRegistry(9), Handled())
    assert len(caplog.records) == 2


def test_the_next_attempt_comes_before_a_kubelet_has_given_up() -> None:
    assert accept.RETRY < 1


async def test_a_client_that_connects_and_resets_is_never_heard_of(handled: Handled) -> None:
    async with accepting(ConnectionRegistry(99), handled) as listener:
        with ExitStack() as clients:

            def connect() -> socket.socket:
                return clients.enter_context(socket.create_connection(listener.getsockname()))

            for _ in range(20):
                hasty = connect()
                hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await trio.testing.wait_all_tasks_blocked()  # long enough to be accepted
                hasty.close()
            connect().send(b"x")
            await handled.first.wait()
    assert handled.received == [b"x"]


async def test_few_wait_in_the_kernel_s_queue(handled: Handled) -> None:
    async with accepting(ConnectionRegistry(9), handled) as listener:
        # struct tcp_info of a listening socket has the queue's length as tcpi_sacked, at 28.
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        assert struct.unpack_from("I", info, 28) == (accept.QUEUE,)
    assert accept.BURST < accept.QUEUE < 200


async def test_connections_inherit_the_options(handled: Handled) -> None:
    """The kernel keeps little for a client that does not read, and delays no response."""
    async with accepting(ConnectionRegistry(9), handled) as listener:
        await send_a_byte(listener, handled)
    [connection] = handled.connections
    options = {o: connection.getsockopt(socket.IPPROTO_TCP, o) for o in accept.OPTIONS}
    assert options[socket.TCP_NODELAY] == 1
    assert 0 < options[socket.TCP_NOTSENT_LOWAT] <= 64 * 1024


class Refusing(socket.socket):
    """A socket of a kernel that knows no options."""

    def setsockopt(self, *_: Any) -> None:
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


def test_options_that_are_refused_cost_a_line_each(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logger._verbosity, "level_of", lambda _: 2)  # noqa: SLF001 - as by -v=2
    caplog.set_level(logging.INFO)
    with Refusing() as listener:
        listener.bind(("127.0.0.1", 0))
        accept.prepare(listener)
        with socket.create_connection(listener.getsockname()):
            pass
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["Listening without a TCP option"] * len(accept.OPTIONS)


async def test_a_broken_listener_is_a_failure(handled: Handled) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Invalid argument")):
        async with accepting(ConnectionRegistry(9), handled) as listener:
            listener.shutdown(socket.SHUT_RD)
            await trio.sleep_forever()
