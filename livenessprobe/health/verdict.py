"""Decides from the last Probe's result and its age whether the driver is healthy.

The functions are pure: the time is an argument. An expired result is never healthy, so its age is
looked at first. A table then has a row for each status of a Probe, with the health questions that
are answered by yes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from livenessprobe.health.result import ProbeResult, ProbeStatus


class Question(Enum):
    """A health question, with the name that the Kubernetes API server uses for its own."""

    HEALTHZ = "healthz"
    """Is the driver live and ready? The reference answers this one."""
    LIVEZ = "livez"
    """Is the driver live? It need not be ready: while it initialises, the CSI spec calls it
    "otherwise perfectly healthy", and a restart would not help."""
    READYZ = "readyz"
    """Can the driver serve calls?"""


SERVICES = {
    "": Question.HEALTHZ,
    "liveness": Question.LIVEZ,
    "readiness": Question.READYZ,
}
"""Questions by the service name of a gRPC health check; the empty name is the server as a whole."""

YES = {
    ProbeStatus.READY: {Question.HEALTHZ, Question.LIVEZ, Question.READYZ},
    ProbeStatus.NOT_READY: {Question.LIVEZ},
    ProbeStatus.FAILED: set[Question](),
    ProbeStatus.TIMED_OUT: set[Question](),
    ProbeStatus.UNREACHABLE: set[Question](),
}


def is_yes(question: Question, status: ProbeStatus) -> bool:
    """Return whether a Probe with this status answers the question by yes."""
    return question in YES[status]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to one health question."""

    healthy: bool
    reason: str
    """Why the driver is not healthy, in one sentence for a person; "ok" if it is."""
    last: ProbeResult | None = None
    """The result that the verdict is made from; None if no Probe has finished yet."""
    age: float = 0.0
    """Seconds since `last` finished."""
    is_expired: bool = False
    """Whether `last` is too old to be used, so that the driver's health is unknown."""


NOTHING_KNOWN = Verdict(healthy=False, reason="no Probe() has finished yet")


def judge(
    question: Question, last: ProbeResult | None, *, now: float, valid_until: float
) -> Verdict:
    """Return the answer to a health question, from the last finished Probe.

    The times are seconds on the clock of `ProbeResult.finished_at`. After `valid_until` the next
    result is overdue and the last one has expired: the driver's health is unknown.
    """
    if last is None:
        return NOTHING_KNOWN
    age = now - last.finished_at
    if now > valid_until:
        return Verdict(
            healthy=False,
            reason=f"the last Probe() finished {age:.0f}s ago, the next one should have by now: "
            "livenessprobe was stopped or starved, or its prober is stuck",
            last=last,
            age=age,
            is_expired=True,
        )
    healthy = is_yes(question, last.status)
    return Verdict(healthy=healthy, reason="ok" if healthy else last.message, last=last, age=age)
