"""hypercorn's HTTP/1 and HTTP/2 protocols: everything that depends on its private parts.

hypercorn parses and writes every byte of HTTP; `connection` moves them from and to the socket. Its
own TCP server is not used, as the task, memory channel, timer and cancel scopes around each request
cost six times what its protocol does. These names are no documented interface, so the version is
pinned to 0.18, and tests/upstream/test_hypercorn.py fails when any of them changes:

H11Protocol, H2Protocol     get a request's bytes by `handle(RawData)`
their `send` callback       gets RawData, Closed, and Updated, whose `idle` means "no request open"
H2ProtocolAssumedError      raised by H11Protocol at the HTTP/2 preface
TaskGroup                   `spawn_app` returns what takes a request's events; `spawn`
WorkerContext.terminated    no request is taken after it is set
_check_protocol, _create_stream, stream_send, _send_error_response, connection, _close_stream,
_flush, stream_buffers, priority: see below

An application that never waits needs no task if it starts when its request is complete. In HTTP/1
it is awaited in place then; in HTTP/2 it becomes a task, as its response waits for hypercorn's own
send task.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from wsgiref.handlers import format_date_time

from hypercorn.config import Config
from hypercorn.protocol.events import Response
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from livenessprobe.server.limits import HEAD_BYTES, LIST_BYTES
from livenessprobe.server.request import BODY_BYTES
from livenessprobe.server.state import TIMEOUTS, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio
    from hypercorn.events import Event

    Send = Callable[[Event], Awaitable[None]]

__all__ = ["H2ProtocolAssumedError", "WorkerContext"]

STREAMS = 8
"""Concurrent streams of an HTTP/2 connection; each may hold a response that is not read.

Clients send one request after the other, so the usual hundred would only serve abuse.
"""

KEEP_ALIVE = (b"keep-alive", b"timeout=%d" % (TIMEOUTS[State.IDLE] - 5))
"""How long an HTTP/1 client may reuse an idle connection. It ends 5 s later, as a request may be on
its way."""

_NO_ERROR, _ENHANCE_YOUR_CALM = 0x0, 0xB  # RFC 9113, 7


class _Config(Config):
    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:  # noqa: ARG002 - any
        """Return the header fields of every response."""
        return _date(int(time.time()))


@lru_cache(maxsize=1)  # formatting takes a twentieth of a request's instructions
def _date(second: int) -> list[tuple[bytes, bytes]]:
    return [(b"date", format_date_time(second).encode("ascii"))]


def configure() -> Config:
    """Return hypercorn's configuration."""
    config = _Config()
    config.errorlog = None  # it would log what clients do wrong
    config.keep_alive_max_requests = sys.maxsize
    config.h11_max_incomplete_size = HEAD_BYTES
    config.h2_max_concurrent_streams = STREAMS
    config.h2_max_header_list_size = LIST_BYTES
    return config


class Setup(NamedTuple):
    """What the protocols of a server share."""

    app: Any
    config: Config
    context: WorkerContext


_NO_STATE = ConnectionState({})


class InPlace:
    """hypercorn's TaskGroup: awaits an application in place, once its request is complete."""

    async def spawn_app(
        self, app: Any, _config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Return the function that takes the ASGI events of the request."""
        body = b""

        async def put(event: Any) -> None:
            nonlocal body
            if event["type"] == "http.request":
                body += event["body"][: BODY_BYTES - len(body)]
                if event["more_body"]:
                    return
                event = {"type": "http.request", "body": body, "more_body": False}
            elif event["type"] != "websocket.connect":
                return  # the client has gone, before or after the response

            async def receive() -> Any:
                return event

            await self._run(app, scope, receive, send)

        return put

    async def _run(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        await send(None)  # hypercorn's event for "the application has returned"


class InTasks(InPlace):
    """The same, with a task in `nursery` for each application and each of hypercorn's own jobs."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def spawn(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start a task of hypercorn's."""
        self._nursery.start_soon(function, *args)

    async def _run(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        self._nursery.start_soon(super()._run, app, scope, receive, send)


class Http1(H11Protocol):
    """HTTP/1 on one connection."""

    def __init__(self, setup: Setup, send: Send) -> None:
        tasks: Any = InPlace()
        super().__init__(*setup, tasks, _NO_STATE, False, None, None, send)  # noqa: FBT003 - ssl

    def receives_body(self) -> bool:
        """Return whether the next bytes belong to the body of a request."""
        return self._client_state == "SEND_BODY"

    async def refuse(self) -> None:
        """Answer 400 to the request that is being received, with `Connection: close`."""
        await self._send_error_response(400)

    async def stream_send(self, event: Any) -> None:
        """Add to a response whether the connection ends or may be reused."""
        if isinstance(event, Response):
            if self.context.terminated.is_set():
                event.headers.append((b"connection", b"close"))
            elif self._client_state == "DONE":  # else h11 adds "Connection: close"
                event.headers.append(KEEP_ALIVE)
        await super().stream_send(event)

    @property
    def _client_state(self) -> str:
        return getattr(self.connection.their_state, "__name__", "")

    async def _check_protocol(self, event: Any) -> None:
        """Let only the preface start HTTP/2: `Upgrade: h2c` is obsolete (RFC 9113, 3.1)."""
        if event.method == b"PRI" and not (event.headers or self.keep_alive_requests):
            await super()._check_protocol(event)

    async def _create_stream(self, request: Any) -> None:
        """Ignore `Upgrade` and answer in HTTP/1.1, as a server may (RFC 9110, 7.8)."""
        if any(name == b"upgrade" for name, _ in request.headers):
            others = [field for field in request.headers if field[0] != b"upgrade"]
            request = replace(request, headers=others)
        await super()._create_stream(request)


class Http2(H2Protocol):
    """HTTP/2 on one connection; its tasks run in `nursery`."""

    def __init__(self, setup: Setup, send: Send, nursery: trio.Nursery) -> None:
        tasks: Any = InTasks(nursery)
        super().__init__(*setup, tasks, _NO_STATE, False, None, None, send)  # noqa: FBT003 - ssl
        # hypercorn announces this limit, but h2 keeps to its own, eight times as much.
        self.connection.decoder.max_header_list_size = LIST_BYTES

    async def refuse(self) -> None:
        """Send GOAWAY with ENHANCE_YOUR_CALM (RFC 9113, 7)."""
        await self.announce_end(_ENHANCE_YOUR_CALM)

    async def announce_end(self, error_code: int = _NO_ERROR) -> None:
        """Send GOAWAY, which names the last stream that was answered (RFC 9113, 6.8)."""
        self.connection.close_connection(error_code)
        await self._flush()

    async def _close_stream(self, stream_id: int) -> None:
        """Forget the response of a stream that is closed, and let its application return.

        hypercorn keeps the response of a stream that is reset, and the task that waits for it to be
        taken, while the client's flow-control window is closed.
        """
        await super()._close_stream(stream_id)
        if buffer := self.stream_buffers.pop(stream_id, None):
            self.priority.remove_stream(stream_id)
            await buffer.close()
