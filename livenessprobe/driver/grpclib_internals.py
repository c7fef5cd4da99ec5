"""A grpclib channel for one call, with limits on what it reads and a connection that surely closes.

HTTP/2's events pass `Reply` before they reach grpclib, so that grpclib sees nothing but a valid
reply; whatever ends the call earlier is raised in it as the `RPCError` that grpc-go would report.
What grpclib does wrong with other events is in tests/upstream/test_grpclib.py, each with a test.

What this module relies on beyond the documentation, tested in tests/upstream:

    grpclib.client     Channel._create_connection, overridden; Channel._loop
    grpclib.config     Configuration.__for_client__, overridden: it validates for each channel anew
    grpclib.protocol   H2Protocol with connection_made, data_received and connection_lost overridden
                       and its attributes handler, config, connection and processor set;
                       Connection with flush;
                       EventsProcessor with process, close and the process_* of six events
                       overridden and its attributes processors and streams; Stream.wrapper
    asyncio            max_size, the most bytes that a transport reads at once
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from livenessprobe.driver.codec import StrictCodec
from livenessprobe.driver.dial import dial
from livenessprobe.driver.h2_internals import (
    MAX_HEADER_LIST_BYTES,
    ClientConnection,
    exceeded_limit,
)
from livenessprobe.driver.reply import MAX_MESSAGE_BYTES, Reply
from livenessprobe.driver.statuses import RESET_STATUS
from livenessprobe.health.errors import RPCError

if TYPE_CHECKING:
    import socket
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

MAX_READ_BYTES = 16 * 1024
"""Bytes read at once, so that a flood of small frames cannot delay a cancellation.

