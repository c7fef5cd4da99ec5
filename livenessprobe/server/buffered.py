"""A connected socket with a send buffer. It has no timeouts: its user cancels.

The parts of a response are gathered and written in one system call, with TCP_NODELAY in one packet.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

_DISCARD_BYTES = 64 * 1024


class BufferedSocket:
    """Owns the socket `connected`, which must not block."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._unsent = b""
        self._write_lock = trio.Lock()

    @property
    def unsent(self) -> int:
        """The number of bytes in the send buffer."""
        return len(self._unsent)

    def put(self, data: bytes) -> None:
        """Append to the send buffer."""
        self._unsent += data

    def write(self) -> None:
        """Send as much as the kernel takes now. Raises OSError if the connection is broken."""
        if self._unsent:
            with suppress(BlockingIOError):
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    async def flush(self) -> None:
        """Send everything; several tasks may wait for that. Raises OSError like `write`."""
        async with self._write_lock:
            while self._unsent:
                self._check_open()
                await trio.lowlevel.wait_writable(self._socket)
                self.write()

    async def receive(self, max_bytes: int) -> bytes:
        """Return what the client sends next; nothing at its end of file. Raises OSError."""
        self._check_open()
        await trio.lowlevel.wait_readable(self._socket)
        return self._socket.recv(max_bytes)

    async def finish(self) -> None:
        """Close our side, and discard what the client sends until it has closed its own."""
        self._socket.shutdown(socket.SHUT_WR)
        while await self.receive(_DISCARD_BYTES):
            pass

    def _check_open(self) -> None:
        """Raise `trio.ClosedResourceError` if this was closed while its user did not wait for it.

        The user's scope is cancelled then, but trio.Lock.acquire may end without noticing that.
        """
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError

    def close(self) -> None:
        """Close the socket; tasks that wait for it get `trio.ClosedResourceError`."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
