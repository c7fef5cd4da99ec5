"""The ASGI application: from hypercorn's events to a `Request`, and from a `Response` to events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from livenessprobe.web import grpc
from livenessprobe.web.request import Request, path_of

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    from livenessprobe.web.responder import Responder


class Application:
    """Passes requests on to `responder`, and its answers back."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request."""
        request, incoming = _request(scope), _Body(receive)
        if grpc.is_call(request):
            request = replace(request, body=await incoming.read(grpc.MAX_BODY_BYTES))
        started_at = trio.current_time()
        response = self._responder.respond(request)
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
        self._responder.sent(request.path, response.status, started_at=started_at)
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
        path=path_of(scope["path"]),
        query=scope["query_string"],
        headers=scope["headers"],
        method=scope.get("method", "GET"),
        http_version=scope["http_version"],
    )
