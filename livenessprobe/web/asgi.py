"""The ASGI application: from hypercorn's events to a `Request`, and from a `Response` to events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from livenessprobe.web.endpoints import Routes, answer
from livenessprobe.web.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope


class Application:
    """Answers from `routes`. An endpoint that fails has a bug, which `report` is told."""

    def __init__(self, routes: Routes, report: Callable[[Exception], None]) -> None:
        self._routes = routes
        self._report = report

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request."""
        try:
            response = answer(self._routes, _request(scope))
        except Exception as bug:  # noqa: BLE001 - it is reported
            self._report(bug)
            return
        # A websocket client asks with GET what everybody asks, and is told so in HTTP.
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        start: Any = {"type": f"{kind}.start", "status": response.status}
        await send(start | {"headers": response.headers})
        body: Any = {"type": f"{kind}.body", "body": response.body}
        await send(body | {"more_body": True})
        # The answer does not wait for the rest of the request, but its formal end does: hypercorn
        # then closes a connection with unread bytes, which resets it and may lose the answer.
        rest: Any = {"more_body": True}
        while rest.get("more_body"):
            rest = await receive()
        await send(body | {"body": b""})


def _request(scope: Any) -> Request:
    return Request(path=_path(scope["path"]), query=scope["query_string"], headers=scope["headers"])


def _path(target: str) -> str:
    """Return the path of a request target, of one in the absolute form too (RFC 9112, 3.2.2)."""
    return re.sub(r"^https?://[^/]*", "", target, flags=re.IGNORECASE)
