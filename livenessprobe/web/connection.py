"""One client's connection: while its requests are plain they are answered here, then by hypercorn.

    let in, with its first words ──► `answer_at_once`: all that a kubelet's ever gets
                         `serve` ──► the plain requests after it, and of who began with silence
                                 ──► `Conversation`, from the first one on that is not plain

- Before its first byte a connection costs only a descriptor.
- What is answered at once has no task, no timer and no turn of trio's loop; they would take more
  than the answer does.
- Every request after the first passes the turnstile, see `conversation`: those who keep their
  connections do not hold up the others, however many they are.
- Every connection ends, see `patience`. When the server stops, one that waits for a request is
  closed, and an answer that is being sent has `DRAIN`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from livenessprobe.web import patience, plain
from livenessprobe.web.conversation import Conversation, configure
from livenessprobe.web.pieces import READ_BYTES

if TYPE_CHECKING:
    import socket

    from hypercorn.app_wrappers import ASGIWrapper
    from hypercorn.config import Config

    from livenessprobe.web.accept import Guests
    from livenessprobe.web.responder import Responder


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the connections of a server share."""

    responder: Responder
    app: ASGIWrapper
    guests: Guests
    config: Config = field(default_factory=configure)
    turnstile: trio.Lock = field(default_factory=trio.Lock)
    stopping: trio.Event = field(default_factory=trio.Event)
    """Set when no more connections are let in."""


class Connection:
    """The connection of `connected`, which must not block."""

    def __init__(self, connected: socket.socket, house: House) -> None:
        self.socket = connected
        self.tasks = trio.CancelScope()
        """All that is done for the connection after the first answer."""
        self._house = house
        self._is_plain = True
        self._is_last = False
        self._is_waiting = False
        self._unread = b""
        self._unsent = memoryview(b"")
        self._ends_at = math.inf

    def answer_at_once(self, said: bytes) -> bool:
        """Answer the client's first words; return whether that was all, and it is closed."""
        self._unread = said
        over = True
        try:
            self._answer()
            over = self._is_last and not self._unsent
        except (OSError, MemoryError):
            pass  # the client is gone, or there is no room for what it wants
        finally:
            if over:
                self.socket.close()
        return over

    async def serve(self) -> None:
        """Answer the client until one side has closed the connection or its time is over."""
        try:
            with self.tasks:
                await trio.lowlevel.checkpoint_if_cancelled()  # closed before its turn has come
                await self._serve(lifetime_ends=trio.current_time() + patience.LIFETIME)
        finally:
            self.close()
            self._house.guests.forget(self)

    def finish(self) -> None:
        """Take no more requests, as the server stops. A `Conversation` sees to that by itself."""
        if self._is_waiting:
            self.close()
        elif self._is_plain:
            self._ends_at = trio.current_time() + patience.DRAIN
            self._allow(self._ends_at)

    def close(self) -> None:
        """Close the connection, and end the tasks that could only wait for it."""
        self.tasks.cancel()
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    async def _serve(self, *, lifetime_ends: float) -> None:
        while self._is_plain:
            await self._send_rest(lifetime_ends + patience.DRAIN)
            if self._is_last or not await self._has_words(lifetime_ends):
                return
            self._answer()
        self._allow(math.inf)
        await Conversation(self, self._house, self._unread, lifetime_ends).run()

    def _answer(self) -> None:
        """Answer the next request, if it is plain."""
        started_at = trio.current_time()
        answered = plain.answer(self._unread, self._house.responder.respond)
        if answered is None:
            self._is_plain = False
            return
        self._unread, self._is_last = answered.unread, answered.is_last
        self._unsent = memoryview(answered.data)
        self._send()
        self._house.responder.sent(answered.path, answered.status, started_at=started_at)

    def _send(self) -> None:
        """Send as much as the kernel takes."""
        with suppress(BlockingIOError):
            self._unsent = self._unsent[self.socket.send(self._unsent) :]

    async def _send_rest(self, until: float) -> None:
        while self._unsent:
            self._allow(min(until, trio.current_time() + patience.IDLE))
            await trio.lowlevel.wait_writable(self.socket)
            self._send()

    async def _has_words(self, until: float) -> bool:
        """Return whether the client says any more."""
        if self._house.stopping.is_set():
            return False
        self._allow(min(until, trio.current_time() + patience.IDLE))
        if not self._unread:
            self._is_waiting = True
            await trio.lowlevel.wait_readable(self.socket)
            self._is_waiting = False
            self._unread = self.socket.recv(READ_BYTES)
            self._house.guests.heard(self)
        async with self._house.turnstile:
            return bool(self._unread)

    def _allow(self, until: float) -> None:
        self.tasks.deadline = min(until, self._ends_at)
