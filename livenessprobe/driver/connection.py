"""grpclib's channel over one fresh connection, with bounds that grpclib does not set.

grpclib lets a peer send without end, fails a call for HTTP/2 frames that are to be ignored, lets
most of h2's and hpack's errors escape into asyncio's log, and closes in the background. Here a
connection takes `MAX_REPLY_BYTES` at most, ends with a reason that the call can report, and is
gone when `FreshChannel.aclose` returns, unless `FreshChannel.hold` took it out of asyncio's hands.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol
from h2.events import (
    AlternativeServiceAvailable,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    TrailersReceived,
    UnknownFrameReceived,
)

from livenessprobe.driver.codec import StrictCodec
from livenessprobe.driver.dial import dial
from livenessprobe.driver.tripwire import IdleConnection
from livenessprobe.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REPLY_BYTES = 4 * 1024 * 1024
"""All that one connection may bring; Go's gRPC library allows one message as much."""

# The type of the first frame of an HTTP/2 connection. It stands behind three bytes of length.
_SETTINGS = b"\x04"

_HARMLESS = (AlternativeServiceAvailable, InformationalResponseReceived, UnknownFrameReceived)

_PROTOCOL_ERROR = "Protocol error"

# A person's words for some of grpclib's.
_WORDS = {
    "Connection lost": "the driver closed the connection before it answered",
    _PROTOCOL_ERROR: "the driver breaks the HTTP/2 protocol",
}


class FreshChannel(Channel):
    """A channel to the UNIX socket at `path`, to be used for one call on one event loop."""

    def __init__(self, path: str) -> None:
        super().__init__(path=path, codec=StrictCodec())
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
        self._lost = asyncio.Event()
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
        connection: Any = self.connection
        http2 = connection._connection  # noqa: SLF001 - grpclib has no other way to it
        try:
            sock = _hung_up() if reason else self._transport.get_extra_info("socket").dup()
        except OSError:  # no descriptor is left; the Probe was answered all the same
            return None
        vars(connection).pop("_transport", None)  # closed, to grpclib: its close() breaks `http2`
        return IdleConnection(sock=sock, http2=http2)

    async def aclose(self) -> None:
        self._transport.abort()
        await self._lost.wait()


class _Processor(EventsProcessor):
    """grpclib's handling of events, corrected where it loses a valid reply, a status, a reason."""

    reason = ""
    """Why the connection came to its end, if it has."""

    def __init__(self, handler: AbstractHandler, connection: Connection) -> None:
        super().__init__(handler, connection)
        processors: Any = self.processors  # typed for the events it has
        processors.update(dict.fromkeys(_HARMLESS, _ignore))

    def close(self, reason: str = "Connection closed") -> None:
        self.reason = self.reason or reason  # the first is the cause of the others
        if any(stream.trailers is not None for stream in self.streams.values()):
            return  # the reply is complete, and about to be read
        super().close(self.reason)

    def process_response_received(self, event: ResponseReceived) -> None:
        event.headers = _text(event.headers)
        super().process_response_received(event)

    def process_trailers_received(self, event: TrailersReceived) -> None:
        event.headers = _text(event.headers)
        super().process_trailers_received(event)

    def process_data_received(self, event: DataReceived) -> None:
        if event.flow_controlled_length:  # grpclib takes an empty frame for the end of the reply
            super().process_data_received(event)


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


def _ignore(_: object) -> None:
    pass
