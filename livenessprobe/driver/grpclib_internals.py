"""grpclib's channel for one call, and all that reaches into grpclib's private names.

grpclib ends a call for frames that are to be ignored, for empty DATA and for a GOAWAY that lets the
call go on; it waits for trailers after the end of a stream; it has one error for every RST_STREAM;
and it closes in the background. tests/upstream/test_grpclib.py shows each. So HTTP/2's events come
here first, and `Reply` judges them: what grpclib gets to see is a valid reply. Whatever ends a call
before that is raised in it, as the `RPCError` that it means.

The connection of an answered call can be detached: it then belongs to no event loop, and its owner
closes it or gives it to another channel.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from livenessprobe.driver.asyncio_thread import limit_reads
from livenessprobe.driver.codec import StrictCodec
from livenessprobe.driver.dial import dial
from livenessprobe.driver.h2_internals import (
    MAX_HEADER_LIST_BYTES,
    ClientConnection,
    limit_exceeded,
)
from livenessprobe.driver.reply import MAX_MESSAGE_BYTES, Reply
from livenessprobe.driver.statuses import RESET_STATUS
from livenessprobe.health.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        Event,
        ResponseReceived,
        StreamEnded,
        StreamReset,
        TrailersReceived,
    )

MAX_RECEIVED_BYTES = 2 * MAX_MESSAGE_BYTES + 2 * MAX_HEADER_LIST_BYTES
"""All that may come during one call: a reply of the largest size, in small frames, and others."""

# The type of the first frame of an HTTP/2 connection. It stands behind three bytes of length.
_SETTINGS = b"\x04"

_BREACH = "the driver breaks the HTTP/2 protocol"

# The fields of a valid reply that grpclib looks at.
_HEADERS: list[Any] = [(":status", "200"), ("content-type", "application/grpc")]
_TRAILERS: list[Any] = [("grpc-status", "0")]


class _ClientConfiguration(Configuration):
    """What grpclib makes of a configuration, and validates, for each channel: made once."""

    def __for_client__(self) -> Configuration:
        return self


_CONFIGURATION = _ClientConfiguration(**vars(Configuration().__for_client__()))


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleConnection:
    """A connection without a call on it. Its owner closes `sock`."""

    sock: socket.socket
    http2: ClientConnection


class CallChannel(Channel):
    """A channel to the UNIX socket at `path` for one call, on a new connection or on `idle`.

    `timeout` is the request's `grpc-timeout`; nothing here ends a call that outlasts it.
    """

    def __init__(self, path: str, timeout: str, idle: IdleConnection | None) -> None:
        super().__init__(path=path, codec=StrictCodec(), config=_CONFIGURATION)
        self._socket_path = path
        self._timeout = timeout
        self._idle = idle
        self._connection: _Connection | None = None

    @property
    def unprocessed(self) -> bool:
        """Whether the call failed and the driver surely did nothing for it."""
        return self._connection is not None and self._connection.unprocessed

    async def _create_connection(self) -> H2Protocol:
        if self._idle is None:
            sock, http2 = await dial(self._socket_path), ClientConnection()
            http2.initiate_connection()
        else:
            sock, http2 = self._idle.sock, self._idle.http2
        http2.timeout = self._timeout
        self._connection = connection = _Connection(self._socket_path, http2)
        await self._loop.create_unix_connection(lambda: connection, sock=sock)
        if connection.call.error is not None:  # so soon that no stream could be told
            raise connection.call.error
        return connection

    async def detach(self) -> IdleConnection | None:
        """Return the connection for another owner; None if it is of no use. Closes the channel."""
        idle = None if self._connection is None else self._connection.detach()
        if idle is None:
            return None
        try:
            await self.aclose()
        except asyncio.CancelledError:
            idle.sock.close()
            raise
        return idle

    async def aclose(self) -> None:
        """Close the connection and wait until its descriptor is gone."""
        self.close()
        if self._connection is not None:
            await self._connection.aclose()


class _Connection(H2Protocol):
    """The protocol of one connection; whatever arrives goes to h2, and its events to `reply`."""

    def __init__(self, path: str, http2: ClientConnection) -> None:
        super().__init__(Handler(), _CONFIGURATION, http2.config)
        self._path = path
        self._http2 = http2
        self._reused = http2.highest_outbound_stream_id > 0
        self._start = _SETTINGS * 4 if self._reused else b""
        self._received = 0
        self._lost = asyncio.Event()
        self._detached = False

    @property
    def unprocessed(self) -> bool:
        """Whether the call failed and the driver surely did nothing for it."""
        ended_idle = self._reused and self.call.closed_by_driver and not self.call.reply.started
        return self.call.unprocessed or ended_idle

    def connection_made(self, transport: Any) -> None:
        limit_reads(transport)
        self._transport: asyncio.Transport = transport
        self.connection = Connection(self._http2, transport, config=self.config)
        self.processor = self.call = _Processor(
            self._path, transport, self.handler, self.connection
        )
        self.connection.flush()

    def data_received(self, data: bytes) -> None:
        try:
            self._count(data)
            for event in self._events(data):
                self.call.process(event)
        except RPCError as error:
            self.call.fail(error)
        else:
            self.connection.flush()

    def _count(self, data: bytes) -> None:
        self._received += len(data)
        self._start = (self._start + data[:4])[:4]
        if self._start[3:] not in (b"", _SETTINGS):
            raise _unavailable(self._path, "the driver does not speak HTTP/2")
        if self._received > MAX_RECEIVED_BYTES:
            raise _limit(self._path, f"{MAX_RECEIVED_BYTES} bytes for a reply, frames and all")

    def _events(self, data: bytes) -> list[Event]:
        try:
            return self._http2.receive_data(data)
        except H2Error as error:
            if limit_exceeded(error):
                raise _limit(self._path, f"{MAX_HEADER_LIST_BYTES} bytes of headers") from error
            raise _unavailable(self._path, f"{_BREACH}: {error}") from error

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost.set()
        self.call.closed_by_driver = not self.call.failed
        if isinstance(exc, Exception) and not isinstance(exc, OSError):
            self.call.fail(exc)  # a bug: asyncio closes the transport for it
        elif not self.call.reply.complete:
            reason = self.call.goaway or "the driver closed the connection before it answered"
            self.call.fail(_unavailable(self._path, reason))

    def detach(self) -> IdleConnection | None:
        """Return the idle connection as one that outlives its transport; None if it is no good."""
        if self.call.failed or self._transport.get_write_buffer_size():
            return None
        try:
            if self.call.closed_by_driver:
                sock = _closed_socket()
            else:
                sock = self._transport.get_extra_info("socket").dup()
        except OSError:  # no descriptor is left; the Probe was answered all the same
            return None
        self._detached = True
        return IdleConnection(sock=sock, http2=self._http2)

    async def aclose(self) -> None:
        self._transport.abort()
        await self._lost.wait()
        if not self._detached:
            self._http2.close()


class _Processor(EventsProcessor):
    """What HTTP/2's events mean for the one call."""

    def __init__(
        self, path: str, transport: Any, handler: AbstractHandler, connection: Connection
    ) -> None:
        super().__init__(handler, connection)
        self._path = path
        self._transport = transport
        self.reply = Reply()
        self.error: Exception | None = None
        """What the call fails with."""
        self.failed = False
        """It did, or something invalid came behind a complete reply."""
        self.goaway = ""
        self.closed_by_driver = False
        self.unprocessed = False

    def process(self, event: Event) -> None:
        # grpclib fails for others, such as unknown frames; grpc-go ignores them, and other streams.
        stream_id = getattr(event, "stream_id", None)
        if type(event) in self.processors and (not stream_id or stream_id in self.streams):
            super().process(event)

    def fail(self, error: Exception) -> None:
        """End the call with `error`, unless its reply is complete."""
        self.failed = True
        if self.error is None and not self.reply.complete:
            self.error = error
            for stream in self.streams.values():
                stream.wrapper.cancel(error)  # type: ignore[union-attr] # a client's has one
        self.close()

    def close(self, reason: str = "") -> None:  # noqa: ARG002 - whoever has one calls `fail`
        self.handler.close()
        self._transport.abort()
        self.processors.clear()  # bound methods: a reference cycle

    def process_response_received(self, event: ResponseReceived) -> None:
        self.reply.headers(_text(event.headers), ended=event.stream_ended is not None)
        event.headers = _HEADERS
        super().process_response_received(event)

    def process_data_received(self, event: DataReceived) -> None:
        self.reply.data(event.data)
        if event.flow_controlled_length:  # grpclib takes an empty frame for the end of the reply
            super().process_data_received(event)

    def process_trailers_received(self, event: TrailersReceived) -> None:
        self.reply.trailers(_text(event.headers))
        event.headers = _TRAILERS
        super().process_trailers_received(event)

    def process_stream_ended(self, event: StreamEnded) -> None:
        self.reply.end()
        super().process_stream_ended(event)

    def process_stream_reset(self, event: StreamReset) -> None:
        code: Any = event.error_code
        if not event.remote_reset:  # h2 has reset it
            raise _unavailable(self._path, f"{_BREACH}: {code!r}")
        self.unprocessed = code == ErrorCodes.REFUSED_STREAM
        name = code.name if code in RESET_STATUS else f"unknown error code {code:#x}"
        raise RPCError(
            RESET_STATUS.get(code, "Unknown"),
            f"stream terminated by RST_STREAM with error code: {name}",
        )

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        self.closed_by_driver = True
        code = event.error_code
        self.goaway = self.goaway or f"the driver ends the connection (GOAWAY, error code {code})"
        if max(self.streams, default=0) > (event.last_stream_id or 0):
            self.unprocessed = True
            raise _unavailable(self._path, self.goaway)


def _unavailable(path: str, text: str) -> RPCError:
    return RPCError("Unavailable", f"{path}: {text}")


def _limit(path: str, what: str) -> RPCError:
    return RPCError("ResourceExhausted", f"{path}: livenessprobe takes at most {what}")


def _closed_socket() -> socket.socket:
    """Return a socket whose peer is gone, for a connection that the driver has ended already."""
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.setblocking(False)  # noqa: FBT003 - the socket's own way
    return ours


def _text(headers: Iterable[Any]) -> list[tuple[str, str]]:
    # They are to be ASCII; whatever they are, a status among them can be read.
    return [
        (name.decode(errors="replace"), value.decode(errors="replace")) for name, value in headers
    ]
