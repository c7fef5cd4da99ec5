"""HTTP on our listeners: every connection on its own, and a tidy end.

`hypercorn.trio.serve` is not used, only what it does for one connection, see `conversation`. It
runs all of them in one nursery, where one that breaks hypercorn takes the process with it; a
websocket upgrade and one byte more is enough for that in 0.18. So here

- sockets come ready-made, since hypercorn binds ":9808" to IPv4 only;
- who is let in, and who has to go for it, is up to `accept`;
- a connection whose handling fails is closed, and nothing else is;
- our own bugs do not get lost that way: an endpoint that fails ends the program, and so does
  whatever else fails here for no reason that a client or the system has given;
- once the server is cancelled, accepting ends, and every connection comes to its own end.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import trio
from hypercorn.app_wrappers import ASGIWrapper

from livenessprobe import klog
from livenessprobe.web import accept
from livenessprobe.web.asgi import Application
from livenessprobe.web.connection import Connection, House
from livenessprobe.web.pieces import FloodError
from livenessprobe.web.responder import Responder

if TYPE_CHECKING:
    import socket

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    from livenessprobe.web.endpoints import Routes
    from livenessprobe.web.responder import Observe

NO_BUGS = (
    FloodError,
    trio.BrokenResourceError,  # the client is gone
    trio.ClosedResourceError,  # the connection had to go: for a new one, or after its time
    OSError,  # the network
    MemoryError,
)
"""What may befall the code of a connection without being a fault of it."""

log = klog.get_logger(__name__)


async def serve(
    routes: Routes,
    listeners: list[trio.SocketListener],
    observe: Observe,
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on `listeners` from `routes` until cancelled; the listeners are closed then.

    `observe` is told of every answer. Raises our own bugs, those of an endpoint too, in a group.
    """
    async with trio.open_nursery() as nursery:

        def end_with(bug: Exception) -> None:
            nursery.start_soon(_raise, bug)  # hypercorn would log it and go on

        responder = Responder(routes, observe, end_with)
        application = Application(responder)

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            try:
                await application(scope, receive, send)
            except Exception as error:
                if _is_our_bug(error):
                    end_with(error)
                raise

        guests = accept.Guests(accept.limit())
        house = House(responder=responder, app=ASGIWrapper(app), guests=guests)
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

    def welcome(connected: socket.socket, said: bytes) -> Connection | None:
        connection = Connection(connected, house)
        if said and connection.answer_at_once(said):
            return None
        connections.start_soon(_handle, connection)
        return connection

    try:
        async with trio.open_nursery() as doors:
            for listener in listeners:
                doors.start_soon(accept.accept, listener, house.guests, welcome)
            task_status.started()
    finally:
        house.stopping.set()
        house.guests.finish()


async def _handle(connection: Connection) -> None:
    try:
        await connection.serve()
    except* Exception as errors:  # noqa: BLE001 - hypercorn and h2 have no closed list of their own
        if bugs := errors.subgroup(_is_our_bug):
            raise bugs from None
        log.info("HTTP connection failed", v=4, err=repr(errors.exceptions))


def _is_our_bug(error: BaseException) -> bool:
    """Return whether our code is to blame: of hypercorn and us, we were the last to run."""
    if isinstance(error, (BaseExceptionGroup, *NO_BUGS)):
        return False
    callers = (
        frame.f_globals["__name__"].partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    to_blame = [name for name in callers if name in {"livenessprobe", "hypercorn"}]
    return to_blame[-1:] == ["livenessprobe"]


async def _raise(bug: Exception) -> NoReturn:
    raise bug
