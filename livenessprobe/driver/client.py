"""The calls to the driver, each on a connection of its own.

A connection that is kept and used again outlives an unlinked socket, and would report a driver
healthy that nobody can reach any more. So each Probe dials. The connection of the last answered
call stays open, idle, until the next call (see `held_connection`). `GetPluginInfo` proves nothing,
so it uses that one: a driver that serves one connection at a time can answer it.

What a driver does wrong leaves here as one of `errors`, raised where it is seen. Any other
exception is a bug of this program, not a fault of the driver, and passes through.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import trio
from grpclib.const import Cardinality

from generated.csi.v1 import (
    GetPluginInfoRequest,
    GetPluginInfoResponse,
    ProbeRequest,
    ProbeResponse,
)
from livenessprobe.driver.asyncio_thread import Loops
from livenessprobe.driver.dial import not_asked
from livenessprobe.driver.grpclib_internals import CallChannel
from livenessprobe.driver.held_connection import HeldConnection
from livenessprobe.driver.socket_file import SocketFile
from livenessprobe.health.errors import RPCError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grpclib.client import Channel

    from livenessprobe.driver.grpclib_internals import IdleConnection


T = TypeVar("T")

MAX_NAME = 255
"""Characters of a driver's name, which is in every log line and series; CSI allows 63."""

DEADLINE_GRACE = 1
"""Seconds by which the deadline that the driver gets is behind ours, at least.

With the same one, the driver would end the call a moment before or after it is cut off here, and
which of the two comes first would be chance.
"""

# It says nothing, and betterproto takes its time to make one.
_PROBE_REQUEST = ProbeRequest()


class Driver:
    """The CSI driver that listens on the UNIX socket at `socket_path`; to be closed in the end.

    The timeout of a call, in seconds, is for the driver's `grpc-timeout`; what ends a call that
    outlasts it is the caller's cancel scope, and nothing else.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._loops = Loops()
        self._socket_file = SocketFile(socket_path)
        self._held = HeldConnection()

    def __repr__(self) -> str:
        return f"<Driver {self._socket_path!r}>"

    async def probe(self, timeout: float) -> bool:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.Probe`; return whether the driver is ready. Raises `DriverError`.

        One at a time. An answered Probe leaves its connection open, until the next or `close`.
        """

        async def call(channel: Channel) -> bool:
            self._socket_file.note()  # here in the thread, where it may take its time
            reply = await _unary(channel, "Probe", _PROBE_REQUEST, ProbeResponse)
            return reply.ready is not False  # CSI: absent means ready

        self._held.close()  # first, so that the driver never has two of them
        return await self._call(call, timeout)

    async def get_name(self, timeout: float) -> str:  # noqa: ASYNC109 - sent as grpc-timeout
        """Call `Identity.GetPluginInfo`; return the name. Raises `DriverError`.

        It uses the connection that the last answered call has left open, if there is one.
        """

        async def call(channel: Channel) -> str:
            request = GetPluginInfoRequest()
            return (await _unary(channel, "GetPluginInfo", request, GetPluginInfoResponse)).name

        idle = self._held.detach()
        try:
            name = await self._call(call, timeout, idle)
        finally:
            if idle is not None:
                idle.sock.close()
        if not 0 < len(name) <= MAX_NAME:
            flaw = f"{self._socket_path}: the driver's name has {len(name)} characters"
            raise RPCError("Internal", flaw)
        return name

    async def wait_disconnected(self) -> None:
        """Wait until the driver closes the connection that the last answered call left open.

        Returns once per connection; calls may come and go meanwhile. For one task at a time, which
        should always wait here: it is also what answers the driver's PINGs on that connection.
        """
        await self._held.wait_disconnected()

    async def socket_changed(self) -> bool:
        """Return whether another socket file is there now than when the last Probe began.

        If the file system hangs, so does this; a cancellation ends it all the same.
        """
        started = False

        def look() -> bool:
            nonlocal started
            started = True
            return self._socket_file.changed()

        try:
            return await trio.to_thread.run_sync(look, abandon_on_cancel=True)
        except RuntimeError:
            if started:
                raise
            return False  # no thread is left for it; the next look may have one

    def close(self) -> None:
        """Close what calls have left open for the next. Inside trio, when none is in flight."""
        self._held.close()
        self._loops.close()

    async def _call(
        self,
        call: Callable[[Channel], Awaitable[T]],
        seconds: float,
        idle: IdleConnection | None = None,
    ) -> T:
        run = partial(_call, self._socket_path, _wire_timeout(seconds), idle, call)
        try:
            result, left = await self._loops.run(run)
        except OSError as error:  # no thread or no descriptor was left for the event loop
            raise not_asked(self._socket_path, error) from error
        if left is not None:
            self._held.hold(left)
        return result


def _wire_timeout(seconds: float) -> str:
    """Return the `grpc-timeout`, of 8 digits at most: milliseconds, as grpc-go has for minutes.

    grpclib's own has whole seconds, rounded down, which can be as early as ours.
    """
    return f"{min(1000 * (math.ceil(seconds) + DEADLINE_GRACE), 99_999_999)}m"


async def _call(
    path: str,
    timeout: str,  # noqa: ASYNC109 - sent as it is
    idle: IdleConnection | None,
    call: Callable[[Channel], Awaitable[T]],
    *,
    again: bool = True,
) -> tuple[T, IdleConnection | None]:
    channel = CallChannel(path, timeout, idle)
    try:
        return await call(channel), await channel.detach()
    except RPCError:
        if not (again and channel.unprocessed):
            raise
    finally:
        await channel.aclose()
    # As grpc-go does, once, when the driver has surely not begun with the request.
    return await _call(path, timeout, None, call, again=False)


async def _unary(channel: Channel, method: str, request: object, reply_type: type[T]) -> T:
    route = f"/csi.v1.Identity/{method}"
    cardinality = Cardinality.UNARY_UNARY
    async with channel.request(route, cardinality, type(request), reply_type) as stream:
        await stream.send_message(request, end=True)
        reply = await stream.recv_message()
        # The generated stub leaves this to the end of the block, which skips it if the connection
        # is about to close: a message without a status would count.
        await stream.recv_trailing_metadata()
    return cast("T", reply)  # it is there, or `Reply` would not have let the trailers pass
