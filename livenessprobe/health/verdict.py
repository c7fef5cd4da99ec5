"""From the last result to a verdict: whether the driver is healthy, and if not, why.

Pure: the time is an argument. A result counts only until its time is over, so that comes first;
then one table has a row for every way that a Probe can end, with the questions it answers by yes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from livenessprobe.health.result import ProbeResult, ProbeStatus


class Question(Enum):
    """What can be asked about the driver, by the names that the Kubernetes API server uses."""

    HEALTHZ = "healthz"
    """Is all well? The reference's question: a driver that is not ready is not healthy."""
    LIVEZ = "livez"
    """Must it not be restarted? CSI: one that is not ready is "otherwise perfectly healthy"."""
    READYZ = "readyz"
    """Can it serve?"""


YES = {
    ProbeStatus.READY: {Question.HEALTHZ, Question.LIVEZ, Question.READYZ},
    ProbeStatus.NOT_READY: {Question.LIVEZ},
    ProbeStatus.FAILED: set[Question](),
    ProbeStatus.TIMED_OUT: set[Question](),
    ProbeStatus.UNREACHABLE: set[Question](),
}


def is_yes(question: Question, status: ProbeStatus) -> bool:
    """Return whether a Probe that ended so answers the question by yes."""
    return question in YES[status]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to one health question."""

    healthy: bool
    reason: str
    """The word "ok", or what is wrong."""
    last: ProbeResult | None = None
    """What it rests on; None if no Probe has finished yet."""
    age: float = 0.0
    """Seconds since that Probe has finished."""
    is_expired: bool = False
    """Whether that is too long ago to say anything about the driver."""


NOTHING_KNOWN = Verdict(healthy=False, reason="no Probe() has finished yet")


def judge(
    question: Question, last: ProbeResult | None, *, now: float, valid_until: float
) -> Verdict:
    """Judge the driver by its last finished Probe.

    The times are on the clock of `ProbeResult.finished_at`. After `valid_until` the result says
    nothing about the driver any more, only that the prober is stuck.
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