A frame takes some 20 us, so the 256 KiB of asyncio's default could take half a second. A reply has
100 bytes.
"""

MAX_RECEIVED_BYTES = 2 * MAX_MESSAGE_BYTES + 2 * MAX_HEADER_LIST_BYTES
"""Bytes received during one call: twice the largest reply, as each frame has a header too."""

_SETTINGS = b"\x04"  # the type of the first frame that a server sends: RFC 9113 section 3.4

_PROTOCOL_ERROR = "the driver breaks the HTTP/2 protocol"

# The fields of a valid reply that grpclib looks at.
_HEADERS: list[Any] = [(":status", "200"), ("content-type", "application/grpc")]
_TRAILERS: list[Any] = [("grpc-status", "0")]


class _ClientConfiguration(Configuration):
    """A configuration that is validated once, not for each channel."""

    def __for_client__(self) -> Configuration:
        return self


_CONFIGURATION = _ClientConfiguration(**vars(Configuration().__for_client__()))


class UnprocessedError(Exception):
    """The call failed, and the driver has not processed it: it may be repeated.

    PROTOCOL-HTTP2.md, "Errors": a stream refused, or higher than a GOAWAY's last stream.
    """

    def __init__(self, rpc_error: RPCError) -> None:
        super().__init__(str(rpc_error))
        self.rpc_error = rpc_error


@dataclass(slots=True, kw_only=True)
class IdleConnection:
    """A connection without a call on it, bound to no event loop. The owner closes `sock`."""

    sock: socket.socket
    http2: ClientConnection
    ended_by_driver: bool = False
    """Whether the driver has ended it during the call that was made on it."""


class CallChannel(Channel):
    """A channel to the UNIX socket at `path` for one call, on a new connection or on `idle`.

    Owns `idle` from the first request on; the owner of the channel calls `aclose` in any case.
    `timeout` is the request's `grpc-timeout`; nothing here ends a call that takes longer.
    """

    def __init__(self, path: str, timeout: str, idle: IdleConnection | None) -> None:
        super().__init__(path=path, codec=StrictCodec(), config=_CONFIGURATION)
        self._socket_path = path
        self._timeout = timeout
        self._idle = idle
        self._connection: _Connection | None = None

    async def _create_connection(self) -> H2Protocol:
        if self._idle is None:
            sock, http2 = await dial(self._socket_path), ClientConnection()
            http2.initiate_connection()
        else:
            sock, http2 = self._idle.sock, self._idle.http2
        http2.start_call(self._timeout)
        self._connection = connection = _Connection(self._socket_path, http2)
        await self._loop.create_unix_connection(lambda: connection, sock=sock)
        if connection.call.error is not None:  # there was no stream yet to raise it in
            raise connection.call.error
        return connection

    def detach(self) -> IdleConnection | None:
        """Close the channel, but not its connection; return that, or None if it is unusable.

        The caller owns the connection. The transport's own descriptor is closed in the next
        iteration of the event loop, which a loop that stops completes: there is no need to wait.
        """
        idle = None if self._connection is None else self._connection.detach()
        if idle is not None:
            self.close()
            self._connection = None
        return idle

    @property
    def ended_by_driver(self) -> bool:
        """Whether the driver has ended the connection."""
        connection = self._connection
        return connection is not None and connection.call.state is _State.ENDED_BY_DRIVER

    async def aclose(self) -> None:
        """Close the connection and wait until its descriptor is closed. May be called twice."""
        self.close()
        if self._idle is not None:
            self._idle.ended_by_driver = self.ended_by_driver
        if self._connection is not None:
            await self._connection.aclose()


class _Connection(H2Protocol):
    """An asyncio protocol: passes received bytes to h2, and h2's events to `call`."""

    def __init__(self, path: str, http2: ClientConnection) -> None:
        super().__init__(Handler(), _CONFIGURATION, http2.config)
        self._path = path
        self._http2 = http2
        self._reused = http2.highest_outbound_stream_id > 0
        self._first_bytes = b""
        self._received = 0
        self._lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        transport.max_size = MAX_READ_BYTES
        self._transport: asyncio.Transport = transport
        self.connection = Connection(self._http2, transport, config=self.config)
        self.processor = self.call = _Call(
            self._path, transport, self.handler, self.connection, reused=self._reused
        )
        self.connection.flush()

    def data_received(self, data: bytes) -> None:
        try:
            self._check(data)
            for event in self._events(data):
                self.call.process(event)
        except (RPCError, UnprocessedError) as error:
            self.call.fail(error)
        else:
            self.connection.flush()

    def _check(self, data: bytes) -> None:
        self._received += len(data)
        # RFC 9113 section 4.1: three bytes of length, one of type.
        self._first_bytes += data[: 4 - len(self._first_bytes)]
        if not self._reused and self._first_bytes[3:] not in (b"", _SETTINGS):
            raise _unavailable(self._path, "the driver does not speak HTTP/2")
        if self._received > MAX_RECEIVED_BYTES:
            raise _too_large(self._path, f"{MAX_RECEIVED_BYTES} bytes for a reply, frames and all")

    def _events(self, data: bytes) -> list[Event]:
        try:
            return self._http2.receive_data(data)
        except H2Error as error:
            if limit := exceeded_limit(error):
                raise _too_large(self._path, limit) from error
            raise _unavailable(self._path, f"{_PROTOCOL_ERROR}: {error}") from error

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost.set()
        if isinstance(exc, Exception) and not isinstance(exc, OSError):
            self.call.fail(exc)  # a bug: asyncio closes the transport for it
        else:
            self.call.connection_lost()

    def detach(self) -> IdleConnection | None:
        """Return the idle connection, which outlives this transport; None if it is unusable."""
        if self.call.state is not _State.OPEN or self._transport.get_write_buffer_size():
            return None
        try:
            sock = self._transport.get_extra_info("socket").dup()
        except OSError:  # no descriptor is left; the call was answered all the same
            return None
        return IdleConnection(sock=sock, http2=self._http2)

    async def aclose(self) -> None:
        self.call.close()
        await self._lost.wait()
        self._http2.close()


class _State(Enum):
    """Of a connection during its call."""

    OPEN = "open"
    ENDED_BY_DRIVER = "ended by the driver"
    """GOAWAY or end of file: no other call can follow, but this one may be or get answered."""
    CLOSED = "closed"
    """By this program."""


