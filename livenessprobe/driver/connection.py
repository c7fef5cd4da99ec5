"""grpclib's channel over one fresh connection, with bounds that grpclib does not set.

grpclib lets a peer send without end, gives up a connection for HTTP/2 frames that are to be
ignored, lets most of h2's and hpack's errors escape into asyncio's log, and closes in the
background. Here a connection takes `MAX_REPLY_BYTES` at most, ends with a reason that the call
can report, and is gone when `FreshChannel.aclose` returns.
"""

from __future__ import annotations

import asyncio
from typing import Any

from grpclib.client import Channel
from grpclib.protocol import H2Protocol
from h2.events import (
    AlternativeServiceAvailable,
    InformationalResponseReceived,
    UnknownFrameReceived,
)

from livenessprobe.driver.codec import StrictCodec
from livenessprobe.driver.dial import dial
from livenessprobe.errors import RPCError

MAX_REPLY_BYTES = 4 * 1024 * 1024
"""All that one connection may bring; Go's gRPC library allows one message as much."""

_HARMLESS = (AlternativeServiceAvailable, InformationalResponseReceived, UnknownFrameReceived)

# A person's words for some of grpclib's.
_WORDS = {
    "Connection lost": "the driver closed the connection before it answered",
    "Protocol error": "the driver does not speak HTTP/2",
}


class FreshChannel(Channel):
    """A channel to the UNIX socket at `path`, to be used for one call on one event loop."""

    def __init__(self, path: str) -> None:
        super().__init__(path=path, codec=StrictCodec())
        self._socket_path = path
        self._connection: _Connection | None = None

    async def _create_connection(self) -> H2Protocol:
        sock = await dial(self._socket_path)
        _, connection = await self._loop.create_unix_connection(self._protocol_factory, sock=sock)
        return connection

    def _protocol_factory(self) -> H2Protocol:
        handler = super()._protocol_factory().handler
        self._connection = _Connection(handler, self._config, self._h2_config)
        return self._connection

    def why_broken(self, error: Exception) -> RPCError:
        """Return why the connection ended; `error` is what the call on it ended with."""
        if self._connection is not None and self._connection.fault is not None:
            return self._connection.fault
        words = _WORDS.get(str(error), str(error))
        return RPCError("Unavailable", f"{self._socket_path}: {words}")

    async def aclose(self) -> None:
        """Close the connection and wait until its descriptor is gone."""
        self.close()
        if self._connection is not None:
            await self._connection.aclose()


class _Connection(H2Protocol):
    fault: RPCError | None = None
    """Why this side gave the connection up, if it did."""

    _transport: asyncio.Transport | None = None
    _received = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._transport = transport
        self._lost = asyncio.Event()
        processors: Any = self.processor.processors  # typed for the events it has
        processors.update(dict.fromkeys(_HARMLESS, _ignore))

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
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
        self.fault = RPCError(grpc_status, fault)
        self.processor.close(fault)

    async def aclose(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await self._lost.wait()


def _ignore(_: object) -> None:
    pass
