"""The gRPC edge: one call to the CSI driver, from the dial to the last closed descriptor.

Every call has a connection of its own. A held one outlives an unlinked socket and would report
a driver healthy that nobody can reach any more.

grpclib speaks asyncio, so a call runs in a worker thread (`asyncio_thread`); nothing it does can
hold up the trio loop. Whatever goes wrong on the way leaves this module as one of `errors`:

    dial    DriverUnreachableError    no such file, refused, permission denied, ...
    call    RPCError                  the driver's own gRPC error, or the transport's
            DeadlineExceededError     no answer in time

The lists of exceptions are closed on purpose: what is in none of them is a bug of this program,
not a fault of the driver, and passes through.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import struct
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import betterproto
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.events import (
    AlternativeServiceAvailable,
    InformationalResponseReceived,
    UnknownFrameReceived,
)
from h2.exceptions import H2Error

from generated.csi.v1 import GetPluginInfoRequest, IdentityStub, ProbeRequest
from livenessprobe import asyncio_thread
from livenessprobe.errors import DeadlineExceededError, DriverUnreachableError, RPCError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

MAX_REPLY_BYTES = 4 * 1024 * 1024
"""All that one connection may bring; Go's gRPC library allows one message as much."""

DIAL_RETRY = 0.02
"""Seconds between attempts to connect while the driver's queue of connections is full."""


class Driver:
    """The CSI driver that listens on the UNIX socket at `socket_path`."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    def __repr__(self) -> str:
        return f"<Driver {self._socket_path!r}>"

    async def probe(self, timeout: float) -> bool:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.Probe`; return whether the driver is ready (it is, if it does not say).

        `timeout` in seconds is what the driver is told; the caller's cancel scope is what
        ends a call that outlasts it. Raises `DriverError`.
        """

        async def call(identity: IdentityStub) -> bool:
            ready: object = (await identity.probe(ProbeRequest(), timeout=timeout)).ready
            if ready is not None and not isinstance(ready, bool):
                raise MalformedReplyError(f"ready={ready!r}")
            return ready is not False

        return await self._call(call)

    async def get_name(self, timeout: float) -> str:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.GetPluginInfo`; return the driver's name, never an empty one.

        `timeout` and errors are those of `probe`.
        """

        async def call(identity: IdentityStub) -> str:
            request = GetPluginInfoRequest()
            name: object = (await identity.get_plugin_info(request, timeout=timeout)).name
            if not isinstance(name, str) or not name:
                raise MalformedReplyError(f"name={name!r}")
            return name

        return await self._call(call)

    async def _call(self, call: Callable[[IdentityStub], Awaitable[T]]) -> T:
        try:
            return await asyncio_thread.run(partial(_connect_and_call, self._socket_path, call))
        except OSError as error:  # no descriptor left for the event loop
            raise DriverUnreachableError(f"cannot call the driver: {error}") from error


async def _connect_and_call(path: str, call: Callable[[IdentityStub], Awaitable[T]]) -> T:
    channel = _FreshChannel(path)
    try:
        return await call(IdentityStub(channel))
    except GRPCError as error:
        raise RPCError(GO_STATUS[error.status], error.message or "") from error
    except TimeoutError as error:  # an OSError, so it has to come before those
        raise DeadlineExceededError from error
    except _TRANSPORT_ERRORS as error:
        raise channel.why_broken(error) from error
    except _PROTOCOL_ERRORS as error:
        raise RPCError("Internal", f"the reply is not gRPC: {error or repr(error)}") from error
    finally:
        await channel.aclose()


GO_STATUS = {status: status.name.title().replace("_", "") for status in Status} | {
    Status.OK: "OK",
    Status.CANCELLED: "Canceled",
}
"""gRPC statuses in the spelling of Go's library, which logs and metrics are made for."""


class MalformedReplyError(ValueError):
    """The driver's reply is no valid message of its type."""


# What grpclib, h2 and the socket raise when the connection ends before the answer.
_TRANSPORT_ERRORS = (StreamTerminatedError, H2Error, OSError)

# What grpclib and betterproto raise when the answer breaks the gRPC or protobuf format.
_PROTOCOL_ERRORS = (AssertionError, NotImplementedError, LookupError, ValueError, struct.error)


class _FreshChannel(Channel):
    """grpclib's channel over one connection, dialled by us and surely closed.

    Made and used on one event loop.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path=path, codec=_StrictCodec())
        self._socket_path = path
        self._connection: _BoundedConnection | None = None

    async def _create_connection(self) -> H2Protocol:
        sock = await _dial(self._socket_path)
        _, connection = await self._loop.create_unix_connection(self._protocol_factory, sock=sock)
        return connection

    def _protocol_factory(self) -> H2Protocol:
        handler = super()._protocol_factory().handler
        self._connection = _BoundedConnection(handler, self._config, self._h2_config)
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


_WORDS = {
    "Connection lost": "the driver closed the connection before it answered",
    "Protocol error": "the driver does not speak HTTP/2",
}
"""A person's words for some of grpclib's."""


class _BoundedConnection(H2Protocol):
    """grpclib's connection that takes no more than `MAX_REPLY_BYTES` and survives any bytes."""

    fault: RPCError | None = None
    """Why this side gave the connection up, if it did."""

    _transport: asyncio.Transport | None = None
    _received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._lost = asyncio.Event()
        super().connection_made(transport)
        # HTTP/2 asks for these to be ignored, grpclib gives the connection up for them.
        self.processor.processors |= dict.fromkeys(_HARMLESS_EVENTS, _ignore)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_REPLY_BYTES:
            self._give_up("ResourceExhausted", f"reply larger than {MAX_REPLY_BYTES} bytes")
            return
        try:
            super().data_received(data)
        except Exception as error:  # grpclib expects h2's ProtocolError only; there are others
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


_HARMLESS_EVENTS = (
    AlternativeServiceAvailable,
    InformationalResponseReceived,
    UnknownFrameReceived,
)


def _ignore(_: object) -> None:
    pass


async def _dial(path: str) -> socket.socket:
    """Connect to the UNIX socket at `path`.

    Unlike asyncio's own connect, this one waits while the queue of connections is full.
    """
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            while True:
                try:
                    sock.connect(path)
                except BlockingIOError:
                    await asyncio.sleep(DIAL_RETRY)
                else:
                    return sock
        except:
            sock.close()
            raise
    except OSError as error:
        raise DriverUnreachableError(f"{path}: {_why_unreachable(path, error)}") from error


def _why_unreachable(path: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "no such file: no driver has made this socket, or its directory is not mounted"
        case errno.ECONNREFUSED if not stat.S_ISSOCK(_mode(path)):
            return "not a socket"
        case errno.ECONNREFUSED:
            return "connection refused: no driver listens on this socket"
        case errno.EACCES:
            return f"permission denied for uid {os.getuid()}, gid {os.getgid()}"
        case _:
            return error.strerror or str(error)


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:  # gone since; the next Probe says so
        return stat.S_IFSOCK


class _StrictCodec(ProtoCodec):
    """betterproto made strict: it skips a field that is cut short, and an empty reply is "ready"."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        # A field of our own behind the message: it is found again only if the message is whole.
        *fields, last = betterproto.parse_fields(data + _SENTINEL)
        if last.raw != _SENTINEL or any(field.wire_type in _NO_WIRE_TYPE for field in fields):
            raise MalformedReplyError(f"{data[:32]!r} is no protobuf message")
        return super().decode(data, message_type)


_SENTINEL = b"\xf8\xff\xff\xff\x0f\x00"  # the highest field number there is, as a varint 0
_NO_WIRE_TYPE = {6, 7}
