"""hypercorn's HTTP on our listeners: every connection on its own, and a tidy end.

`hypercorn.trio.serve` is not used, only what it does for one connection (`TCPServer`). It runs
all of them in one nursery, where one that breaks hypercorn takes the process with it; a
websocket upgrade and one byte more is enough for that in 0.18. So here

- a connection whose handling fails is closed, and nothing else is. Our own bugs do not get lost
  that way: an endpoint that fails ends the program;
- sockets come ready-made, since hypercorn binds ":9808" to IPv4 only;
- when the server is cancelled it accepts no more, gives the answers in flight `DRAIN` seconds,
  and then closes what is left: hypercorn shields its sends, so cancelling does not end them.

Once hypercorn does these three, this module can shrink to a call of its `serve`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from livenessprobe import klog
from livenessprobe.web.endpoints import Routes, answer

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

DRAIN = 0.5
"""Seconds that answers in flight have once the server is cancelled.

An answer takes about a millisecond; the rest is for slow readers. The program promises its end
within one second.
"""

log = klog.get_logger(__name__)


async def serve(
    routes: Routes,
    listeners: list[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on `listeners` from `routes` until cancelled; the listeners are closed then."""
    connections = _Connections(routes)
    async with trio.open_nursery() as nursery:
        handler_nursery = await nursery.start(connections.run)
        try:
            await trio.serve_listeners(
                connections.handle,
                listeners,
                handler_nursery=handler_nursery,
                task_status=task_status,
            )
        finally:
            connections.stopping.set()


class _Connections:
    """The open connections of one server."""

    def __init__(self, routes: Routes) -> None:
        self.stopping = trio.Event()
        self._routes = routes
        self._app = ASGIWrapper(self._answer)
        self._context = WorkerContext(None)
        self._config = Config()
        self._config.errorlog = None  # what hypercorn has to say is about clients, see handle()
        self._config.include_server_header = False
        self._streams: set[trio.SocketStream] = set()
        self._closed = trio.lowlevel.ParkingLot()

    async def run(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Hold the connections' nursery, until `stopping` is set and `DRAIN` is over."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as self._nursery:
                task_status.started(self._nursery)
                try:
                    await self.stopping.wait()
                    await self._context.terminated.set()  # idle connections close themselves
                    with trio.move_on_after(DRAIN):
                        while self._streams:
                            await self._closed.park()
                finally:
                    for stream in self._streams:
                        stream.socket.close()
                    self._nursery.cancel_scope.cancel()

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        self._streams.add(stream)
        try:
            plain: Any = stream  # typed for TLS, used for both
            await TCPServer(self._app, self._config, self._context, ConnectionState({}), plain)
        except* Exception as errors:  # noqa: BLE001 - see above: none of them is ours
            log.info("HTTP connection failed", v=4, err=repr(errors.exceptions))
        finally:
            stream.socket.close()
            self._streams.discard(stream)
            self._closed.unpark_all()

    async def _answer(self, scope: Scope, _: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Be the ASGI application. The request's body, if any, is left unread."""
        try:
            response = answer(self._routes, _path(scope))
        except Exception as bug:  # noqa: BLE001 - it ends the program
            self._nursery.start_soon(_raise, bug)  # hypercorn would log it and go on
            return
        # A websocket client asks with GET what everybody asks, and is told so in HTTP.
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        start: Any = {"type": f"{kind}.start", "status": response.status}
        await send(start | {"headers": response.headers})
        body: Any = {"type": f"{kind}.body", "body": response.body}
        await send(body)


def _path(scope: Any) -> str:
    """Return the path of an HTTP request target, of the absolute form too (RFC 9112, 3.2.2)."""
    path: str = scope["path"]
    return re.sub(r"^https?://[^/]*", "", path)


async def _raise(bug: Exception) -> NoReturn:
    raise bug
