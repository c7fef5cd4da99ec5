"""The list of checks behind one health question, in the form of the Kubernetes API server.

[+]csi-probe ok                 whether the last Probe answers the question with yes
[-]csi-probe failed: ...
[+]socket ok                    whether the driver could be reached
[+]prober ok                    whether the last result is recent
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe.health.result import ProbeStatus
from livenessprobe.strconv import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from livenessprobe.health.result import ProbeResult
    from livenessprobe.health.verdict import Verdict


def checks(name: str, verdict: Verdict, driver_name: str | None) -> str:
    """Return the list for the question `name`, one line each, as text."""
    return "".join(f"{escape(line)}\n" for line in _lines(name, verdict, driver_name))


def _lines(name: str, verdict: Verdict, driver_name: str | None) -> Iterator[str]:
    if verdict.last is None:
        yield _check("csi-probe", verdict.reason)
    else:
        yield from _about(verdict, verdict.last)
    yield f"driver name: {driver_name or 'not known yet'}"
    yield f"{name} check {'passed' if verdict.healthy else 'failed'}"


def _about(verdict: Verdict, last: ProbeResult) -> Iterator[str]:
    is_unreachable = last.status is ProbeStatus.UNREACHABLE
    if verdict.is_expired:
        yield _check("csi-probe", "its result is too old")
    else:
        yield _check("csi-probe", None if verdict.healthy else verdict.reason)
    yield _check("socket", last.message if is_unreachable else None)
    yield _check("prober", verdict.reason if verdict.is_expired else None)
    yield f"result age: {verdict.age:.3f}s"
    yield f"Probe latency: {last.latency:.3f}s"


def _check(name: str, failure: str | None) -> str:
    return f"[+]{name} ok" if failure is None else f"[-]{name} failed: {failure}"
