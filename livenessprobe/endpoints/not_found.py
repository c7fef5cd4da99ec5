"""The response to a path that has no endpoint: 404, a redirect, or gRPC's UNIMPLEMENTED."""

from __future__ import annotations

from posixpath import normpath
from typing import TYPE_CHECKING
from urllib.parse import quote

from livenessprobe.endpoints import grpc
from livenessprobe.server import response

if TYPE_CHECKING:
    from collections.abc import Container

    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request
    from livenessprobe.server.response import Response

NOT_FOUND = response.text(404, "404 page not found\n")


def not_found(paths: Container[str]) -> Endpoint:
    """Return the endpoint of all paths but these.

    Like Go's ServeMux, it redirects "//healthz" and "/x/../healthz" to "/healthz".
    """

    def endpoint(request: Request) -> Response:
        if grpc.is_call(request):
            return grpc.unimplemented(request)
        path = clean(request.path)
        if path not in paths or path == request.path:
            return NOT_FOUND
        location = quote(path).encode() + (b"?" + request.query if request.query else b"")
        redirect = response.text(307, "")
        return response.with_header(redirect, b"location", location)

    return endpoint


def clean(path: str) -> str:
    """Return a path without empty, "." and ".." segments; a slash at its end stays."""
    if not path.startswith("/"):
        return path
    cleaned = normpath("/" + path.lstrip("/"))
    return f"{cleaned}/" if path.endswith("/") and cleaned != "/" else cleaned
