"""hypercorn's HTTP on our listeners: every connection on its own, and a tidy end.

`hypercorn.trio.serve` is not used, only what it does for one connection, see `connection`. It runs
all of them in one nursery, where one that breaks hypercorn takes the process with it; a
websocket upgrade and one byte more is enough for that in 0.18. So here

- sockets come ready-made, since hypercorn binds ":9808" to IPv4 only;
- who is let in, and who has to go for it, is up to `accept`;
- a connection whose handling fails is closed, and nothing else is. Our own bugs do not get lost
  that way: an endpoint that fails ends the program;
- once the server is cancelled, accepting ends, and every connection comes to its own end.

Once hypercorn does all that, this module can shrink to a call of its `serve`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import trio
from hypercorn.app_wrappers import ASGIWrapper

from livenessprobe import klog
from livenessprobe.web import accept
from livenessprobe.web.asgi import Application
from livenessprobe.web.connection import Connection, House

if TYPE_CHECKING:
    import socket

    from livenessprobe.web.endpoints import Routes

log = klog.get_logger(__name__)


async def serve(
    routes: Routes,
    listeners: list[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on `listeners` from `routes` until cancelled; the listeners are closed then.

    Raises, in a group, what an endpoint raises.
    """
    async with trio.open_nursery() as nursery:

        def end_with(bug: Exception) -> None:
            nursery.start_soon(_raise, bug)  # hypercorn would log it and go on

        house = House(
            app=ASGIWrapper(Application(routes, end_with)), guests=accept.Guests(accept.limit())
        )
        with trio.CancelScope(shield=True):  # what is open comes to its own end
            async with trio.open_nursery() as connections:
                nursery.start_soon(_accept, listeners, house, connections, task_status)
                await house.stopping.wait()


async def _accept(
    listeners: list[trio.SocketListener],
    house: House,
    connections: trio.Nursery,
    task_status: trio.TaskStatus[Any],
) -> None:
    """Let connections in until cancelled."""

    def welcome(connected: socket.socket, has_spoken: bool) -> Connection:  # noqa: FBT001 - a `Welcome`
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        connection = Connection(stream, house, has_spoken=has_spoken)
        connections.start_soon(_handle, connection)
        return connection

    try:
        async with trio.open_nursery() as doors:
            for listener in listeners:
                doors.start_soon(accept.accept, listener, house.guests, welcome)
            task_status.started()
    finally:
        house.guests.close_silent()
        house.stopping.set()


async def _handle(connection: Connection) -> None:
    try:
        await connection.serve()
    except* Exception as errors:  # noqa: BLE001 - see above: none of them is ours
        log.info("HTTP connection failed", v=4, err=repr(errors.exceptions))


async def _raise(bug: Exception) -> NoReturn:
    raise bug
