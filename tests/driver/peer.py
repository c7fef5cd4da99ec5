"""A peer that plays a script, byte for byte, and the frames that scripts are made of.

The frames are put together by hand, from RFC 9113 and RFC 7541: what the program reads with h2 is
not written with h2.
"""

import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

import outcome
import pytest
import trio

from livenessprobe.driver import Driver
from livenessprobe.driver.asyncio_thread import AsyncioThread
from livenessprobe.health.errors import RPCError
from livenessprobe.probing.deadline import call_within
from tests.driver import deprived

Script = Callable[[trio.SocketStream], Awaitable[None]]

# Nothing here takes a second; a hang shows as a failure after this.
PATIENCE = 10.0

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 1) -> bytes:
    return b"".join([uint(3, len(payload)), bytes([kind, flags]), uint(4, stream), payload])


def uint(size: int, *values: int) -> bytes:
    return b"".join(value.to_bytes(size, "big") for value in values)


def fields(*pairs: tuple[str, str | bytes]) -> bytes:
    """Encode a header block: literal fields, never indexed, no Huffman code."""
    texts = [text if isinstance(text, bytes) else text.encode() for pair in pairs for text in pair]
    strings = [integer(len(text), 7) + text for text in texts]
    return b"".join(
        b"\0" + name + value for name, value in zip(strings[::2], strings[1::2], strict=True)
    )


def integer(value: int, bits: int) -> bytes:
    """Encode as RFC 7541, section 5.1; the other bits of the first byte are 0."""
    most = 2**bits - 1
    if value < most:
        return bytes([value])
    value -= most
    rest = []
    while value >= 0x80:
        rest.append(value % 0x80 | 0x80)
        value //= 0x80
    return bytes([most, *rest, value])


def headers(*pairs: tuple[str, str | bytes], end: bool = False, stream: int = 1) -> bytes:
    return frame(HEADERS, fields(*pairs), flags=END_HEADERS | end * END_STREAM, stream=stream)


def data(payload: bytes = b"", *, end: bool = False, stream: int = 1) -> bytes:
    return frame(DATA, payload, flags=end * END_STREAM, stream=stream)


def message(body: bytes = b"", *, compressed: int = 0) -> bytes:
    return bytes([compressed]) + uint(4, len(body)) + body


PREFACE = frame(SETTINGS, stream=0) + frame(SETTINGS, flags=ACK, stream=0)
OK_200 = headers((":status", "200"), ("content-type", "application/grpc"))
STATUS_0 = headers(("grpc-status", "0"), end=True)
READY = data(message(b"\x0a\x02\x08\x01"))
NOT_READY = data(message(b"\x0a\x00"))
VALID = PREFACE + OK_200 + READY + STATUS_0

# How each of the program's requests ends: an empty message and the end of its stream.
END_OF_REQUEST = data(message(), end=True)


def answer(*chunks: bytes, hang_up: bool = False) -> Script:
    """Read the request, send `chunks`, then wait until the other side closes, or `hang_up`."""

    async def script(stream: trio.SocketStream) -> None:
        await read_request(stream)
        for chunk in chunks:
            await stream.send_all(chunk)
        if not hang_up:
            await until_closed(stream)

    return script


async def read_request(stream: trio.SocketStream) -> None:
    request = b""
    while END_OF_REQUEST not in request:
        received = await stream.receive_some()
        if not received:
            raise trio.BrokenResourceError  # a Probe that was cut off
        request += received


async def until_closed(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


@asynccontextmanager
async def listening(path: Path, script: Script) -> AsyncIterator[None]:
    """Play `script` to whoever connects to `path`."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(path)
    listener.listen()
    listeners = [trio.SocketListener(listener)]
    with ExitStack() as at_exit:
        at_exit.callback(path.unlink)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, partial(_play, script), listeners))
            yield
            nursery.cancel_scope.cancel()


async def _play(script: Script, stream: trio.SocketStream) -> None:
    try:
        async with stream:
            await script(stream)
    except trio.BrokenResourceError:
        pass  # the program had enough


async def probe(path: Path, script: Script, *, seconds: float = PATIENCE) -> bool:
    """Probe a driver that plays `script`, with a deadline.

    Nothing of it may stay behind, and the next Probe finds a driver that is well again.
    """
    async with leaving_nothing():
        with closing(Driver(str(path))) as driver:
            async with listening(path, script):
                result = await outcome.acapture(call_within, seconds, driver.probe)
            async with listening(path, answer(VALID)):
                assert await call_within(PATIENCE, driver.probe)
    return result.unwrap()  # out here, where no nursery puts it into a group


async def failure(path: Path, *chunks: bytes, hang_up: bool = False) -> tuple[str | None, str]:
    """Return the gRPC status and the description that a Probe fails with after this answer."""
    with pytest.raises(RPCError) as caught:
        await probe(path, answer(*chunks, hang_up=hang_up))
    status, text = caught.value.grpc_status, str(caught.value)
    return status, text.removeprefix(f"rpc error: code = {status} desc = ")


@asynccontextmanager
async def leaving_nothing(*, loops: int = 0) -> AsyncIterator[None]:
    """Fail if the block leaves a descriptor open, or a call in an `AsyncioThread`.

    A driver that has answered and is not closed has left its idle loop, or so many.
    """
    before = descriptors()
    left = loops * deprived.DESCRIPTORS_OF_A_LOOP
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):  # the peer's own, and a thread's end, may take a moment
            await until(lambda: len(descriptors() - before) == left and not threads_with_a_call())


def threads_with_a_call() -> list[threading.Thread]:
    frames = sys._current_frames()  # noqa: SLF001 - where each thread is
    idle = AsyncioThread._work.__code__  # noqa: SLF001 - an idle one waits there
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == "asyncio calls"
        and thread.ident in frames
        and frames[thread.ident].f_code is not idle
    ]


def descriptors() -> set[int]:
    return {int(link.name) for link in Path("/proc/self/fd").iterdir()}


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what threads and the kernel do tells no event
            await trio.sleep(0.001)
