"""One client's connection: hypercorn, fed in pieces and brought to an end.

hypercorn handles all that a read brings in one go, and can wait for ever: for a client that does
not read, resets its streams, or is gone already. So here

- before its first byte a connection costs only a descriptor;
- hypercorn is fed in `pieces`. While one client has sent more than that, its next piece has to
  pass a turnstile, which lets one through each time that every task of the program has had its
  turn. However many floods there are, others wait for one piece of one of them;
- every connection ends. Once the client has said its last word or has had `LIFETIME`, or the
  server stops, it takes no more requests, and `DRAIN` seconds later it is closed, which ends even
  hypercorn's shielded sends.

Once hypercorn does all that, this module can go.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hyperframe.frame import GoAwayFrame

from livenessprobe.web.pieces import LIST_BYTES, READ_BYTES, FloodError, Pieces

if TYPE_CHECKING:
    from hypercorn.app_wrappers import ASGIWrapper

    from livenessprobe.web.accept import Guests

IDLE = 5.0
"""Seconds that a client may take until its first byte, from there to its first request, and after
an answer until its next."""

LIFETIME = 30.0
"""Seconds after which a connection takes no more requests.

The kubelet's lives for a millisecond, and whoever keeps one open can open another. It bounds
what `IDLE` does not, such as a body that does not come, or HTTP/2 without a request.
"""

DRAIN = 0.5
"""Seconds that answers in flight have once their connection takes no more requests.

An answer takes about a millisecond; the rest is for slow readers. The program promises its end
within one second.
"""

STREAMS = 8
"""Requests under way in one HTTP/2 connection; each may hold an answer that is not taken.

Callers send one after the other; the usual hundred would be for floods only.
"""

GOAWAY = GoAwayFrame(0, last_stream_id=2**31 - 1).serialize()
"""No more requests, but those on their way are answered: the highest stream there can be, no error.

RFC 9113, 6.8. h2 would refuse to answer after it, so it does not get to know of this frame.
"""


def _config() -> Config:
    config = Config()
    config.errorlog = None  # what hypercorn has to say is about clients, see `server`
    config.include_server_header = False
    config.keep_alive_timeout = IDLE
    config.keep_alive_max_requests = sys.maxsize  # hypercorn loses the one after the last
    config.h2_max_concurrent_streams = STREAMS
    config.h2_max_header_list_size = LIST_BYTES
    return config


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the connections of a server share."""

    app: ASGIWrapper
    guests: Guests
    config: Config = field(default_factory=_config)
    turnstile: trio.Lock = field(default_factory=trio.Lock)
    stopping: trio.Event = field(default_factory=trio.Event)
    """Set when no more connections are let in."""


class Connection:
    """One connection, and for hypercorn its stream, in order to see both ends of it."""

    def __init__(self, stream: trio.SocketStream, house: House, *, has_spoken: bool) -> None:
        self.socket = stream.socket
        self._stream = stream
        self._house = house
        self._has_spoken = has_spoken
        self._tasks = trio.CancelScope()
        self._has_piece = False
        self._handled_piece = trio.Event()

    async def serve(self) -> None:
        """Answer the client until one side has closed the connection or its time is over."""
        try:
            with self._tasks:
                if self._has_spoken or await self._hear():
                    await self._converse()
        finally:
            self.close()
            self._house.guests.forget(self)

    async def receive_some(self, max_bytes: int) -> bytes:  # noqa: ARG002 - hypercorn's 64 KiB
        """Return the next piece from the client, and see whether its last word was received."""
        if self._has_piece:
            self._handled_piece.set()
        if self._pieces:
            async with self._house.turnstile:
                pass
        while not (piece := self._take()):
            data: bytes | bytearray = b""
            try:
                data = await self._stream.receive_some(READ_BYTES)
            finally:
                if not data:
                    self._handled_piece.set()  # there is none
                    await self._finish()
            if not data:
                break
            self._house.guests.heard(self)
            self._pieces.feed(data)
        self._has_piece = True
        return piece

    async def send_all(self, data: bytes) -> None:
        """Send to the client."""
        self._pieces.sent(len(data))
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        """Close the connection; hypercorn's name for it."""
        self.close()

    def close(self) -> None:
        """Close the connection, and end the tasks that could only wait for it."""
        self._tasks.cancel()
        self.socket.close()

    async def _hear(self) -> bool:
        """Return whether the client says anything."""
        with trio.move_on_after(IDLE):
            return await self.socket.recv(1, socket.MSG_PEEK) != b""
        return False

    async def _converse(self) -> None:
        """Have hypercorn answer, from the first byte on."""
        self._context = WorkerContext(None)
        self._hypercorn = TCPServer(
            self._house.app,
            self._house.config,
            self._context,
            ConnectionState({}),
            cast("Any", self),
        )
        self._pieces = Pieces()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._limit)
            await self._hypercorn

    def _take(self) -> bytes:
        protocol = self._hypercorn.protocol.protocol
        if http2 := isinstance(protocol, H2Protocol):
            # hypercorn announces this limit, but h2 keeps to its own, eight times as much.
            protocol.connection.decoder.max_header_list_size = LIST_BYTES
        try:
            return self._pieces.take(http2=http2)
        except FloodError:
            self.close()
            raise

    async def _limit(self) -> None:
        try:
            with trio.move_on_after(LIFETIME) as lifetime:
                await self._house.stopping.wait()
            if lifetime.cancelled_caught:
                await self._say_goodbye()
            await self._finish()
            await trio.sleep_forever()
        finally:
            self.close()

    async def _say_goodbye(self) -> None:
        """Let an idle HTTP/2 client know that there is to be no request more.

        hypercorn closes the connection without a word, and a request on its way is lost. It does
        say goodbye after an answer.
        """
        protocol = self._hypercorn.protocol.protocol
        if isinstance(protocol, H2Protocol) and protocol.idle:
            with trio.move_on_after(DRAIN):
                async with self._hypercorn.send_lock:
                    await self._stream.send_all(GOAWAY)
                await self._house.stopping.wait()

    async def _finish(self) -> None:
        """Take no more requests, and give the answers in flight `DRAIN` seconds from now.

        What a client had said before it was let in is a request in flight, too.
        """
        self._tasks.deadline = min(self._tasks.deadline, trio.current_time() + DRAIN)
        await self._handled_piece.wait()
        await self._context.terminated.set()
