"""The ASGI application: from hypercorn's events to a `Request`, and from a `Response` to events."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from livenessprobe.web import grpc
from livenessprobe.web.endpoints import Routes, answer
from livenessprobe.web.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    Observe = Callable[[str, int, float], None]
    """Is told of an answer: the path that was asked, the status, and the seconds it took."""

OTHER = "other"
"""Stands for all paths at which there is nothing; there may be any number of them."""


class Application:
    """Answers from `routes`, and tells `observe` of each answer.

    An endpoint that fails has a bug, which `report` is told.
    """

    def __init__(
        self, routes: Routes, observe: Observe, report: Callable[[Exception], None]
    ) -> None:
        self._routes = routes
        self._observe = observe
        self._report = report

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request."""
        request, incoming = _request(scope), _Body(receive)
        if grpc.is_call(request):
            request = replace(request, body=await incoming.read(grpc.MAX_BODY_BYTES))
        started_at = trio.current_time()
        try:
            response = answer(self._routes, request)
        except Exception as bug:  # noqa: BLE001 - it is reported
            self._report(bug)
            return
        # A websocket client asks with GET what everybody asks, and is told so in HTTP.
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        start: Any = {
            "type": f"{kind}.start",
            "status": response.status,
            "headers": response.headers,
            "trailers": bool(response.trailers),
        }
        await send(start)
        body: Any = {"type": f"{kind}.body", "body": response.body}
        await send(body | {"more_body": True})
        endpoint = request.path if request.path in self._routes else OTHER
        self._observe(endpoint, response.status, trio.current_time() - started_at)
        # The answer does not wait for the rest of the request, but its formal end does: hypercorn
        # then closes a connection with unread bytes, which resets it and may lose the answer.
        await incoming.skip()
        await send(body | {"body": b""})
        if response.trailers:
            trailers: Any = {"type": f"{kind}.trailers", "headers": response.trailers}
            await send(trailers)


class _Body:
    """What comes after the head of a request."""

    def __init__(self, receive: ASGIReceiveCallable) -> None:
        self._receive = receive
        self._more = True

    async def read(self, enough: int) -> bytes:
        """Return it whole, or once it is longer than `enough` bytes, what there is by then."""
        body = b""
        while self._more and len(body) <= enough:
            body += await self._next()
        return body

    async def skip(self) -> None:
        """Wait for its end."""
        while self._more:
            await self._next()

    async def _next(self) -> bytes:
        event: Any = await self._receive()
        self._more = event.get("more_body", False)
        body: bytes = event.get("body", b"")
        return body


def _request(scope: Any) -> Request:
    return Request(
        path=_path(scope["path"]),
        query=scope["query_string"],
        headers=scope["headers"],
        method=scope.get("method", "GET"),
        http_version=scope["http_version"],
    )


def _path(target: str) -> str:
    """Return the path of a request target, of one in the absolute form too (RFC 9112, 3.2.2)."""
    return re.sub(r"^https?://[^/]*", "", target, flags=re.IGNORECASE)
