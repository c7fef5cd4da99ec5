"""grpclib's channel over one fresh connection, with bounds that grpclib does not set.

grpclib lets a peer send without end, fails a call for HTTP/2 frames that are to be ignored and for
a GOAWAY that lets it go on, waits for a status after the end, lets most of h2's and hpack's errors
escape into asyncio's log, and closes in the background. Here a connection takes `MAX_REPLY_BYTES`
at most, ends with a reason that the call can report, and is gone when `FreshChannel.aclose`
returns, unless `FreshChannel.hold` took it out of asyncio's hands. What of this is to be seen in
grpclib alone, tests/upstream/test_grpclib.py shows.

A connection has one request, which says the same as the last one's on the same blank state. So what
is made of nothing else is made once: grpclib's configuration, and the encoded headers.
"""

from __future__ import annotations

import asyncio
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol
from h2.events import (
    AlternativeServiceAvailable,
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
    UnknownFrameReceived,
)
from hpack import Encoder
from hyperframe.frame import GoAwayFrame

from livenessprobe.driver.codec import StrictCodec
from livenessprobe.driver.dial import dial
from livenessprobe.driver.tripwire import IdleConnection
from livenessprobe.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.connection import H2Connection
    from h2.events import Event
    from hyperframe.frame import Frame

MAX_REPLY_BYTES = 4 * 1024 * 1024
"""All that one connection may bring; Go's gRPC library allows one message as much."""

MAX_READ_BYTES = 16 * 1024
"""All that is read at once, so that a flood of small frames cannot hold up a cancellation.

Each takes some 20 us, so asyncio's own 256 KiB could take half a second. A reply has 100 bytes.
"""

# The type of the first frame of an HTTP/2 connection. It stands behind three bytes of length.
_SETTINGS = b"\x04"

_GRPC = "application/grpc"

_HARMLESS = (AlternativeServiceAvailable, InformationalResponseReceived, UnknownFrameReceived)

_PROTOCOL_ERROR = "Protocol error"

# A person's words for some of grpclib's.
_WORDS = {
    "Connection lost": "the driver closed the connection before it answered",
    _PROTOCOL_ERROR: "the driver breaks the HTTP/2 protocol",
}


class _ClientConfiguration(Configuration):
    """What grpclib makes of a configuration, and validates, for each channel."""

    def __for_client__(self) -> Configuration:
        return self


_CONFIGURATION = _ClientConfiguration(**vars(Configuration().__for_client__()))


class FreshChannel(Channel):
    """A channel to the UNIX socket at `path`, to be used for one call on one event loop."""

    def __init__(self, path: str) -> None:
        super().__init__(path=path, codec=StrictCodec(), config=_CONFIGURATION)
        self._h2_config.header_encoding = None  # bytes: _Processor decodes them
        self._socket_path = path
        self._connection: _Connection | None = None

    async def _create_connection(self) -> H2Protocol:
        sock = await dial(self._socket_path)
        transport, connection = await self._loop.create_unix_connection(
            self._protocol_factory, sock=sock
        )
        if transport.is_closing():  # so soon that grpclib would trip over it
            raise StreamTerminatedError("Connection lost")
        return connection

    def _protocol_factory(self) -> H2Protocol:
        handler = super()._protocol_factory().handler
        self._connection = _Connection(handler, self._config, self._h2_config)
        return self._connection

    def why_broken(self, error: Exception) -> RPCError:
        """Return why the connection ended; `error` is what the call on it ended with."""
        fault = self._connection.fault if self._connection is not None else None
        grpc_status, words = fault or ("Unavailable", _WORDS.get(str(error), str(error)))
        return RPCError(grpc_status, f"{self._socket_path}: {words}")

    async def hold(self) -> IdleConnection | None:
        """Return the connection, for other hands; None if it is no good. Closes the channel."""
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
    fault: tuple[str, str] | None = None
    """Why this side gave the connection up, if it did: a gRPC status and the words."""

    _received = 0
    _start = b""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._transport: asyncio.Transport = transport
        transport.max_size = MAX_READ_BYTES
        self._lost = asyncio.Event()
        http2: Any = self._http2
        http2._frame_dispatch_table[GoAwayFrame] = _receive_goaway  # noqa: SLF001 - the only way
        http2.encoder = _Encoder()
        self.processor = self._processor = _Processor(self.handler, self.connection)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        self._start = (self._start + data[:4])[:4]
        if self._start[3:] not in (b"", _SETTINGS):
            self._give_up("Unavailable", "the driver does not speak HTTP/2")
            return
        if self._received > MAX_REPLY_BYTES:
            self._give_up("ResourceExhausted", f"reply larger than {MAX_REPLY_BYTES} bytes")
            return
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - h2 and hpack have no closed list of their own
            self._give_up("Unavailable", f"the driver breaks the HTTP/2 protocol: {error!r}")

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._lost.set()

    def _give_up(self, grpc_status: str, fault: str) -> None:
        self.fault = grpc_status, fault
        self.processor.close(fault)

    def detach(self) -> IdleConnection | None:
        """Return the idle connection as one that outlives its transport; None if it is no good."""
        reason = self._processor.reason
        if self.fault or reason == _PROTOCOL_ERROR or self._transport.get_write_buffer_size():
            return None
        try:
            sock = _hung_up() if reason else self._transport.get_extra_info("socket").dup()
        except OSError:  # no descriptor is left; the Probe was answered all the same
            return None
        # Closed, to grpclib, whose close() would break h2's connection.
        vars(self.connection).pop("_transport", None)
        return IdleConnection(sock=sock, http2=self._http2)

    @property
    def _http2(self) -> H2Connection:
        connection: Any = self.connection
        return cast("H2Connection", connection._connection)  # noqa: SLF001 - the only way to it

    async def aclose(self) -> None:
        self._transport.abort()
        await self._lost.wait()


