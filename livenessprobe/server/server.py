"""Serves an ASGI application on listening sockets until cancelled.

`hypercorn.trio.serve` is not used: it binds ":9808" to IPv4 only, has no limit of connections, and
runs all of them in one nursery, where one that breaks hypercorn takes the process with it. Here

- a failure of one connection closes that connection only;
- a bug of livenessprobe still ends the server;
- a connection that arrives with one whole request is answered in the accept loop, without a task;
- once the server is cancelled, it accepts no more connections and drains the open ones.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import trio

from livenessprobe import klog
from livenessprobe.server import accept
from livenessprobe.server.connection import Connection, ServerState
from livenessprobe.server.limits import is_one_head
from livenessprobe.server.protocols import Setup, WorkerContext, configure
from livenessprobe.server.registry import ConnectionRegistry, connection_limit
from livenessprobe.server.state import State

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from livenessprobe.server.asgi import Application

EXPECTED_ERRORS = (
    trio.ClosedResourceError,  # the connection was evicted
    OSError,  # the network
    MemoryError,
)
"""Failures of one connection that are no bugs, wherever they are raised."""

log = klog.get_logger(__name__)


async def serve(
    application: Application,
    listeners: list[socket.socket],
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `application` on `listeners` until cancelled. Owns the listeners and closes them.

    Raises bugs of livenessprobe, including those of an endpoint, in a group.
    """
    setup = Setup(application, configure(), WorkerContext(None))
    server = ServerState(setup, ConnectionRegistry(connection_limit()))
    async with trio.open_nursery() as accepting:
        with trio.CancelScope(shield=True):  # until the open connections are drained
            async with trio.open_nursery() as connections:
                stopped = trio.Event()
                accepting.start_soon(_accept, listeners, server, connections, task_status, stopped)
                await stopped.wait()
                await server.drain()


async def _accept(
    listeners: list[socket.socket],
    server: ServerState,
    connections: trio.Nursery,
    task_status: trio.TaskStatus[Any],
    stopped: trio.Event,
) -> None:
    """Accept connections until cancelled; set `stopped` then."""

    async def handle(accepted: socket.socket, received: bytes) -> None:
        connection = Connection(accepted, received, server)
        if is_one_head(received):
            await _contain(connection.answer_now)
        if connection.state is not State.CLOSED:
            server.registry.add(connection)
            connections.start_soon(_contain, connection.serve)

    try:
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(accept.accept, listener, server.registry, handle)
            task_status.started()
    finally:
        stopped.set()


async def _contain(handle: Callable[[], Awaitable[None]]) -> None:
    """Let an error end its connection only, unless it is a bug of livenessprobe."""
    try:
        await handle()
    except* Exception as errors:  # noqa: BLE001 - hypercorn and h2 have no closed list of their own
        if bugs := errors.subgroup(_is_our_bug):
            raise bugs from None
        log.info("HTTP connection failed", v=4, err=repr(errors.exceptions))


def _is_our_bug(error: BaseException) -> bool:
    """Return whether the innermost frame of livenessprobe and hypercorn is one of livenessprobe."""
    if isinstance(error, (BaseExceptionGroup, *EXPECTED_ERRORS)):
        return False
    packages = (
        frame.f_globals["__name__"].partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    ours_or_its = [name for name in packages if name in {"livenessprobe", "hypercorn"}]
    return ours_or_its[-1:] == ["livenessprobe"]
