"""The connection of the last answered Probe, held idle: its end says that the driver is gone.

An idle connection costs the driver nothing, and the kernel ends it when the driver's process dies,
at once and not only at the next Probe. It is no proof of health, see `client`; only its end counts.

    worker thread                trio
    -------------                ----
    answered -> IdleConnection   Tripwire.hold, until the next Probe begins: release
                                 Tripwire.wait_hung_up reads it meanwhile:
                                   PING, SETTINGS              answered
                                   EOF, reset, GOAWAY          closed, and told
                                   not HTTP/2, or too much     closed, and not told

What the driver says is answered, since a server that stops tidily asks idle clients to leave, and
waits for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from h2.events import ConnectionTerminated

if TYPE_CHECKING:
    import socket

    from h2.connection import H2Connection

MAX_IDLE_BYTES = 4 * 1024
"""All that a held connection may bring.

A server that pings every second, as often as Go's gRPC library can be told to, needs four minutes
for so much; one that never stops has spent it in a moment.
"""


class _BreachError(Exception):
    """What the driver sends is not HTTP/2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleConnection:
    """A connection without a call on it, in nobody's hands yet: whoever drops it closes `sock`."""

    sock: socket.socket
    http2: H2Connection


class HeldConnection:
    """An idle connection in trio's hands, until `close`."""

    def __init__(self, idle: IdleConnection) -> None:
        self._sock = idle.sock
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(idle.sock))
        self._http2 = idle.http2
        self._allowance = MAX_IDLE_BYTES

    async def wait_hung_up(self) -> bool:
        """Answer the driver until the connection is of no more use; return if the driver ended it.

        Raises `trio.ClosedResourceError` if it is closed meanwhile.
        """
        try:
            while data := await self._stream.receive_some(self._allowance):
                self._allowance -= len(data)
                if self._feed(data):
                    break
                if not self._allowance or not self._flush():
                    return False
        except trio.BrokenResourceError:
            pass  # reset
        except _BreachError:
            return False
        return True

    def _feed(self, data: bytes) -> bool:
        """Tell h2 what has come; return whether it is the driver's goodbye."""
        # Byte by byte: what h2 has understood, a GOAWAY say, it forgets to tell if something that
        # came with the same bytes is wrong.
        try:
            return any(
                isinstance(event, ConnectionTerminated)
                for byte in data
                for event in self._http2.receive_data(bytes([byte]))
            )
        except Exception as error:  # h2 and hpack have no closed list of their own
            raise _BreachError from error

    def _flush(self) -> bool:
        """Send what h2 has to say, without waiting; return whether all of it went out."""
        data = self._http2.data_to_send()
        try:
            return self._sock.send(data) == len(data)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # nobody listens any more; the end is yet to be read

    def close(self) -> None:
        """Close the connection, at once. Whoever waits for its end is woken up."""
        self._stream.socket.close()
        # As grpclib does: this breaks a cycle, so that no full collection has to find it.
        vars(self._http2).pop("_frame_dispatch_table", None)


class Tripwire:
    """The one held connection, or none. To be used inside trio, like its parts."""

    def __init__(self) -> None:
        self._connection: HeldConnection | None = None
        self._until_held = trio.lowlevel.ParkingLot()

    def hold(self, idle: IdleConnection) -> None:
        """Hold this connection instead."""
        self.release()
        self._connection = HeldConnection(idle)
        self._until_held.unpark_all()

    def release(self) -> None:
        """Close the connection that is held, if any."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def wait_hung_up(self) -> None:
        """Wait, whatever is held and replaced meanwhile, until the driver ends what is held."""
        while True:
            if self._connection is None:
                await self._until_held.park()
            elif await self._has_hung_up(self._connection):
                return

    async def _has_hung_up(self, connection: HeldConnection) -> bool:
        try:
            hung_up = await connection.wait_hung_up()
        except trio.ClosedResourceError:
            return False  # released: a Probe is on its way
        self.release()
        return hung_up
