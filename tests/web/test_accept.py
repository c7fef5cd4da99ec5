import errno
import logging
import os
import resource
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from livenessprobe.web import accept
from livenessprobe.web.accept import Guests


class Visitor:
    """A guest that knows what was done to it."""

    def __init__(self) -> None:
        self.closed = False
        self.finished = False

    def close(self) -> None:
        self.closed = True

    def finish(self) -> None:
        self.finished = True


def remaining(visitors: list[Visitor]) -> list[int]:
    return [number for number, visitor in enumerate(visitors) if not visitor.closed]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([], [1, 2, 3]),
        ([0], [0, 2, 3]),
        ([0, 1], [0, 1, 3]),
        ([0, 1, 2], [1, 2, 3]),
        ([2, 1, 0], [0, 1, 3]),
        ([0, 1, 2, 0], [0, 2, 3]),
    ],
)
def test_at_the_limit_the_idlest_has_to_go(heard: list[int], expected: list[int]) -> None:
    guests, visitors = Guests(3), [Visitor() for _ in range(4)]
    for visitor in visitors[:3]:
        guests.admit(visitor)
    for number in heard:
        guests.heard(visitors[number])
    guests.admit(visitors[3])
    assert remaining(visitors) == expected


def test_who_is_gone_makes_room() -> None:
    guests, visitors = Guests(2), [Visitor() for _ in range(4)]
    for visitor in visitors[:2]:
        guests.admit(visitor)
    guests.heard(visitors[1])
    for visitor in visitors[:2]:
        guests.forget(visitor)
        guests.forget(visitor)
    for visitor in visitors[2:]:
        guests.admit(visitor)
    assert remaining(visitors) == [0, 1, 2, 3]


def test_in_the_end_the_silent_ones_are_closed_and_the_others_finish() -> None:
    guests, visitors = Guests(9), [Visitor() for _ in range(4)]
    for visitor in visitors:
        guests.admit(visitor)
    guests.heard(visitors[1])
    guests.finish()
    assert remaining(visitors) == [1]
    assert [visitor.finished for visitor in visitors] == [False, True, False, False]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (20, 1),
        (64, 1),
        (66, 1),
        (128, 32),
        (256, 96),
        (1024, 128),
        (2**30, 128),
        (resource.RLIM_INFINITY, 128),
    ],
)
def test_the_limit_leaves_descriptors_for_probes(
    monkeypatch: pytest.MonkeyPatch, files: int, expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert accept.limit() == expected


async def test_a_lack_closes_the_idlest_and_is_told_once_a_minute(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    guests, visitors = Guests(9), [Visitor() for _ in range(3)]
    lack = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    for visitor in visitors:
        guests.admit(visitor)
    for left in [1, 2], [2], []:
        await guests.make_room(lack)
        assert remaining(visitors) == left
    assert trio.current_time() == 0
    await guests.make_room(lack)
    assert trio.current_time() == accept.RETRY
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    await trio.sleep(accept.WARN_EVERY)
    await guests.make_room(lack)
    assert len(caplog.records) == 2


class Door:
    """What accept() says, one after the other; in the end, that nobody waits."""

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


@pytest.fixture
def knock() -> Iterator[Callable[[bytes], socket.socket]]:
    """Connect, say something, and return the server's end."""
    with ExitStack() as stack:

        def connected(said: bytes) -> socket.socket:
            near, far = map(stack.enter_context, socket.socketpair())
            far.send(said)
            return near

        yield connected


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ([], 0),
        ([b""] * 20, 20 - accept.BURST),
        ([b"x"] * 20, 20 - accept.BURST_SERVED),
        ([b"", b"x"] * 10, 20 - 2 * accept.BURST_SERVED),
    ],
)
def test_others_run_after_some_were_let_in(
    knock: Callable[[bytes], socket.socket], said: list[bytes], left: int
) -> None:
    door = Door(*map(knock, said))
    accept.accept_burst(door, Guests(99), lambda *_: Visitor())
    assert door.waiting == left


def test_those_that_have_said_something_are_not_the_idlest(
    knock: Callable[[bytes], socket.socket],
) -> None:
    guests, visitors = Guests(99), [Visitor(), Visitor()]
    to_come = iter(visitors)
    accept.accept_burst(Door(knock(b"x"), knock(b"")), guests, lambda *_: next(to_come))
    guests.finish()
    assert remaining(visitors) == [0]


def test_those_that_have_their_answer_are_no_guests(
    knock: Callable[[bytes], socket.socket],
) -> None:
    guests, idlest = Guests(1), Visitor()
    guests.admit(idlest)
    accept.accept_burst(Door(*map(knock, [b"x", b"y", b"z"])), guests, lambda *_: None)
    assert not idlest.closed


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
def test_what_befell_one_connection_is_not_the_next_ones_matter(
    knock: Callable[[bytes], socket.socket], number: int
) -> None:
    welcomed: list[socket.socket] = []

    def welcome(connection: socket.socket, _: bytes) -> Visitor:
        welcomed.append(connection)
        return Visitor()

    accept.accept_burst(Door(OSError(number, ""), knock(b"x")), Guests(99), welcome)
    assert len(welcomed) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EINVAL])
