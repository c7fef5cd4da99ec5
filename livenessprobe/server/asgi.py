"""The ASGI application: calls the endpoint of a request's path and sends its response.

Any ASGI server can serve it. An endpoint is a plain function, which cannot wait; so no response
waits for the driver or anything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from livenessprobe.server.request import BODY_BYTES, Request, path_of
from livenessprobe.server.response import Response, text

Endpoint = Callable[[Request], Response]
Routes = Mapping[str, Endpoint]
"""Endpoints by path. The method of a request does not matter."""

Observe = Callable[[str, int, float], None]
"""Receives the path of a request, the status of its response, and the seconds that it took."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

OTHER = "other"
"""The path under which requests without an endpoint are observed: clients choose their paths."""

_NO_TUNNEL = text(501, "this is no proxy\n")


class Application:
    """Answers each request by its path's endpoint or `not_found`, and reports it to `observe`."""

    def __init__(self, routes: Routes, not_found: Endpoint, observe: Observe) -> None:
        self._routes = routes
        self._not_found = not_found
        self._observe = observe

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what its endpoint raises, without a response."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # the server answers 403
            return
        request = _request(scope, await _body(receive))
        started_at = trio.current_time()
        response = self._respond(request)
        await _send(response, send)
        path = request.path if request.path in self._routes else OTHER
        self._observe(path, response.status, trio.current_time() - started_at)

    def _respond(self, request: Request) -> Response:
        if request.method == "CONNECT":
            return _NO_TUNNEL
        return self._routes.get(request.path, self._not_found)(request)


async def _send(response: Response, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": response.headers,
            "trailers": bool(response.trailers),
        }
    )
    await send({"type": "http.response.body", "body": response.body})
    if response.trailers:
        await send({"type": "http.response.trailers", "headers": response.trailers})


async def _body(receive: Receive) -> bytes:
    """Return the body of a request, its first `BODY_BYTES` if it is longer."""
    body, more = b"", True
    while more and len(body) < BODY_BYTES:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body[:BODY_BYTES]


def _request(scope: Any, body: bytes) -> Request:
    return Request(
        path=path_of(scope["path"]),
        query=scope["query_string"],
        headers=scope["headers"],
        method=scope["method"],
        http_version=scope["http_version"],
        body=body,
    )
