"""A connected socket with a buffer for what is to be sent. Knows no deadlines: its user cancels.

What is sent together is gathered and written in one system call, with TCP_NODELAY in one packet.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

_DISCARD_BYTES = 64 * 1024


class BufferedSocket:
    """Wraps `connected`, which must not block, and owns it."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._unsent = b""
        self._write_lock = trio.Lock()

    @property
    def unsent(self) -> int:
        """How many bytes are still to be sent."""
        return len(self._unsent)

    def put(self, data: bytes) -> None:
        """Add to what is to be sent."""
        self._unsent += data

    def write(self) -> None:
        """Send as much as the kernel takes. Raises OSError if the connection is broken."""
        if self._unsent:
            with suppress(BlockingIOError):
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    async def flush(self) -> None:
        """Send everything; several tasks may wait for it. Raises OSError like `write`."""
        async with self._write_lock:
            while self._unsent:
                self._check_open()
                await trio.lowlevel.wait_writable(self._socket)
                self.write()

    async def receive(self, max_bytes: int) -> bytes:
        """Return what the client sends next; nothing once it has closed its side."""
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
        """Close it; whoever waits for it gets `trio.ClosedResourceError`."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
