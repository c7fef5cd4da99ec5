"""One connection, driven by one of hypercorn's protocols, see `protocols`.

    accepted with one whole request ──► `answer_now`: all there is to a connection of the kubelet's
    else, and for what follows it   ──► `serve`: receive, let the protocol handle it, send

- What a connection waits for is its `State`. Each state has its time, see `TIMEOUTS`; one deadline
  takes the place of timers.
- Fairness: of all that clients send on connections they keep, one chunk is handled in each pass of
  trio's scheduler. Whatever floods there are, others wait for one chunk of one of them.
- Backpressure: nothing more is received from a client that does not read its responses.
- The end is announced, in HTTP/1 by `Connection: close` and `Keep-Alive: timeout`, in HTTP/2 by
  GOAWAY. After the last response the server closes its side and discards what the client still
  sends: closing a socket with unread data resets the connection, and the response may be lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
from hypercorn.events import Closed, Event, RawData, Updated

from livenessprobe import klog
from livenessprobe.server.buffered import BufferedSocket
from livenessprobe.server.limits import READ_BYTES, AbuseError, Http1Input, Http2Input
from livenessprobe.server.protocols import H2ProtocolAssumedError, Http1, Http2, Setup
from livenessprobe.server.state import DRAIN, TIMEOUTS, State

if TYPE_CHECKING:
    import socket

    from livenessprobe.server.registry import ConnectionRegistry

log = klog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the connections of a server share."""

    setup: Setup
    registry: ConnectionRegistry
    fairness: trio.Lock = field(default_factory=trio.Lock)

    async def drain(self) -> None:
        """Let no connection take another request."""
        await self.setup.context.terminated.set()
        for connection in self.registry:
            connection.drain()


class Connection:
    """Owns the socket `connected`, which must not block and has `received` these bytes so far."""

    def __init__(self, connected: socket.socket, received: bytes, server: ServerState) -> None:
        self.state = State.BUSY if received else State.IDLE
        self._server = server
        self._scope: trio.CancelScope | None = None
        """In `serve`, around everything up to the last response; then around the end."""
        self._nursery: trio.Nursery
        """Runs hypercorn's tasks as long as the connection takes requests."""
        self._drain_deadline = math.inf
        self._io = BufferedSocket(connected)
        self._protocol: Http1 | Http2 = Http1(server.setup, self._on_event)
        self._input: Http1Input | Http2Input = Http1Input(received, self._protocol.receives_body)

    async def answer_now(self) -> None:
        """Answer the one whole request that was received, without waiting.

        Afterwards the connection is closed, or `serve` takes over. Raises what `serve` raises.
        """
        try:
            await self._handle_next()
            self._io.write()
        except BaseException:
            self.close()
            raise
        if self.state is State.ENDING and not self._io.unsent:
            self.close()

    async def serve(self) -> None:
        """Answer requests until either side closes the connection or its time is over.

        Raises OSError for a failure of the network, `trio.ClosedResourceError` after `close`, and
        whatever hypercorn or the application raise, in a group.
        """
        try:
            if self.state is State.CLOSED:
                return  # evicted before its first turn
            if self.state is not State.ENDING:  # else all that is left is to send the rest
                with trio.CancelScope() as self._scope:
                    async with trio.open_nursery() as self._nursery:
                        self._limit(TIMEOUTS[self.state])
                        await self._serve()
            if self._is_idle:
                self.state = State.ENDING
                if isinstance(self._protocol, Http2):
                    await self._protocol.announce_end()
                    self._io.write()
            elif self.state is State.ENDING:
                with trio.CancelScope() as self._scope:
                    await self._flush()
                    self._enter(State.ENDING)
                    await self._io.finish()
        finally:
            self.close()
            self._server.registry.remove(self)

    def drain(self) -> None:
        """Take no more requests; what is under way must end within `DRAIN` seconds from now."""
        self._drain_deadline = trio.current_time() + DRAIN
        if self._is_idle:
            self._cancel()
        else:
            self._limit(TIMEOUTS[self.state])

    def close(self) -> None:
        """Close the connection at once and cancel the tasks that serve it."""
        self.state = State.CLOSED
        self._cancel()
        self._io.close()

    async def _serve(self) -> None:
        await self._flush()  # what `answer_now` could not send
        while not (self._is_draining and self.state is State.IDLE):
            if await self._handle_next():
                await self._flush()
                if self._input.unread:
                    await self._take_turn()
            elif received := await self._receive():
                self._input.feed(received)
            else:
                await self._protocol.handle(RawData(b""))
                await self._protocol.handle(Closed())
                break
        self._end()

    async def _handle_next(self) -> bool:
        """Handle the next chunk of what was received; return False if there is none."""
        try:
            chunk = self._input.take()
            if not chunk:
                return False
            await self._protocol.handle(RawData(chunk))
        except H2ProtocolAssumedError as preface:
            self._input = Http2Input(preface.data + self._input.unread)
            self._protocol = Http2(self._server.setup, self._on_event, self._nursery)
            self._enter(State.IDLE)
            await self._protocol.initiate()
            await self._handle_next()
        except AbuseError as abuse:
            log.info("HTTP connection refused", v=4, err=abuse)
            await self._protocol.refuse()
            self._io.write()
            self._end()
        return True

    async def _on_event(self, event: Event) -> None:
        """Do what the protocol asks for."""
        if isinstance(event, RawData):
            # HTTP/1 answers while a chunk is handled, and is flushed then; HTTP/2 in a later pass.
            if isinstance(self._protocol, Http2) and not (
                self._io.unsent or self.state is State.ENDING
            ):
                self._nursery.start_soon(self._flush)
            self._io.put(event.data)
        elif isinstance(event, Updated):
            self._enter(State.IDLE if event.idle else State.BUSY)
            if event.idle and self._is_draining:
                self._end()
        else:
            self._end()

    def _end(self) -> None:
        """Take no more requests, and cancel those under way."""
        self.state = State.ENDING
        self._cancel()

    async def _receive(self) -> bytes:
        received = await self._io.receive(READ_BYTES)
        self._server.registry.touch(self)
        if received and self.state is not State.BUSY and isinstance(self._protocol, Http1):
            self._enter(State.BUSY)  # in HTTP/2, not every frame is a request
        await self._take_turn()
        return received

    async def _take_turn(self) -> None:
        """Wait until no other connection has a chunk to handle in this pass; see the head."""
        async with self._server.fairness:
            pass

    async def _flush(self) -> None:
        self._io.write()
        if self._io.unsent:
            self._limit(TIMEOUTS[State.BUSY])
            await self._io.flush()
            self._limit(TIMEOUTS[self.state])

    def _enter(self, state: State) -> None:
        self.state = state
        self._limit(TIMEOUTS[state])

    def _limit(self, seconds: float) -> None:
        if self._scope:
            self._scope.deadline = min(trio.current_time() + seconds, self._drain_deadline)

    def _cancel(self) -> None:
        if self._scope:
            self._scope.cancel()

    @property
    def _is_idle(self) -> bool:
        return self.state is State.IDLE and not self._io.unsent

    @property
    def _is_draining(self) -> bool:
        return self._server.setup.context.terminated.is_set()
