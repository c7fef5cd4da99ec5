"""The calls to the driver, each on a connection of its own.

A held connection outlives an unlinked socket and would report a driver healthy that nobody can
reach any more. A fresh one costs the driver little and proves that it accepts. That of the last
answered Probe stays open beside, until the next Probe begins, as a tripwire.

Whatever goes wrong leaves here as one of `errors`. The lists of exceptions are closed on purpose:
what is in none of them is a bug of this program, not a fault of the driver, and passes through.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.metadata import Deadline
from h2.exceptions import H2Error

from generated.csi.v1 import GetPluginInfoRequest, IdentityStub, ProbeRequest
from livenessprobe.driver.asyncio_thread import Loops
from livenessprobe.driver.codec import MalformedReplyError
from livenessprobe.driver.connection import FreshChannel
from livenessprobe.driver.dial import not_asked
from livenessprobe.driver.socket_file import SocketFile
from livenessprobe.driver.tripwire import Tripwire
from livenessprobe.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grpclib.client import Stream

    from livenessprobe.driver.tripwire import IdleConnection

T = TypeVar("T")

GO_STATUS = {status: status.name.title().replace("_", "") for status in Status} | {
    Status.OK: "OK",
    Status.CANCELLED: "Canceled",
}
"""gRPC statuses in the spelling of Go's library, which logs and dashboards are made for."""

MAX_NAME = 255
"""Characters of a driver's name, which is in every log line and series; CSI allows 63."""

TOLD_MORE = 1.0
"""Seconds that a driver is told beyond its deadline.

It would otherwise end the call itself, a moment before it is cut off, and which of the two comes
first would be chance. grpclib tells whole seconds, rounded down, above 10 s, so it is one.
"""

# It says nothing, and betterproto takes its time to make one.
_PROBE_REQUEST = ProbeRequest()

# What grpclib, h2 and the socket raise when the connection ends before the answer.
_BROKEN_CONNECTION = (StreamTerminatedError, H2Error, OSError)

# What grpclib and betterproto raise when the answer is not in the gRPC or protobuf format.
_MALFORMED = (AssertionError, LookupError, NotImplementedError, ValueError, struct.error)


class Driver:
    """The CSI driver that listens on the UNIX socket at `socket_path`; to be closed in the end.

    The timeout of a call, in seconds, is what the driver is told; what ends a call that
    outlasts it is the caller's cancel scope, and nothing else.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._loops = Loops()
        self._socket_file = SocketFile(socket_path)
        self._tripwire = Tripwire()

    def __repr__(self) -> str:
        return f"<Driver {self._socket_path!r}>"

    async def probe(self, timeout: float) -> bool:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.Probe`; return whether the driver is ready. Raises `DriverError`.

        One at a time. An answered Probe leaves its connection open, until the next or `close`.
        """

        async def call(channel: FreshChannel) -> tuple[bool, IdleConnection | None]:
            self._socket_file.note()  # here in the thread, where it may take its time
            reply = await _Identity(channel).probe(_PROBE_REQUEST, deadline=_told(timeout))
            return reply.ready is not False, await channel.hold()  # CSI: absent means ready

        self._tripwire.release()  # first, so that the driver never has two of them
        ready, idle = await self._call(call)
        if idle is not None:
            self._tripwire.hold(idle)
        return ready

    async def get_name(self, timeout: float) -> str:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.GetPluginInfo`; return the name. Raises `DriverError`."""

        async def call(channel: FreshChannel) -> str:
            identity = _Identity(channel)
            reply = await identity.get_plugin_info(GetPluginInfoRequest(), deadline=_told(timeout))
            if not 0 < len(reply.name) <= MAX_NAME:
                raise MalformedReplyError(f"the driver's name has {len(reply.name)} characters")
            return reply.name

        return await self._call(call)

    async def wait_hung_up(self) -> None:
        """Wait until the driver ends the connection that the last answered Probe left open.

        Told once per connection; Probes may come and go meanwhile. For one task at a time, which
        should always wait here: it is also what answers the driver on that connection.
        """
        await self._tripwire.wait_hung_up()

    def socket_changed(self) -> bool:
        """Return whether another socket file is there now than when the last Probe began.

        It looks at the file system at once, so it is for when the driver is in doubt.
        """
        return self._socket_file.changed()

    def close(self) -> None:
        """Close what calls have left open for the next. Inside trio, when none is in flight."""
        self._tripwire.release()
        self._loops.close()

    async def _call(self, call: Callable[[FreshChannel], Awaitable[T]]) -> T:
        try:
            return await self._loops.run(partial(_connect_and_call, self._socket_path, call))
        except OSError as error:  # no thread or no descriptor was left for the event loop
            raise not_asked(self._socket_path, error) from error


def _told(timeout: float) -> Deadline:
    return Deadline.from_timeout(timeout + TOLD_MORE)


async def _connect_and_call(path: str, call: Callable[[FreshChannel], Awaitable[T]]) -> T:
    channel = FreshChannel(path)
    try:
        return await call(channel)
    except GRPCError as error:
        words = f"{path}: malformed reply: {error.message}"
        raise RPCError(GO_STATUS[error.status], words) from error
    except _BROKEN_CONNECTION as error:
        raise channel.why_broken(error) from error
    except _MALFORMED as error:
        raise RPCError("Internal", f"{path}: malformed reply: {_flaw(error)}") from error
    finally:
        await channel.aclose()


def _flaw(error: Exception) -> str:
    match error:
        case AssertionError():
            return "a message in it is cut short"
        case LookupError():
            return f"it has no {error} header"
        case _:
            return str(error)


class _Identity(IdentityStub):
    """The generated calls, for replies that are whole.

    betterproto and grpclib take the first message that comes. A reply is one message and then,
    in headers of their own, the status and the end of the stream.

    The deadline is sent, but not given to grpclib, whose timer would not let an answer count
    that has come before it.
    """

    async def _unary_unary(
        self,
        route: str,
        request: object,
        response_type: type[T],
        *,
        deadline: Deadline | None = None,
        **_: object,
    ) -> T:
        stream = self.channel.request(route, Cardinality.UNARY_UNARY, type(request), response_type)
        try:
            return await _exchange(stream, request, deadline)
        except GRPCError as error:
            if stream.trailing_metadata is None:
                raise  # grpclib's own finding
            raise RPCError(GO_STATUS[error.status], error.message or "") from error


async def _exchange(stream: Stream[Any, T], request: object, deadline: Deadline | None) -> T:
    async with stream:
        vars(stream)["_deadline"] = deadline  # since it has begun without one, this is only sent
        await stream.send_message(request, end=True)
        await stream.recv_initial_metadata()
        if stream.trailing_metadata is not None:
            raise MalformedReplyError("status OK without a message")
        reply = await stream.recv_message()
        await stream.recv_trailing_metadata()
        if reply is None or await stream.recv_message() is not None:
            raise MalformedReplyError("status OK without exactly one message")
        return reply
