"""The endpoints of the health questions: 200 "ok", or 500 and the reason."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from livenessprobe.endpoints.verbose import checks
from livenessprobe.server import response
from livenessprobe.strconv import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.health.verdict import Verdict
    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request
    from livenessprobe.server.response import Response


OK = response.make(200, response.PLAIN_TEXT, b"ok")


def health(
    name: str, ask: Callable[[], Verdict], driver_name: Callable[[], str | None]
) -> Endpoint:
    """Return the endpoint of the question `name`. `?verbose` lists the checks."""

    def endpoint(request: Request) -> Response:
        verdict = ask()
        if request.asks_for(b"verbose"):
            status = 200 if verdict.healthy else 500
            answer = response.text(status, checks(name, verdict, driver_name()))
        else:
            answer = OK if verdict.healthy else _failure(verdict.reason)
        if verdict.last is None:
            return answer
        return response.with_header(answer, b"age", b"%d" % verdict.age)  # RFC 9111, 5.1

    return endpoint


@lru_cache(maxsize=64)  # the requests until the next Probe get the same
def _failure(reason: str) -> Response:
    """Return a response with the reason, escaped, as a terminal may show it."""
    return response.text(500, escape(reason, keep="\n\t"))
