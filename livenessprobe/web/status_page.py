"""The page for people who open the port in a browser, and the data that it fetches.

The page is one file beside this module that loads nothing from anywhere, and the policy it is
sent with lets it do no more than it does: run its own script, ask for the data.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from livenessprobe import __version__
from livenessprobe.history import SPAN
from livenessprobe.web import response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livenessprobe.status import Status
    from livenessprobe.web.endpoints import Endpoint
    from livenessprobe.web.request import Request
    from livenessprobe.web.response import Response


def page(_: Request) -> Response:
    """Show the status page."""
    return _page()


@cache  # most processes never show it
def _page() -> Response:
    document = resources.files("livenessprobe.web").joinpath("status.html").read_bytes()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of(b'script', document)}",
            f"style-src {_hash_of(b'style', document)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        )
    )
    answer = response.make(200, "text/html; charset=utf-8", document)
    answer = response.with_header(answer, b"content-security-policy", policy.encode())
    answer = response.with_header(answer, b"referrer-policy", b"no-referrer")
    answer = response.with_header(answer, b"vary", b"accept")
    return response.with_header(answer, b"cache-control", b"no-cache")


def _hash_of(tag: bytes, document: bytes) -> str:
    """Return what allows the content of the one element `tag`, and no other (CSP, 2.3.1)."""
    (content,) = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), document, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content).digest()).decode()}'"


def data(
    status: Callable[[], Status],
    *,
    started_at: float,
    socket_path: str,
    flags: Mapping[str, str],
) -> Endpoint:
    """Return the endpoint of what the page shows, as JSON. `started_at` is as for `statusz`."""

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
            "mode": "auto" if schedule.follows_callers else "fixed",
            "interval": schedule.interval,
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
                "reason": change.result.message or "ok",
                "lasted": change.lasted,
            }
            for change in history.changes
        ],
    }
