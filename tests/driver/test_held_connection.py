"""The connection that an answered Probe leaves open, and drivers that end it, well or badly."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from generated.csi.v1 import ProbeRequest, ProbeResponse
from livenessprobe.driver import Driver
from livenessprobe.driver.asyncio_thread import AsyncioThread
from livenessprobe.driver.client import _unary
from livenessprobe.driver.grpclib_internals import CallChannel, IdleConnection, _State
from livenessprobe.driver.h2_internals import MAX_FRAMES, ClientConnection
from livenessprobe.driver.held_connection import MAX_IDLE_BYTES, HeldConnection
from livenessprobe.health.errors import DriverUnreachableError, RPCError
from livenessprobe.probing.deadline import call_within
from tests import csi_driver as csi_driver_module
from tests.csi_driver import NOT_READY, CsiDriver, error
from tests.driver import peer
from tests.driver.peer import (
    ACK,
    OK_200,
    PATIENCE,
    PREFACE,
    READY,
    STATUS_0,
    VALID,
    Script,
    answer,
    data,
    descriptors,
    frame,
    headers,
    leaving_nothing,
    listening,
    uint,
    until,
    until_closed,
)

PING = frame(peer.PING, b"are you?", stream=0)
PONG = frame(peer.PING, b"are you?", flags=ACK, stream=0)
SETTINGS = frame(peer.SETTINGS, stream=0)
SETTINGS_ACK = frame(peer.SETTINGS, flags=ACK, stream=0)
GOAWAY = frame(peer.GOAWAY, uint(4, 1, 0) + b"stopping", stream=0)


class Driven:
    """A driver that is probed and listened to, and how often it was heard to hang up."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.hang_ups = 0

    async def listen(self) -> None:
        while True:
            await self.driver.wait_disconnected()
            self.hang_ups += 1

    async def probe(self) -> bool:
        return await self.driver.probe(PATIENCE)

    async def hears(self, times: int) -> None:
        """Wait for so many hang-ups; there is no other on the way."""
        await until(lambda: self.hang_ups >= times)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert self.hang_ups == times


@asynccontextmanager
async def driven(driver: Driver) -> AsyncIterator[Driven]:
    async with trio.open_nursery() as nursery:
        it = Driven(driver)
        nursery.start_soon(it.listen)
        yield it
        nursery.cancel_scope.cancel()


class Idler:
    """Answers a Probe; goes on with `script` once it is told to `go`."""

    def __init__(self, script: Script) -> None:
        self.go = trio.Event()
        self.done = trio.Event()
        self._script = script

    async def play(self, stream: trio.SocketStream) -> None:
        await answer(VALID, hang_up=True)(stream)
        await self.go.wait()
        try:
            await self._script(stream)
        finally:
            self.done.set()


def say(*chunks: bytes) -> Script:
    async def script(stream: trio.SocketStream) -> None:
        for chunk in chunks:
            await stream.send_all(chunk)
        await until_closed(stream)

    return script


async def hang_up(stream: trio.SocketStream) -> None:
    pass


async def ping_and_hang_up(stream: trio.SocketStream) -> None:
    await stream.send_all(PING)


async def half_close(stream: trio.SocketStream) -> None:
    await stream.send_eof()
    await until_closed(stream)


ENDS = {
    "hangs up": hang_up,
    "pings and hangs up": ping_and_hang_up,
    "closes its half": half_close,
    "says goodbye": say(GOAWAY),
    "says goodbye in an error's name": say(frame(peer.GOAWAY, uint(4, 1, 11), stream=0)),
    "says goodbye and pings, as gRPC servers do": say(GOAWAY + PING),
    "pings and says goodbye": say(PING + GOAWAY),
    "says goodbye byte by byte": say(*(bytes([byte]) for byte in GOAWAY)),
    "says goodbye and no more sense": say(GOAWAY + b"?" * 100),
}


@pytest.mark.parametrize("script", ENDS.values(), ids=ENDS)
async def test_a_driver_that_ends_the_connection_is_told_once(
    csi_socket: Path, driver: Driver, script: Script
) -> None:
    idler = Idler(script)
    async with (
        leaving_nothing(loops=1),
        listening(csi_socket, idler.play),
        driven(driver) as it,
    ):
        assert await it.probe()
        await it.hears(0)
        idler.go.set()
        await it.hears(1)
        with trio.fail_after(PATIENCE):
            await idler.done.wait()


