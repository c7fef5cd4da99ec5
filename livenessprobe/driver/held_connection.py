"""The connection of the last answered call, held idle: its end says that the driver is gone.

An idle connection costs the driver nothing, and the kernel ends it when the driver's process dies,
at once and not only at the next Probe. It is no proof of health, see `client`; only its end counts.

    worker thread                trio
    -------------                ----
    answered -> IdleConnection   HeldConnection.hold, until the next call: close or detach
                                 HeldConnection.wait_disconnected reads it meanwhile:
                                   PING, SETTINGS              acknowledged
                                   EOF, reset, GOAWAY          closed, and reported
                                   not HTTP/2, or too much     closed, and not reported

The driver's frames are answered, since a server that stops gracefully asks idle clients to leave,
and waits for them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from h2.events import ConnectionTerminated
from h2.exceptions import H2Error

if TYPE_CHECKING:
    from livenessprobe.driver.grpclib_internals import IdleConnection

MAX_IDLE_BYTES = 4 * 1024
"""All that a held connection may bring.

A server that pings every second, as often as Go's gRPC library can be told to, needs four minutes
for so much; a flood has spent it in a moment.
"""


class HeldConnection:
    """The one idle connection, or none. To be used inside trio."""

    def __init__(self) -> None:
        self._idle: IdleConnection | None = None
        self._until_held = trio.lowlevel.ParkingLot()

    def hold(self, idle: IdleConnection) -> None:
        """Own this connection, instead of the one before."""
        self.close()
        self._idle = idle
        self._until_held.unpark_all()

    def detach(self) -> IdleConnection | None:
        """Return the connection, whose owner is the caller now; None if none is held."""
        idle, self._idle = self._idle, None
        if idle is not None:
            trio.lowlevel.notify_closing(idle.sock)  # wakes up who waits for its end
        return idle

    def close(self) -> None:
        """Close the connection, if one is held."""
        if idle := self.detach():
            idle.sock.close()
            idle.http2.close()

    async def wait_disconnected(self) -> None:
        """Wait, whatever is held and replaced meanwhile, until the driver closes what is held."""
        while True:
            if self._idle is None:
                await self._until_held.park()
            elif await self._is_disconnected(self._idle):
                self.close()
                return

    async def _is_disconnected(self, idle: IdleConnection) -> bool:
        """Answer the driver until the connection is of no use; return if the driver ended it."""
        allowance = MAX_IDLE_BYTES
        while allowance:
            with suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(idle.sock)
            if self._idle is not idle:  # detached: a call is on its way, or has it
                return False
            try:
                data = idle.sock.recv(allowance)
                if not data or _has_goaway(idle, data):
                    return True
            except ConnectionError:  # reset
                return True
            except H2Error:
                break
            allowance -= len(data)
            if not _flush(idle):
                break
        self.close()
        return False


def _has_goaway(idle: IdleConnection, data: bytes) -> bool:
    # Byte by byte: the events of valid frames are lost if what came with the same bytes is invalid.
    return any(
        isinstance(event, ConnectionTerminated)
        for byte in data
        for event in idle.http2.receive_data(bytes([byte]))
    )


def _flush(idle: IdleConnection) -> bool:
    """Send what h2 has to say, without waiting; return whether all of it went out."""
    data = idle.http2.data_to_send()
    try:
        return idle.sock.send(data) == len(data)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True  # the driver is gone; the end is yet to be read
