"""The z-pages of Kubernetes components: what runs here (KEP-4827) and with which flags (KEP-4828).

As text for people, as versioned JSON for whoever accepts that.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from livenessprobe.strconv import escape
from livenessprobe.web import response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from livenessprobe.web.endpoints import Endpoint
    from livenessprobe.web.request import Request
    from livenessprobe.web.response import Response

NAME = "livenessprobe"

_API_VERSION = "config.k8s.io/v1alpha1"

_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility "
    "guarantees and is for debugging purposes only."
)


def statusz(
    *, started_at: float, uptime: Callable[[], float], version: str, paths: Iterable[str]
) -> Endpoint:
    """Return the endpoint of /statusz.

    `started_at` is in seconds since the epoch, `uptime()` in seconds; `paths` are those served.
    """
    started = datetime.fromtimestamp(started_at, UTC)

    def endpoint(request: Request) -> Response:
        seconds = int(uptime())
        if _wants_json(request):
            return _json(
                "Statusz",
                startTime=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                uptimeSeconds=seconds,
                pythonVersion=platform.python_version(),
                binaryVersion=version,
                paths=sorted(paths),
            )
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return _text(
            "statusz",
            started.strftime("Started: %a %b %e %H:%M:%S UTC %Y"),
            f"Up: {hours} hr {minutes:02} min {seconds:02} sec",
            f"Python version: {platform.python_version()}",
            f"Binary version: {version}",
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
    return b"application/json" in request.header(b"accept").lower()


def _text(page: str, *lines: str) -> Response:
    escaped = (escape(line) for line in lines)
    return response.text(200, "\n".join((f"{NAME} {page}", _WARNING, "", *escaped, "")))


def _json(kind: str, **fields: object) -> Response:
    head = {"kind": kind, "apiVersion": _API_VERSION, "metadata": {"name": NAME}}
    return response.make(200, "application/json", json.dumps(head | fields).encode())
