"""What livenessprobe/driver relies on in asyncio beyond its documentation."""

import asyncio
import gc
import selectors
import socket
from contextlib import closing
from typing import Any

import pytest


def test_a_transport_reads_max_size_at_once() -> None:
    """Its attribute is not documented; livenessprobe/driver/grpclib_internals.py sets it."""

    class Reader(asyncio.Protocol):
        sizes: tuple[int, ...] = ()

        def connection_made(self, transport: Any) -> None:
            assert isinstance(transport.max_size, int)
            transport.max_size = 3

        def data_received(self, data: bytes) -> None:
            self.sizes += (len(data),)

        def eof_received(self) -> None:
            ended.set()

    async def read() -> tuple[int, ...]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.send(bytes(7))
        transport, reader = await loop.create_unix_connection(Reader, sock=ours)
        with closing(transport):
            await ended.wait()
        return reader.sizes

    ended = asyncio.Event()
    assert asyncio.run(read()) == (3, 3, 1)


@pytest.mark.xfail(
    strict=True, reason="__del__ fails: livenessprobe/driver/asyncio_thread.py overrides is_closed"
)
def test_a_loop_that_could_not_be_created_is_freed_silently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no descriptor")

    unraisable: list[object] = []
    monkeypatch.setattr(socket, "socketpair", fail)
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    with selectors.DefaultSelector() as selector:
        with pytest.raises(OSError, match="no descriptor"):
            asyncio.SelectorEventLoop(selector)
        gc.collect()
    assert not unraisable
