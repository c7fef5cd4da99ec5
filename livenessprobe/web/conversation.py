"""What is more than a plain request: hypercorn, fed in pieces and brought to an end.

hypercorn handles all that a read brings in one go, and can wait for ever: for a client that does
not read, resets its streams, or is gone already. So here

- hypercorn is fed in `pieces`. While one client has sent more than that, its next piece has to
  pass a turnstile, which lets one through each time that every task of the program has had its
  turn. However many floods there are, others wait for one piece of one of them;
- once the client has said its last word or the connection's lifetime is over, or the server
  stops, it takes no more requests, and `DRAIN` seconds later it is closed, which ends even
  hypercorn's shielded sends.

Once hypercorn does all that, this module can go.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hyperframe.frame import GoAwayFrame

from livenessprobe.web import patience
from livenessprobe.web.pieces import LIST_BYTES, READ_BYTES, FloodError, Pieces

if TYPE_CHECKING:
    from livenessprobe.web.connection import Connection, House

STREAMS = 8
"""Requests under way in one HTTP/2 connection; each may hold an answer that is not taken.

Callers send one after the other; the usual hundred would be for floods only.
"""

GOAWAY = GoAwayFrame(0, last_stream_id=2**31 - 1).serialize()
"""No more requests, but those on their way are answered: the highest stream there can be, no error.

RFC 9113, 6.8. h2 would refuse to answer after it, so it does not get to know of this frame.
"""


def configure() -> Config:
    """Return hypercorn's configuration."""
    config = Config()
    config.errorlog = None  # what hypercorn has to say is about clients, see `server`
    config.include_server_header = False
    config.keep_alive_timeout = patience.IDLE
    config.keep_alive_max_requests = sys.maxsize  # hypercorn loses the one after the last
    config.h2_max_concurrent_streams = STREAMS
    config.h2_max_header_list_size = LIST_BYTES
    return config


class Conversation:
    """hypercorn's part of a connection, and for hypercorn its stream, to see both ends of it."""

    def __init__(
        self, connection: Connection, house: House, said: bytes, lifetime_ends: float
    ) -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection.socket))
        self.socket = stream.socket
        self._stream = stream
        self._connection = connection
        self._house = house
        self._lifetime_ends = lifetime_ends
        self._pieces = Pieces()
        self._pieces.feed(said)
        self._has_piece = False
        self._handled_piece = trio.Event()
        self._context = WorkerContext(None)
        self._hypercorn = TCPServer(
            house.app, house.config, self._context, ConnectionState({}), cast("Any", self)
        )

    async def run(self) -> None:
        """Have hypercorn answer, from what the client has `said` on."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._limit)
            await self._hypercorn

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
            self._house.guests.heard(self._connection)
            self._pieces.feed(data)
        self._has_piece = True
        return piece

    async def send_all(self, data: bytes) -> None:
        """Send to the client."""
        self._pieces.sent(len(data))
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        """Close the connection; hypercorn's name for it."""
        self._connection.close()

    def _take(self) -> bytes:
        protocol = self._hypercorn.protocol.protocol
        if http2 := isinstance(protocol, H2Protocol):
            # hypercorn announces this limit, but h2 keeps to its own, eight times as much.
            protocol.connection.decoder.max_header_list_size = LIST_BYTES
        try:
            return self._pieces.take(http2=http2)
        except FloodError:
            self._connection.close()
            raise

    async def _limit(self) -> None:
        try:
            with trio.move_on_at(self._lifetime_ends) as lifetime:
                await self._house.stopping.wait()
            if lifetime.cancelled_caught:
                await self._say_goodbye()
            await self._finish()
            await trio.sleep_forever()
        finally:
            self._connection.close()

    async def _say_goodbye(self) -> None:
        """Let an idle HTTP/2 client know that there is to be no request more.

        hypercorn closes the connection without a word, and a request on its way is lost. It does
        say goodbye after an answer.
        """
        protocol = self._hypercorn.protocol.protocol
        if isinstance(protocol, H2Protocol) and protocol.idle:
            with trio.move_on_after(patience.DRAIN):
                async with self._hypercorn.send_lock:
                    await self._stream.send_all(GOAWAY)
                await self._house.stopping.wait()

    async def _finish(self) -> None:
        """Take no more requests, and give the answers in flight `DRAIN` seconds from now.

        What a client had said before it was let in is a request in flight, too.
        """
        tasks = self._connection.tasks
        tasks.deadline = min(tasks.deadline, trio.current_time() + patience.DRAIN)
        await self._handled_piece.wait()
        await self._context.terminated.set()