def test_what_the_system_lacks_is_raised(number: int) -> None:
    with pytest.raises(OSError, match="lack"):
        accept.accept_burst(Door(OSError(number, "lack")), Guests(99), lambda *_: Visitor())


def test_a_lack_after_some_were_let_in_is_the_next_burst_s_matter(
    knock: Callable[[bytes], socket.socket],
) -> None:
    guests, visitor = Guests(99), Visitor()
    door = Door(knock(b"x"), OSError(errno.EMFILE, "lack"), knock(b"x"))
    accept.accept_burst(door, guests, lambda *_: visitor)
    assert (door.waiting, visitor.closed) == (1, False)


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)])
@pytest.mark.parametrize("said", [b"", b"GET"])
def test_who_has_hung_up_is_not_let_in(linger: bytes, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        client = socket.create_connection(door.getsockname())
        client.send(said)
        if linger:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()
        connection, _ = door.accept()
        select.select([connection], [], [])
    welcomed: list[socket.socket] = []

    def welcome(connection: socket.socket, _: bytes) -> Visitor:
        welcomed.append(connection)
        return Visitor()

    with connection:
        accept.accept_burst(Door(connection), Guests(99), welcome)
        # One that has only closed its half waits for its answer.
        assert welcomed == ([connection] if said and not linger else [])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_whatever_the_system_lacks_the_idlest_has_to_go_and_the_next_is_let_in(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    guests, idlest, newest = Guests(9), Visitor(), Visitor()
    guests.admit(idlest)
    burst, welcomed = accept.accept_burst, trio.Event()

    def lack(*_: object) -> None:
        monkeypatch.setattr(accept, "accept_burst", burst)
        raise OSError(number, os.strerror(number))

    def welcome(connection: socket.socket, _: bytes) -> Visitor:
        connection.close()
        welcomed.set()
        return newest

    monkeypatch.setattr(accept, "accept_burst", lack)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept.accept, listener, guests, welcome)
            async with await trio.open_tcp_stream(*listener.socket.getsockname()) as client:
                await client.send_all(b"x")
                await welcomed.wait()
            nursery.cancel_scope.cancel()
    assert remaining([idlest, newest]) == [1]


def test_the_next_attempt_comes_before_a_kubelet_has_given_up() -> None:
    assert accept.RETRY < 1


async def test_who_connects_and_resets_is_never_heard_of() -> None:
    welcomed: list[bytes] = []
    speaker_is_in = trio.Event()

    def welcome(connection: socket.socket, said: bytes) -> Visitor:
        connection.close()
        welcomed.append(said)
        speaker_is_in.set()
        return Visitor()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()
    with trio.fail_after(30), ExitStack() as clients:

        def connect() -> socket.socket:
            return clients.enter_context(socket.create_connection(address))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept.accept, listener, Guests(99), welcome)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(20):
                hasty = connect()
                hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await trio.testing.wait_all_tasks_blocked()  # long enough for one to be let in
                hasty.close()
            connect().send(b"x")
            await speaker_is_in.wait()
            nursery.cancel_scope.cancel()
    assert welcomed == [b"x"]


async def test_few_wait_in_the_kernel_s_queue() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept.accept, listener, Guests(9), lambda *_: Visitor())
        await trio.testing.wait_all_tasks_blocked()
        # struct tcp_info of a listening socket has the queue's length as tcpi_sacked, at 28.
        info = listener.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        assert struct.unpack_from("I", info, 28) == (accept.QUEUE,)
        nursery.cancel_scope.cancel()
    assert accept.BURST < accept.QUEUE < 200


async def test_connections_inherit_the_options() -> None:
    """Who does not read can have the kernel keep little, and no answer waits for another packet."""
    inherited: list[dict[int, int]] = []
    is_in = trio.Event()

    def welcome(connection: socket.socket, _: bytes) -> None:
        options = {o: connection.getsockopt(socket.IPPROTO_TCP, o) for o in accept.OPTIONS}
        inherited.append(options)
        connection.close()
        is_in.set()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept.accept, listener, Guests(9), welcome)
            async with await trio.open_tcp_stream(*listener.socket.getsockname()) as client:
                await client.send_all(b"x")
                await is_in.wait()
            nursery.cancel_scope.cancel()
    [options] = inherited
    assert options[socket.TCP_NODELAY] == 1
    assert 0 < options[socket.TCP_NOTSENT_LOWAT] <= 64 * 1024


async def test_a_broken_listener_is_a_failure() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(30):
        with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Invalid argument")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept.accept, listener, Guests(9), lambda *_: Visitor())
                await trio.testing.wait_all_tasks_blocked()
                listener.socket.shutdown(socket.SHUT_RD)
    assert listener.socket.fileno() == -1
