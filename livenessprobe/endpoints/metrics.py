"""The endpoint of the Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe.server import response

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request
    from livenessprobe.server.response import Response


def metrics(content_type: str, text: Callable[[], bytes]) -> Endpoint:
    """Return the endpoint of the metrics, compressed for a client that accepts gzip.

    Prometheus does. Compression takes 20 us and leaves a sixth of the bytes.
    """

    def endpoint(request: Request) -> Response:
        answer = response.nosniff(response.make(200, content_type, text()))
        if request.accepts(b"gzip", by=b"accept-encoding"):
            answer = response.gzipped(answer)
        return response.with_header(answer, b"vary", b"accept-encoding")

    return endpoint
