"""The connection of the last answered call, kept open and idle to see the driver close it.

It costs the driver nothing, and the kernel closes it as soon as the driver's process dies, so a
death is noticed before the next Probe. That it is open proves nothing; only its end counts.

    worker thread                trio
    -------------                ----
    answered -> IdleConnection   HeldConnection.hold, until the next call: drop or detach
                                 HeldConnection.wait_disconnected reads it meanwhile:
                                   PING, SETTINGS              acknowledged
                                   EOF, reset, GOAWAY          closed, and reported
                                   not HTTP/2, or too much     closed, and not reported
    ended by the driver ------>  HeldConnection.end: reported too

The driver's frames are acknowledged because a server that shuts down gracefully sends GOAWAY and
PING on idle connections, and waits until the client has left.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from h2.events import ConnectionTerminated
from h2.exceptions import H2Error

if TYPE_CHECKING:
    from livenessprobe.driver.grpclib_internals import IdleConnection

MAX_IDLE_BYTES = 4 * 1024
"""Bytes that are read from a held connection before it is closed.

A server that sends a PING every second, the shortest interval of Go's gRPC library, takes four
minutes for them; a flood takes a moment.
"""


class HeldConnection:
    """One idle connection, or none. Its methods are called inside trio. The owner closes it."""

    def __init__(self) -> None:
        self._idle: IdleConnection | None = None
        self._allowance = 0
        self._ended = False
        # trio waits for this descriptor, whichever connection is held, so that the waiting task
        # does not run for each Probe.
        self._epoll = select.epoll()

    def hold(self, idle: IdleConnection) -> None:
        """Take ownership of a connection; none may be held."""
        self._idle, self._allowance = idle, MAX_IDLE_BYTES
        self._epoll.register(idle.sock, select.EPOLLIN)

    def end(self) -> None:
        """Report that the driver has ended a connection, which is not held any more."""
        self._ended = True
        trio.lowlevel.notify_closing(self._epoll)  # wakes `wait_disconnected`

    def detach(self) -> IdleConnection | None:
        """Return the connection, which the caller now owns; None if none is held."""
        idle, self._idle = self._idle, None
        if idle is not None:
            self._epoll.unregister(idle.sock)
        return idle

    def drop(self) -> None:
        """Close the connection, if one is held; an end that is not reported yet is forgotten."""
        self._ended = False
        if idle := self.detach():
            idle.sock.close()
            idle.http2.close()

    def close(self) -> None:
        """Close the connection, and hold no other. Nobody may wait."""
        self.drop()
        self._epoll.close()

    async def wait_disconnected(self) -> None:
        """Wait until the driver ends a connection; others may be held meanwhile."""
        while not self._ended:
            with suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(self._epoll)
            if self._idle is not None and self._is_disconnected(self._idle):
                self.drop()
                return
        self._ended = False

    def _is_disconnected(self, idle: IdleConnection) -> bool:
        """Read what has arrived; return whether the driver has ended the connection.

        If so, it is still held. If its data is invalid or too much, this closes it.
        """
        try:
            data = idle.sock.recv(self._allowance)
            if not data or _has_goaway(idle, data):
                return True
        except BlockingIOError:  # what arrived was for the connection held before
            return False
        except ConnectionError:  # reset
            return True
        except H2Error:
            self.drop()
            return False
        self._allowance -= len(data)
        if not self._allowance or not _flush(idle):
            self.drop()
        return False


def _has_goaway(idle: IdleConnection, data: bytes) -> bool:
    # Byte by byte, since h2 drops the events of valid frames if invalid data follows in one call.
    return any(
        isinstance(event, ConnectionTerminated)
        for byte in data
        for event in idle.http2.receive_data(bytes([byte]))
    )


def _flush(idle: IdleConnection) -> bool:
    """Send h2's acknowledgements without waiting; return whether all of them were sent."""
    data = idle.http2.data_to_send()
    try:
        return idle.sock.send(data) == len(data)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True  # the driver has closed the connection: the next read returns that