END_AT_ONCE = {
    "hangs up": answer(VALID, hang_up=True),
    "says goodbye with the reply": answer(VALID + GOAWAY),
    "says goodbye with the reply and hangs up": answer(VALID + GOAWAY, hang_up=True),
    "says goodbye behind the reply": answer(VALID, GOAWAY),
}


@pytest.mark.parametrize("script", END_AT_ONCE.values(), ids=END_AT_ONCE)
async def test_so_is_one_that_ends_it_right_after_its_reply(
    csi_socket: Path, driver: Driver, script: Script
) -> None:
    async with leaving_nothing(loops=1), listening(csi_socket, script), driven(driver) as it:
        for times in 1, 2, 3:
            assert await it.probe()
            await it.hears(times)


@pytest.mark.parametrize("probes", [1, 3])
async def test_an_end_before_anybody_waits_is_not_lost(
    csi_socket: Path, driver: Driver, probes: int
) -> None:
    idler = Idler(hang_up)
    async with listening(csi_socket, idler.play):
        for _ in range(probes):
            await driver.probe(PATIENCE)
        idler.go.set()
        await idler.done.wait()
        async with driven(driver) as it:
            await it.hears(1)


def flood(piece: bytes) -> Script:
    async def script(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(piece)

    return script


MISBEHAVIOUR = {
    "a second reply": say(OK_200 + READY + STATUS_0),
    "DATA for nobody": say(data(b"?", stream=3)),
    "half a PING": say(frame(peer.PING, bytes(4), stream=0)),
    "a sentence without an end": say(b"\0\0\x10" + bytes(MAX_IDLE_BYTES)),
    "endless DATA": flood(data(bytes(1000))),
    "endless PINGs": flood(PING),
    "endless SETTINGS": flood(SETTINGS * 100),
    "endless unknown frames": flood(frame(0x42) * 100),
    "endless HTTP/1.1": flood(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
    "endless zeros": flood(bytes(10_000)),
}


@pytest.mark.parametrize("script", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
async def test_a_driver_that_misbehaves_is_left_and_not_told(
    csi_socket: Path, driver: Driver, script: Script
) -> None:
    idler = Idler(script)
    async with (
        leaving_nothing(loops=1),
        listening(csi_socket, idler.play),
        driven(driver) as it,
    ):
        assert await it.probe()
        idler.go.set()
        with trio.fail_after(PATIENCE):
            await idler.done.wait()
        await it.hears(0)


CALLS = [
    (PING, PONG),
    (PING * 3, PONG * 3),
    (SETTINGS, SETTINGS_ACK),
    (frame(0x42, b"?") + frame(peer.WINDOW_UPDATE, uint(4, 1), stream=0) + PING, PONG),
]


@pytest.mark.parametrize(("said", "expected"), CALLS)
@pytest.mark.parametrize("size", [1, 1000])
async def test_the_driver_is_answered(
    csi_socket: Path, driver: Driver, said: bytes, expected: bytes, size: int
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        for start in range(0, len(said), size):
            await stream.send_all(said[start : start + size])
        heard = b""
        while not heard.endswith(expected):  # what belongs to the reply may come first
            heard += await stream.receive_some()

    idler = Idler(script)
    async with listening(csi_socket, idler.play), driven(driver) as it:
        assert await it.probe()
        idler.go.set()
        with trio.fail_after(PATIENCE):
            await idler.done.wait()
        await it.hears(1)  # the script's end


async def test_a_frame_that_begins_with_the_reply_is_answered(
    csi_socket: Path, driver: Driver
) -> None:
    begun = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await answer(VALID + PING[:5], hang_up=True)(stream)
        await begun.wait()
        await stream.send_all(PING[5:])
        heard = b""
        while not heard.endswith(PONG):
            heard += await stream.receive_some()

    async with listening(csi_socket, script), driven(driver) as it:
        assert await it.probe()
        begun.set()
        await it.hears(1)


class Census:
    """Answers every Probe, and notes how many earlier connections were open at its beginning."""

    def __init__(self) -> None:
        self.open_before: list[int] = []
        self._streams: list[trio.SocketStream] = []

    async def play(self, stream: trio.SocketStream) -> None:
        self.open_before.append(sum(map(self._is_open, self._streams)))
        self._streams.append(stream)
        await answer(VALID, hang_up=True)(stream)
        await trio.sleep_forever()

    @staticmethod
    def _is_open(stream: trio.SocketStream) -> bool:
        # Whatever is unread goes first.
        with socket.socket(fileno=stream.socket.dup().detach()) as sock:
            try:
                while sock.recv(1000):
                    pass
            except BlockingIOError:
                return True
            except ConnectionResetError:
                pass
            return False


async def test_a_probe_closes_the_held_connection_before_it_dials(
    csi_socket: Path, driver: Driver
) -> None:
    census = Census()
    async with listening(csi_socket, census.play), driven(driver) as it:
        for _ in range(4):
            assert await it.probe()
        await it.hears(0)
    assert census.open_before == [0, 0, 0, 0]


NAMED = (
    headers((":status", "200"), ("content-type", "application/grpc"), stream=3)
    + data(peer.message(b"\x0a\4name"), stream=3)
    + headers(("grpc-status", "0"), end=True, stream=3)
)
END_OF_SECOND_REQUEST = data(peer.message(), end=True, stream=3)


async def read_second_request(stream: trio.SocketStream) -> bytes:
    heard = b""
    while END_OF_SECOND_REQUEST not in heard:
        heard += await stream.receive_some()
    return heard


TELLS_ITS_NAME = VALID.replace(READY, data(peer.message(b"\x0a\4name")))


def in_turn(scripts: list[Script]) -> Script:
    """Play the first of `scripts` to the next connection, and remove it."""

    async def script(stream: trio.SocketStream) -> None:
        await scripts.pop(0)(stream)

    return script


async def end_in_get_name(stream: trio.SocketStream) -> None:
    await answer(VALID, hang_up=True)(stream)
    await read_second_request(stream)


async def test_the_name_is_asked_for_on_the_connection_of_the_probe(
    csi_socket: Path, driver: Driver
) -> None:
    """So a driver that serves one connection at a time can answer."""
    opened = 0

    async def script(stream: trio.SocketStream) -> None:
        nonlocal opened
        opened += 1
        await answer(VALID + PING, hang_up=True)(stream)
        assert PONG in await read_second_request(stream)
        await stream.send_all(NAMED)
        await until_closed(stream)

    async with listening(csi_socket, script), driven(driver) as it:
        for times in 1, 2:
            assert await it.probe()
            assert await driver.get_name(PATIENCE) == "name"
            assert opened == times
            assert ours(csi_socket) == 1  # held again
        await it.hears(0)


async def test_the_frames_are_counted_for_each_call(csi_socket: Path, driver: Driver) -> None:
    most = (MAX_FRAMES - 100) * frame(0x42)

    async def script(stream: trio.SocketStream) -> None:
        await answer(PREFACE + most + OK_200 + READY + STATUS_0, hang_up=True)(stream)
        await read_second_request(stream)
        await stream.send_all(most + NAMED)
        await until_closed(stream)

    async with listening(csi_socket, script), driven(driver) as it:
        assert await it.probe()
        assert await driver.get_name(PATIENCE) == "name"
        await it.hears(0)


async def refuse(stream: trio.SocketStream) -> None:
    await read_second_request(stream)
    await say(frame(peer.RST_STREAM, uint(4, 7), stream=3))(stream)


@pytest.mark.parametrize("script", [hang_up, say(GOAWAY), refuse])
async def test_the_name_is_asked_for_anew_if_that_connection_comes_to_its_end(
    csi_socket: Path, driver: Driver, script: Script
) -> None:
    async def answer_and_end(stream: trio.SocketStream) -> None:
        await answer(VALID, hang_up=True)(stream)
        await script(stream)

    scripts: list[Script] = [answer_and_end, answer(TELLS_ITS_NAME)]
    async with listening(csi_socket, in_turn(scripts)):
        await driver.probe(PATIENCE)
        assert await driver.get_name(PATIENCE) == "name"
    assert not scripts


async def test_a_probe_cancels_get_name_so_that_a_driver_serves_it_in_time(
    csi_socket: Path, driver: Driver, nursery: trio.Nursery
) -> None:
    """The driver serves one connection at a time, and never answers `GetPluginInfo`."""
    turn = trio.Lock()
    asked_for_name = trio.Event()
    errors: list[str | None] = []

    async def script(stream: trio.SocketStream) -> None:
        nonlocal asked_for_name
        async with turn:
            await answer(VALID, hang_up=True)(stream)
            heard = b""
            while received := await stream.receive_some():
                heard += received
                if END_OF_SECOND_REQUEST in heard:
                    asked_for_name.set()
                    asked_for_name = trio.Event()

    async def get_name() -> None:
        with pytest.raises(RPCError) as caught:
            await driver.get_name(PATIENCE)
        errors.append(caught.value.grpc_status)

    async with leaving_nothing(), listening(csi_socket, script):
        with trio.fail_after(PATIENCE / 2):
            assert await driver.probe(PATIENCE)
            for _ in range(3):
                asked = asked_for_name
                nursery.start_soon(get_name)
                await asked.wait()
                assert await driver.probe(PATIENCE)
                assert ours(csi_socket) == 1
        driver.close()
    assert errors == ["Canceled"] * 3


async def test_an_end_during_get_name_is_reported(csi_socket: Path, driver: Driver) -> None:
    async def remove_and_end(stream: trio.SocketStream) -> None:
        await end_in_get_name(stream)
        await trio.Path(csi_socket).rename(csi_socket.with_name("gone"))

    async with listening(csi_socket, remove_and_end), driven(driver) as it:
        assert await it.probe()
        with pytest.raises(DriverUnreachableError):
            await driver.get_name(PATIENCE)
        await it.hears(1)
        await trio.Path(csi_socket.with_name("gone")).rename(csi_socket)


NEXT = {
    "hangs up": (answer(hang_up=True), PATIENCE, "Unavailable"),
    "hangs": (answer(), 2.0, "DeadlineExceeded"),
    "answers": (answer(TELLS_ITS_NAME), PATIENCE, "name"),
}


@pytest.mark.parametrize(("script", "seconds", "expected"), NEXT.values(), ids=NEXT)
async def test_an_end_during_get_name_is_reported_whatever_the_next_connection_brings(
    csi_socket: Path, driver: Driver, script: Script, seconds: float, expected: str
) -> None:
    """A process that is about to end may take one, and so may the process that follows it."""
    scripts: list[Script] = [end_in_get_name, script]
    async with listening(csi_socket, in_turn(scripts)), driven(driver) as it:
        assert await it.probe()
        try:
            result = await call_within(seconds, driver.get_name)
        except RPCError as error:
            result = str(error.grpc_status)
        assert result == expected
        await it.hears(1)
    assert not scripts


async def test_the_end_of_the_connection_that_follows_is_reported_too(
    csi_socket: Path, driver: Driver
) -> None:
    go = trio.Event()

    async def answer_and_wait(stream: trio.SocketStream) -> None:
        await answer(TELLS_ITS_NAME, hang_up=True)(stream)
        await go.wait()

    script = in_turn([end_in_get_name, answer_and_wait])
    async with listening(csi_socket, script), driven(driver) as it:
        assert await it.probe()
        assert await driver.get_name(PATIENCE) == "name"
        await it.hears(1)
        go.set()
        await it.hears(2)


async def test_goodbye_before_an_error_is_reported(csi_socket: Path, driver: Driver) -> None:
    fault = (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")

    async def script(stream: trio.SocketStream) -> None:
        await end_in_get_name(stream)
        goaway = frame(peer.GOAWAY, uint(4, 3, 0), stream=0)
        await say(goaway + headers(*fault, end=True, stream=3))(stream)

    async with listening(csi_socket, script), driven(driver) as it:
        assert await it.probe()
        with pytest.raises(RPCError, match="Unimplemented"):
            await driver.get_name(PATIENCE)
        await it.hears(1)


async def test_an_end_that_nobody_waited_for_is_forgotten_when_the_next_probe_begins(
    csi_socket: Path, driver: Driver
) -> None:
    """What the driver is like now, that Probe tells."""
    async with listening(csi_socket, in_turn([answer(VALID + GOAWAY), answer(VALID)])):
        for _ in range(2):
            assert await driver.probe(PATIENCE)
        async with driven(driver) as it:
            await it.hears(0)


async def test_a_thread_that_this_program_lacks_is_no_end(
    csi_socket: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async with listening(csi_socket, answer(VALID)), driven(driver) as it:
        assert await it.probe()
        driver._asyncio.close()  # noqa: SLF001 - as if the next call needed a thread
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(DriverUnreachableError, match="itself"):
                await driver.get_name(PATIENCE)
        await it.hears(0)


async def test_get_name_waits_for_the_end_of_a_probe(
    csi_socket: Path, driver: Driver, nursery: trio.Nursery
) -> None:
    """So the two never have a connection each, of which the driver may serve the other one."""
    opened = 0
    go_on = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        nonlocal opened
        opened += 1
        await peer.read_request(stream)
        await go_on.wait()
        await stream.send_all(VALID)
        await read_second_request(stream)
        await say(NAMED)(stream)

    async with listening(csi_socket, script):
        nursery.start_soon(driver.probe, PATIENCE)
        await until(lambda: opened == 1)
        names: list[str] = []

        async def get_name() -> None:
            names.append(await driver.get_name(PATIENCE))

        nursery.start_soon(get_name)
        await trio.testing.wait_all_tasks_blocked(0.01)
        go_on.set()
        await until(lambda: names == ["name"])
    assert opened == 1


async def test_only_an_answered_call_leaves_a_connection(
    csi_driver: CsiDriver, csi_socket: Path
) -> None:
    with closing(Driver(str(csi_socket))) as driver:
        await driver.probe(PATIENCE)
    before = ours(csi_socket)
    assert before == 0
    with closing(Driver(str(csi_socket))) as driver:
        for behaviour, held in (
            (NOT_READY, 1),
            (error(9, "not healthy"), 0),
            (csi_driver_module.READY, 1),
            (csi_driver_module.READY, 1),
        ):
            csi_driver.probe = behaviour
            with suppress(RPCError):
                await driver.probe(PATIENCE)
            assert ours(csi_socket) == held
            await driver.get_name(PATIENCE)
            assert ours(csi_socket) == 1
    assert ours(csi_socket) == 0


def ours(path: Path) -> int:
    """Count this process's connections to `path`."""
    count = 0
    for descriptor in descriptors():
        with suppress(OSError), socket.socket(fileno=descriptor) as sock:
            try:
                count += sock.getpeername() == str(path)
            except OSError:
                pass
            finally:
                sock.detach()
    return count


async def test_waiting_goes_on_while_connections_come_and_go(
    csi_socket: Path, driver: Driver
) -> None:
    async with leaving_nothing(loops=1), driven(driver) as it:
        for times in 1, 2:
            with CsiDriver(csi_socket):
                for _ in range(3):
                    assert await it.probe()
                await it.hears(times - 1)
            await it.hears(times)


async def test_close_may_come_first_and_twice(
    csi_driver: CsiDriver, csi_socket: Path, driver: Driver
) -> None:
    Driver(str(csi_socket)).close()
    async with driven(driver) as it:
        await it.probe()
    assert ours(csi_socket) == 1  # the wait for it was cancelled, and it is there for `close`
    for _ in range(2):
        driver.close()
        assert ours(csi_socket) == 0


async def test_closed_just_as_the_driver_says_something(csi_socket: Path, driver: Driver) -> None:
    idler = Idler(say(PING))
    async with leaving_nothing(), listening(csi_socket, idler.play):
        async with driven(driver) as it:
            for _ in range(20):
                await it.probe()
                idler.go.set()
                await trio.testing.wait_all_tasks_blocked()
            await it.hears(0)
        driver.close()


async def test_a_cancel_at_any_moment_leaves_nothing(csi_socket: Path, driver: Driver) -> None:
    async with listening(csi_socket, answer(VALID)), leaving_nothing():
        started_at = trio.current_time()
        await driver.probe(PATIENCE)
        whole = trio.current_time() - started_at
        for step in range(200):
            with trio.move_on_after(whole * step / 100):
                await driver.probe(PATIENCE)
        driver.close()


@pytest.fixture
def process(csi_socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, csi_driver_module.__file__, str(csi_socket)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield process
        process.kill()


async def test_a_killed_process_is_noticed(
    process: subprocess.Popen[bytes], driver: Driver
) -> None:
    async with driven(driver) as it:
        assert await it.probe()
        await it.hears(0)
        process.kill()
        await it.hears(1)


async def test_a_tidy_stop_is_not_held_up(csi_driver: CsiDriver, driver: Driver) -> None:
    async with driven(driver) as it:
        assert await it.probe()
        stopped = csi_driver._server.stop(grace=3 * PATIENCE)  # noqa: SLF001 - tidier than its own
        await it.hears(1)
        assert await trio.to_thread.run_sync(stopped.wait, PATIENCE)


async def test_a_driver_that_does_not_read_is_not_held(csi_socket: Path, driver: Driver) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await answer(PREFACE, PING * (MAX_FRAMES - 100), OK_200, READY, STATUS_0, hang_up=True)(
            stream
        )
        await trio.sleep_forever()

    async with listening(csi_socket, script), driven(driver) as it:
        assert await it.probe()
        assert ours(csi_socket) == 0
        await it.hears(0)


def held(sock: socket.socket) -> HeldConnection:
    http2 = ClientConnection()
    http2.initiate_connection()
    http2.clear_outbound_data_buffer()
    connection = HeldConnection()
    connection.hold(IdleConnection(sock=sock, http2=http2))
    return connection


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)  # noqa: FBT003 - the socket's own way
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


async def test_a_reset(pair: Pair) -> None:
    ours, theirs = pair
    ours.send(b"never read")
    theirs.close()
    with trio.fail_after(PATIENCE):
        await held(ours).wait_disconnected()


async def test_a_ping_from_a_driver_that_has_gone_since(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(PREFACE + PING)
    theirs.close()
    with trio.fail_after(PATIENCE):
        await held(ours).wait_disconnected()


async def test_an_answer_that_would_have_to_wait(pair: Pair, nursery: trio.Nursery) -> None:
    ours, theirs = pair
    with suppress(BlockingIOError):
        while True:
            ours.send(bytes(1000))
    theirs.send(PREFACE + PING)
    connection = held(ours)
    nursery.start_soon(connection.wait_disconnected)
    await trio.testing.wait_all_tasks_blocked()
    assert connection.detach() is None  # it is closed, and nobody was told
    nursery.cancel_scope.cancel()


async def test_detached_just_as_something_comes() -> None:
    """It is answered, or left for the new owner; which of the two is up to trio's scheduler."""
    for _ in range(20):
        ours, theirs = socket.socketpair()
        with ours, theirs, ours.dup() as same:
            for end in ours, theirs:
                end.setblocking(False)  # noqa: FBT003 - the socket's own way
            connection = held(ours)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.wait_disconnected)
                await trio.testing.wait_all_tasks_blocked()
                theirs.send(PING)
                await trio.lowlevel.wait_readable(same)
                assert connection.detach() is not None
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            ends = {ours: PING, theirs: PONG}
            assert [end for end in ends if received(end) == ends[end]]


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(100)
    except BlockingIOError:
        return b""


async def until_not_open(channel: CallChannel) -> None:
    connection: Any = channel._connection  # noqa: SLF001 - nothing else tells
    while connection.call.state is _State.OPEN:  # noqa: ASYNC110 - likewise
        await asyncio.sleep(0.001)


LATE: dict[str, tuple[Script, bool]] = {
    "hangs up": (hang_up, True),
    "says goodbye": (say(GOAWAY), True),
    "a second status": (say(STATUS_0), False),
}


async def probe_on(channel: CallChannel) -> None:
    await _unary(channel, "Probe", ProbeRequest(), ProbeResponse)


@pytest.mark.parametrize(("script", "ended"), LATE.values(), ids=LATE)
async def test_what_has_come_before_it_is_held(
    csi_socket: Path, script: Script, *, ended: bool
) -> None:
    """The rest of this kind races with the reply; here asyncio has seen it for sure."""

    idler = Idler(script)
    token = trio.lowlevel.current_trio_token()

    async def probe_late() -> bool:
        channel = CallChannel(str(csi_socket), "9S", None)
        try:
            await probe_on(channel)
            token.run_sync_soon(idler.go.set)
            await until_not_open(channel)
            assert channel.detach() is None
            return channel.ended_by_driver
        finally:
            await channel.aclose()

    async with leaving_nothing(), listening(csi_socket, idler.play):
        with closing(AsyncioThread()) as asyncio_thread:
            assert await asyncio_thread.run(probe_late) is ended


async def test_a_cancel_while_a_channel_takes_it_is_no_end(csi_socket: Path, pair: Pair) -> None:
    http2 = ClientConnection()
    http2.initiate_connection()
    idle = IdleConnection(sock=pair[0], http2=http2)

    channel: CallChannel

    async def connect() -> None:
        async with aclosing(channel):
            await channel.__connect__()

    async def cancel_connect() -> None:
        nonlocal channel
        channel = CallChannel(str(csi_socket), "9S", idle)
        connecting = asyncio.create_task(connect())
        await asyncio.sleep(0)  # now there is a transport, and no protocol that grpclib knows of
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert not channel.ended_by_driver

    with closing(AsyncioThread()) as asyncio_thread:
        await asyncio_thread.run(cancel_connect)
    assert not idle.ended_by_driver
