"""Calls `Identity.Probe` and `Identity.GetPluginInfo` of the CSI driver, one call at a time.

Each Probe makes a new connection: an old one keeps working after its socket file is removed, and
would report a driver as healthy that nobody can reach any more.

The driver never has two connections of this program, so that it can answer even if it serves only
one at a time. The connection of an answered call stays open (see `held_connection`);
`GetPluginInfo` uses it, and a Probe closes it first. A Probe also cancels a `GetPluginInfo` in
flight: nothing delays a Probe.

Every failure of the driver is raised as a `DriverError`, where it is detected. Any other exception
is a bug of this program and is not caught here.
"""

from __future__ import annotations

import math
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

import trio
from grpclib.const import Cardinality

from generated.csi.v1 import (
    GetPluginInfoRequest,
    GetPluginInfoResponse,
    ProbeRequest,
    ProbeResponse,
)
from livenessprobe.driver.asyncio_thread import AsyncioThread
from livenessprobe.driver.dial import own_failure
from livenessprobe.driver.grpclib_internals import (
    CallChannel,
    IdleConnection,
    UnprocessedError,
)
from livenessprobe.driver.held_connection import HeldConnection
from livenessprobe.driver.socket_file import SocketFile
from livenessprobe.health.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grpclib.client import Channel


T = TypeVar("T")

MAX_NAME = 255
"""Characters of a driver's name, which is in every log line and series; CSI allows 63."""

DEADLINE_GRACE = 1
"""Seconds, at least, from our deadline to the deadline that is sent to the driver.

With equal deadlines it would be chance whether the driver or this program ends the call first.
"""

_PROBE_REQUEST = ProbeRequest()  # made once, since betterproto is slow


class _Answer(NamedTuple, Generic[T]):
    """The result of a call, and what has become of its connection."""

    result: T
    idle: IdleConnection | None
    ended_by_driver: bool


class Driver:
    """The CSI driver that listens on the UNIX socket at `socket_path`. The owner closes it.

    Both calls take a `timeout` in seconds, which is only sent to the driver, as `grpc-timeout`:
    the caller's cancel scope ends a call that takes longer.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._asyncio = AsyncioThread()
        self._socket_file = SocketFile(socket_path)
        self._held = HeldConnection()
        self._call_lock = trio.Lock()
        self._get_name_scope = trio.CancelScope()
        # A thread that is abandoned in a hanging file system keeps the only token.
        self._look_limiter = trio.CapacityLimiter(1)

    async def probe(self, timeout: float) -> bool:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.Probe`; return whether the driver is ready. Raises `DriverError`.

        Cancels a `get_name` in flight. An answered Probe leaves its connection open.
        """

        async def call(channel: Channel) -> bool:
            self._socket_file.note()  # in the worker thread, since the file system may hang
            reply = await _unary(channel, "Probe", _PROBE_REQUEST, ProbeResponse)
            return reply.ready is not False  # CSI: absent means ready

        self._get_name_scope.cancel()
        async with self._call_lock:
            self._held.drop()
            return await self._call(call, timeout)

    async def get_name(self, timeout: float) -> str:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.GetPluginInfo`; return the driver's name. Raises `DriverError`.

        Uses the connection that the last answered call left open, or else a new one. Raises
        `RPCError` with the status Canceled if a Probe starts meanwhile.
        """

        async def call(channel: Channel) -> str:
            request = GetPluginInfoRequest()
            return (await _unary(channel, "GetPluginInfo", request, GetPluginInfoResponse)).name

        with trio.CancelScope() as self._get_name_scope:
            async with self._call_lock:
                name = await self._call(call, timeout, self._held.detach())
            if 0 < len(name) <= MAX_NAME:
                return name
            flaw = f"{self._socket_path}: the driver's name has {len(name)} characters"
            raise RPCError("Internal", flaw)
        raise RPCError("Canceled", "GetPluginInfo was cancelled, since a Probe was due")

    async def wait_disconnected(self) -> None:
        """Wait until the driver ends the connection of the last answered call.

        It may do so right after its answer, while the connection is held, or in a `get_name` on it.
        Returns at most once per connection, whatever calls are made meanwhile; an end that nobody
        was told of when the next Probe begins is left to that Probe. One task calls it, again and
        again: it also acknowledges the driver's PINGs on the held connection.
        """
        await self._held.wait_disconnected()

    async def socket_changed(self) -> bool:
        """Return whether the socket file is another one than when the last Probe began.

        Waits as long as the file system hangs; can be cancelled.
        """
        started = False

        def look() -> bool:
            nonlocal started
            started = True
            return self._socket_file.changed()

        try:
            return await trio.to_thread.run_sync(
                look, abandon_on_cancel=True, limiter=self._look_limiter
            )
        except RuntimeError:
            if started:
                raise
            return False  # no thread could be started; the next call tries again

    def close(self) -> None:
        """Close the held connection and end the thread, inside trio.

        No call may be in flight, nobody may wait, and no call may follow.
        """
        self._held.close()
        self._asyncio.close()

    async def _call(
        self,
        call: Callable[[Channel], Awaitable[T]],
        seconds: float,
        idle: IdleConnection | None = None,
    ) -> T:
        run = partial(_call_or_retry, self._socket_path, _wire_timeout(seconds), idle, call)
        try:
            answer = await self._asyncio.run(run)
        except OSError as error:  # no thread, or no descriptor for its event loop
            raise own_failure(self._socket_path, error) from error
        finally:
            if idle is not None:
                idle.sock.close()  # which the call may not have come to
                if idle.ended_by_driver:
                    self._held.end()
        if answer.ended_by_driver:
            self._held.end()
        elif answer.idle is not None:
            self._held.hold(answer.idle)
        return answer.result


def _wire_timeout(seconds: float) -> str:
    """Return the value of `grpc-timeout`, in milliseconds: PROTOCOL-HTTP2.md allows 8 digits.

    grpclib's own value is in whole seconds, rounded down, which can be as early as our deadline.
    """
    return f"{min(1000 * (math.ceil(seconds) + DEADLINE_GRACE), 99_999_999)}m"


async def _call_or_retry(
    path: str,
    timeout: str,  # noqa: ASYNC109 - sent as it is
    idle: IdleConnection | None,
    call: Callable[[Channel], Awaitable[T]],
) -> _Answer[T]:
    """Return the call's result and its connection, if that is still of use.

    As grpc-go does, repeats once a call that the driver did not process (gRFC A6, transparent
    retries).
    """
    with suppress(UnprocessedError):
        return await _attempt(CallChannel(path, timeout, idle), call)
    try:
        return await _attempt(CallChannel(path, timeout, None), call)
    except UnprocessedError as error:
        raise error.rpc_error from None


async def _attempt(channel: CallChannel, call: Callable[[Channel], Awaitable[T]]) -> _Answer[T]:
    async with aclosing(channel):
        return _Answer(await call(channel), channel.detach(), channel.ended_by_driver)


async def _unary(channel: Channel, method: str, request: object, reply_type: type[T]) -> T:
    route = f"/csi.v1.Identity/{method}"
    cardinality = Cardinality.UNARY_UNARY
    async with channel.request(route, cardinality, type(request), reply_type) as stream:
        await stream.send_message(request, end=True)
        reply = await stream.recv_message()
        # grpclib's stub waits for the trailers only if the connection is not closing, and would
        # return a message without a status.
        await stream.recv_trailing_metadata()
    return cast("T", reply)  # not None: `Reply` refuses trailers without a message
