"""The status page for browsers, and the JSON data that it fetches.

The page is the file `status.html`, which loads nothing from elsewhere. Its Content-Security-Policy
allows what it does and no more: its own script and style, and requests for the data.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from livenessprobe import __version__
from livenessprobe.server import response
from livenessprobe.telemetry.history import SPAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request
    from livenessprobe.server.response import Response
    from livenessprobe.telemetry.status import Status


MAX_REASON = 200
"""Characters of the reason of each past change; `reason` has the current one whole."""

DOCUMENT = Path(__file__).with_name("status.html").read_bytes()
"""Read at the start, as there may be no descriptor left later."""


def page(_: Request) -> Response:
    """Return the status page."""
    nonce = os.urandom(16).hex().encode()
    document = DOCUMENT
    for tag in b"script", b"style":
        document = document.replace(b"<%b>" % tag, b'<%b nonce="%b">' % (tag, nonce))
    policy = (
        b"default-src 'none'",
        b"script-src 'nonce-%b'" % nonce,
        b"style-src 'nonce-%b'" % nonce,
        b"connect-src 'self'",
        b"img-src data:",
        b"base-uri 'none'",
        b"form-action 'none'",
        b"frame-ancestors 'none'",
    )
    answer = response.make(200, "text/html; charset=utf-8", document)
    answer = response.with_header(answer, b"content-security-policy", b"; ".join(policy))
    answer = response.with_header(answer, b"referrer-policy", b"no-referrer")
    answer = response.with_header(answer, b"vary", b"accept")
    return response.with_header(answer, b"cache-control", b"no-store")


def data(
    status: Callable[[], Status],
    *,
    started_at: float,
    socket_path: str,
    flags: Mapping[str, str],
) -> Endpoint:
    """Return the endpoint of the page's data, as JSON. `started_at` is as in `routes`."""

    def endpoint(_: Request) -> Response:
        now = status()
        facts = {
            "version": __version__,
            "started": started_at + now.epoch,
            "uptime": now.now - started_at,
            "socket": socket_path,
            "flags": dict(flags),
        }
        answer = response.json(facts | _facts(now))
        return response.with_header(answer, b"cache-control", b"no-store")

    return endpoint


def _facts(status: Status) -> dict[str, object]:
    verdict, history, schedule = status.verdict, status.history, status.schedule

    def ago(time: float) -> float:
        return round(status.now - time, 3)

    return {
        "now": status.now + status.epoch,
        "driver": status.driver_name,
        "healthy": verdict.healthy,
        "state": status.state.value if status.state else "unknown",
        "reason": verdict.reason,
        "age": verdict.age if verdict.last else None,
        "latency": verdict.last.latency if verdict.last else None,
        "since": history.last_change and ago(history.last_change.finished_at),
        "schedule": {
            "mode": "auto" if schedule.fixed_interval is None else "fixed",
            "interval": schedule.next_interval,
            "due_in": schedule.due - status.now,
            "in_flight": schedule.in_flight,
            "timeout": schedule.probe_timeout,
        },
        "callers": [
            {"period": caller.period, "expected_in": caller.expected - status.now}
            for caller in schedule.callers
        ],
        "totals": {
            "probes": history.probes,
            "consecutive_failures": history.consecutive_failures,
            "failures": {how.value: number for how, number in history.failures.items()},
            "transitions": {
                "healthy": history.became_healthy,
                "unhealthy": history.became_unhealthy,
            },
        },
        "slots": [
            (ago(slot.start), slot.probes, slot.failures, slot.slowest, slot.worst.value)
            for slot in history.slots
            if ago(slot.start) < SPAN
        ],
        "transitions": [
            {
                "ago": ago(change.result.finished_at),
                "from": change.previous and change.previous.value,
                "to": change.result.status.value,
                "reason": change.result.message[:MAX_REASON] or "ok",
                "lasted": change.lasted,
            }
            for change in history.changes
        ],
    }