class _Call(EventsProcessor):
    """Processes HTTP/2's events for the one call on a connection, and ends it with its error."""

    def __init__(
        self,
        path: str,
        transport: Any,
        handler: AbstractHandler,
        connection: Connection,
        *,
        reused: bool,
    ) -> None:
        super().__init__(handler, connection)
        self._path = path
        self._transport = transport
        self._reused = reused
        self._reply = Reply()
        self._end_reason = "the driver closed the connection before it answered"
        self.state = _State.OPEN
        self.error: Exception | None = None
        """What the call fails with."""

    def process(self, event: Event) -> None:
        # Others, such as unknown frames and other streams, are ignored, as by grpc-go.
        stream_id = getattr(event, "stream_id", None)
        if type(event) in self.processors and (not stream_id or stream_id in self.streams):
            super().process(event)

    def fail(self, error: Exception) -> None:
        """Close the connection; end the call with `error`, unless its reply is complete."""
        if self.error is None and not self._reply.complete:
            self.error = error
            for stream in self.streams.values():
                stream.wrapper.cancel(error)  # type: ignore[union-attr] # a client's has one
        self.close()

    def connection_lost(self) -> None:
        """Process the end of the connection, by the driver or by `aclose`."""
        if self.state is _State.OPEN:
            self.state = _State.ENDED_BY_DRIVER
        if not self._reply.complete:
            error = _unavailable(self._path, self._end_reason)
            # A server may close an idle connection at any time, before it has read the request.
            unprocessed = self._reused and not self._reply.started
            self.fail(UnprocessedError(error) if unprocessed else error)

    def close(self, reason: str = "") -> None:  # noqa: ARG002 - grpclib's; `fail` has the reason
        if self.state is _State.OPEN:
            self.state = _State.CLOSED
        self.handler.close()
        self._transport.abort()
        self.processors.clear()  # bound methods: a reference cycle

    def process_response_received(self, event: ResponseReceived) -> None:
        self._reply.headers(_text(event.headers), ended=event.stream_ended is not None)
        event.headers = _HEADERS
        super().process_response_received(event)

    def process_data_received(self, event: DataReceived) -> None:
        self._reply.data(event.data)
        if event.flow_controlled_length:  # grpclib takes an empty frame for the end of the reply
            super().process_data_received(event)

    def process_trailers_received(self, event: TrailersReceived) -> None:
        self._reply.trailers(_text(event.headers))
        event.headers = _TRAILERS
        super().process_trailers_received(event)

    def process_stream_ended(self, event: StreamEnded) -> None:
        self._reply.end()
        super().process_stream_ended(event)

    def process_stream_reset(self, event: StreamReset) -> None:
        code: Any = event.error_code
        if not event.remote_reset:  # by h2, because the driver broke the protocol
            raise _unavailable(self._path, f"{_PROTOCOL_ERROR}: {code!r}")
        name = code.name if code in RESET_STATUS else f"unknown error code {code:#x}"
        error = RPCError(
            RESET_STATUS.get(code, "Unknown"),
            f"stream terminated by RST_STREAM with error code: {name}",
        )
        raise UnprocessedError(error) if code == ErrorCodes.REFUSED_STREAM else error

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        if self.state is _State.OPEN:
            self._end_reason = (
                f"the driver ends the connection (GOAWAY, error code {event.error_code})"
            )
        self.state = _State.ENDED_BY_DRIVER
        if max(self.streams, default=0) > (event.last_stream_id or 0):
            raise UnprocessedError(_unavailable(self._path, self._end_reason))


def _unavailable(path: str, text: str) -> RPCError:
    return RPCError("Unavailable", f"{path}: {text}")


def _too_large(path: str, limit: str) -> RPCError:
    return RPCError("ResourceExhausted", f"{path}: livenessprobe takes at most {limit}")


def _text(headers: Iterable[Any]) -> list[tuple[str, str]]:
    # Values may be in any encoding; a status beside such a value is read all the same.
    return [
        (name.decode(errors="replace"), value.decode(errors="replace")) for name, value in headers
    ]
