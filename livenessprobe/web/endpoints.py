"""What is answered: a table from path to endpoint, each a plain function.

An endpoint cannot wait, so no answer can wait: not for the driver, not for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from livenessprobe.strconv import escape
from livenessprobe.web import grpc, response
from livenessprobe.web.request import Request
from livenessprobe.web.response import Response
from livenessprobe.web.verbose import checks

if TYPE_CHECKING:
    from livenessprobe.health import Verdict

Endpoint = Callable[[Request], Response]
Routes = Mapping[str, Endpoint]
"""Endpoints by path; whatever the method, the question is the same."""

Rendered = tuple[str, bytes]
"""A content type and what is of it."""

_NOT_OVER_HTTP_2 = response.text(505, "this is answered over HTTP/1.1 only\n")

NOT_FOUND = response.text(404, "404 page not found\n")


def answer(routes: Routes, request: Request) -> Response:
    """Return what the endpoint at the request's path answers, or that there is none."""
    return routes.get(request.path, not_found)(request)


def not_found(request: Request) -> Response:
    """Answer that there is nothing at this path."""
    return grpc.unimplemented(request) if grpc.is_call(request) else NOT_FOUND


@lru_cache(maxsize=64)  # there are few, and they are asked for all the time
def _short(status: int, reason: str) -> Response:
    """Return the answer to a machine. People read it too, so it must not command their terminal."""
    return response.text(status, escape(reason, keep="\n\t"))


def health(
    name: str, ask: Callable[[], Verdict], driver_name: Callable[[], str | None]
) -> Endpoint:
    """Return the endpoint of the question `name`: 200 "ok", or 500 and the reason.

    Asked with `?verbose`, it lists the checks.
    """

    def endpoint(request: Request) -> Response:
        verdict = ask()
        status = 200 if verdict.healthy else 500
        if request.asks_for(b"verbose"):
            answer = response.text(status, checks(name, verdict, driver_name()))
        else:
            answer = _short(status, verdict.reason)
        return answer if verdict.last is None else response.aged(answer, verdict.age)

    return endpoint


def metrics(text: Callable[[], Rendered], openmetrics: Callable[[], Rendered]) -> Endpoint:
    """Return the endpoint that shows metrics in one of these formats, by what a client accepts."""

    def endpoint(request: Request) -> Response:
        accepts_openmetrics = request.accepts(b"application/openmetrics-text")
        answer = response.make(200, *(openmetrics if accepts_openmetrics else text)())
        if request.accepts(b"gzip", by=b"accept-encoding"):
            answer = response.gzipped(answer)
        return response.with_header(answer, b"vary", b"accept, accept-encoding")

    return endpoint


def over_http_1(endpoint: Endpoint) -> Endpoint:
    """Return `endpoint`, closed to HTTP/2, which neither browsers nor Prometheus speak without TLS.

    A client that does not read lets each stream of its connection hold an answer, and these are
    not small.
    """

    def guarded(request: Request) -> Response:
        return _NOT_OVER_HTTP_2 if request.http_version == "2" else endpoint(request)

    return guarded