class _Processor(EventsProcessor):
    """grpclib's handling of events, corrected where it loses a valid reply, a status, a reason."""

    reason = ""
    """Why the connection came to its end, or is about to."""

    _ended = False

    def __init__(self, handler: AbstractHandler, connection: Connection) -> None:
        super().__init__(handler, connection)
        processors: Any = self.processors  # typed for the events it has
        processors.update(dict.fromkeys(_HARMLESS, _ignore))

    def close(self, reason: str = "Connection closed") -> None:
        self.reason = self.reason or reason  # the first is the cause of the others
        if self._ended:
            return  # the reply is complete, and about to be read
        super().close(self.reason)

    def process_response_received(self, event: ResponseReceived) -> None:
        event.headers = [_plain(name, value) for name, value in _text(event.headers)]
        super().process_response_received(event)

    def process_trailers_received(self, event: TrailersReceived) -> None:
        event.headers = _text(event.headers)
        super().process_trailers_received(event)

    def process_data_received(self, event: DataReceived) -> None:
        if event.flow_controlled_length:  # grpclib takes an empty frame for the end of the reply
            super().process_data_received(event)

    def process_stream_ended(self, event: StreamEnded) -> None:
        self._ended = True
        for stream in self.streams.values():
            if stream.trailers is None:  # and grpclib would wait for them
                stream.trailers = []
                stream.trailers_received.set()
        super().process_stream_ended(event)

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        reason = f"the driver ends the connection (GOAWAY, error code {event.error_code})"
        if max(self.streams, default=0) > (event.last_stream_id or 0):
            self.close(reason)  # there will be no answer
        self.reason = self.reason or reason


class _Encoder(Encoder):
    """hpack's, for the first headers on a connection, which it may have encoded for another.

    They differ in nothing but the deadline, in milliseconds, of which a few are gone by now.
    """

    def encode(self, headers: Any, huffman: bool = True) -> bytes:  # noqa: FBT001, FBT002 - hpack's
        if self.header_table.resized:  # the driver has asked for that already, and is to be told
            return super().encode(headers, huffman)
        return _encode(tuple(headers))


@lru_cache(maxsize=64)
def _encode(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return Encoder().encode(headers)


def _receive_goaway(frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
    """Tell of a GOAWAY; h2 would refuse all that follows it, answers in flight and PINGs too."""
    event = ConnectionTerminated()
    event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
    return [], [event]


def _hung_up() -> socket.socket:
    """Return a socket whose peer is gone: what came to an end already has no other left."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours


def _text(headers: Iterable[Any]) -> list[Any]:
    # They are to be ASCII; whatever they are, a status among them can be read.
    return [
        (name.decode(errors="replace"), value.decode(errors="replace")) for name, value in headers
    ]


def _plain(name: str, value: str) -> Any:
    # grpclib knows one subtype and no parameter; what the message is made of, its bytes show.
    if name == "content-type" and value.startswith((f"{_GRPC}+", f"{_GRPC};")):
        return name, _GRPC
    return name, value


def _ignore(_: object) -> None:
    pass
