"""hypercorn's HTTP on our listeners: every connection on its own, and a tidy end.

`hypercorn.trio.serve` is not used, only what it does for one connection (`TCPServer`). It runs
all of them in one nursery, where one that breaks hypercorn takes the process with it; a
websocket upgrade and one byte more is enough for that in 0.18. So here

- sockets come ready-made, since hypercorn binds ":9808" to IPv4 only;
- a connection whose handling fails is closed, and nothing else is. Our own bugs do not get lost
  that way: an endpoint that fails ends the program;
- every connection ends. hypercorn can wait for ever: for a client that does not read, resets its
  streams, or is gone already. So once the client has said its last word or has had `LIFETIME`,
  or the server is cancelled, a connection takes no more requests, and `DRAIN` seconds later it
  is closed, which ends even hypercorn's shielded sends.

Once hypercorn does these three, this module can shrink to a call of its `serve`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from livenessprobe import klog
from livenessprobe.web.asgi import Application

if TYPE_CHECKING:
    from livenessprobe.web.endpoints import Routes

IDLE = 5.0
"""Seconds that a client may take until its first request, and after an answer until its next."""

LIFETIME = 30.0
"""Seconds after which a connection takes no more requests.

The kubelet's lives for a millisecond, and whoever keeps one open can open another. It bounds
what `IDLE` does not, such as a body that does not come, or HTTP/2 without a request.
"""

DRAIN = 0.5
"""Seconds that answers in flight have once their connection takes no more requests.

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
    """Answer on `listeners` from `routes` until cancelled; the listeners are closed then.

    Raises, in a group, what an endpoint raises.
    """
    async with trio.open_nursery() as nursery:
        with trio.CancelScope(shield=True):  # what is open comes to its own end
            async with trio.open_nursery() as connections:
                server = _Server(routes, nursery)
                nursery.start_soon(server.accept, listeners, connections, task_status)
                await server.stopping.wait()


class _Server:
    """What the connections share; in `nursery` an endpoint's bug is raised."""

    def __init__(self, routes: Routes, nursery: trio.Nursery) -> None:
        self.stopping = trio.Event()
        self._nursery = nursery
        self._app = ASGIWrapper(Application(routes, self._end_with))
        self._config = Config()
        self._config.errorlog = None  # what hypercorn has to say is about clients, see _handle()
        self._config.include_server_header = False
        self._config.keep_alive_timeout = IDLE
        self._config.keep_alive_max_requests = sys.maxsize  # hypercorn loses the one after the last

    async def accept(
        self,
        listeners: list[trio.SocketListener],
        connections: trio.Nursery,
        task_status: trio.TaskStatus[Any],
    ) -> None:
        """Let connections in until cancelled."""
        try:
            await trio.serve_listeners(
                self._handle, listeners, handler_nursery=connections, task_status=task_status
            )
        finally:
            self.stopping.set()

    async def _handle(self, stream: trio.SocketStream) -> None:
        try:
            await _Connection(stream).serve(self._app, self._config, self.stopping)
        except* Exception as errors:  # noqa: BLE001 - see above: none of them is ours
            log.info("HTTP connection failed", v=4, err=repr(errors.exceptions))

    def _end_with(self, bug: Exception) -> None:
        self._nursery.start_soon(_raise, bug)  # hypercorn would log it and go on


class _Connection:
    """One connection, and for hypercorn its stream, in order to see both ends of it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self.send_all = stream.send_all
        self._stream = stream
        self._context = WorkerContext(None)
        self._tasks = trio.CancelScope()

    async def serve(self, app: ASGIWrapper, config: Config, stopping: trio.Event) -> None:
        """Answer the client until one side has closed the connection or its time is over."""
        stream: Any = self  # typed for TLS, used for both
        with self._tasks:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._limit, stopping)
                await TCPServer(app, config, self._context, ConnectionState({}), stream)

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Receive from the client, and see whether that was its last word."""
        data = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        finally:
            if not data:
                await self._finish()
        return data

    async def aclose(self) -> None:
        """Close the connection, and end the tasks that could only wait for it."""
        self.socket.close()
        self._tasks.cancel()

    async def _limit(self, stopping: trio.Event) -> None:
        try:
            with trio.move_on_after(LIFETIME):
                await stopping.wait()
            await self._finish()
            await trio.sleep_forever()
        finally:
            await self.aclose()

    async def _finish(self) -> None:
        """Take no more requests, and give the answers in flight `DRAIN` seconds from now."""
        await self._context.terminated.set()
        self._tasks.deadline = min(self._tasks.deadline, trio.current_time() + DRAIN)


async def _raise(bug: Exception) -> NoReturn:
    raise bug
