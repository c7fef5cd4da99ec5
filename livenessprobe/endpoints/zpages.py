"""The z-pages of Kubernetes components: /statusz (KEP-4827) and /flagz (KEP-4828).

Both are text, or versioned JSON for a client that accepts JSON.
"""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from livenessprobe import __version__
from livenessprobe.server import response
from livenessprobe.strconv import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request
    from livenessprobe.server.response import Response
    from livenessprobe.telemetry.status import Status

NAME = "livenessprobe"

_API_VERSION = "config.k8s.io/v1alpha1"

_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility "
    "guarantees and is for debugging purposes only."
)


def statusz(status: Callable[[], Status], *, started_at: float, paths: Iterable[str]) -> Endpoint:
    """Return the endpoint of /statusz.

    `started_at` is as in `routes`; `paths` are those served.
    """

    def endpoint(request: Request) -> Response:
        now = status()
        started = datetime.fromtimestamp(started_at + now.epoch, UTC)
        seconds = int(now.now - started_at)
        if _wants_json(request):
            return _json(
                "Statusz",
                startTime=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                uptimeSeconds=seconds,
                pythonVersion=platform.python_version(),
                binaryVersion=__version__,
                paths=sorted(paths),
            )
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return _text(
            "statusz",
            started.strftime("Started: %a %b %e %H:%M:%S UTC %Y"),
            f"Up: {hours} hr {minutes:02} min {seconds:02} sec",
            f"Python version: {platform.python_version()}",
            f"Binary version: {__version__}",
            f"Paths: {' '.join(sorted(paths))}",
        )

    return endpoint


def flagz(flags: Mapping[str, str]) -> Endpoint:
    """Return the endpoint of /flagz; `flags` are the values in force, by name."""

    def endpoint(request: Request) -> Response:
        if _wants_json(request):
            return _json("Flagz", flags=dict(sorted(flags.items())))
        return _text("flagz", *(f"{name}={value}" for name, value in sorted(flags.items())))

    return endpoint


def _wants_json(request: Request) -> bool:
    return request.accepts(b"application/json", rather_than=b"text/plain")


def _text(page: str, *lines: str) -> Response:
    escaped = (escape(line) for line in lines)
    return response.text(200, "\n".join((f"{NAME} {page}", _WARNING, "", *escaped, "")))


def _json(kind: str, **fields: object) -> Response:
    head = {"kind": kind, "apiVersion": _API_VERSION, "metadata": {"name": NAME}}
    return response.json(head | fields)
