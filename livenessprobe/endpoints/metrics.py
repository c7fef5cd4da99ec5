"""The metrics endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe.server import response

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request
    from livenessprobe.server.response import Response

Rendered = tuple[str, bytes]
"""A content type and what is of it."""


def metrics(text: Callable[[], Rendered], openmetrics: Callable[[], Rendered]) -> Endpoint:
    """Return the endpoint that shows metrics in one of these formats, by what a client accepts."""

    def endpoint(request: Request) -> Response:
        accepts_openmetrics = request.accepts(b"application/openmetrics-text")
        answer = response.make(200, *(openmetrics if accepts_openmetrics else text)())
        if request.accepts(b"gzip", by=b"accept-encoding"):
            answer = response.gzipped(answer)
        return response.with_header(answer, b"vary", b"accept, accept-encoding")

    return endpoint
