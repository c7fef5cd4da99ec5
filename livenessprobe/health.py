"""From the last result to a verdict: whether the driver is healthy, and if not, why.

Pure: the time is an argument. A result is only as good as its age, so age comes first; then
one table has a row for every way that a Probe can end.
"""

from dataclasses import dataclass

from livenessprobe.result import ProbeResult, ProbeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to one health question."""

    healthy: bool
    reason: str
    """The word "ok", or what is wrong."""


HEALTHY = Verdict(healthy=True, reason="ok")
NOTHING_KNOWN = Verdict(healthy=False, reason="no Probe() has finished yet")

HEALTHY_BY_STATUS = {
    ProbeStatus.READY: True,
    ProbeStatus.NOT_READY: False,
    ProbeStatus.FAILED: False,
    ProbeStatus.TIMED_OUT: False,
    ProbeStatus.UNREACHABLE: False,
}


def judge(last: ProbeResult | None, *, now: float, max_age: float) -> Verdict:
    """Judge the driver by its last finished Probe.

    `now` is on the clock of `ProbeResult.finished_at`; a result older than `max_age` seconds
    says nothing about the driver, only that the prober is stuck.
    """
    if last is None:
        return NOTHING_KNOWN
    age = now - last.finished_at
    if age > max_age:
        return Verdict(
            healthy=False,
            reason=f"the last Probe() finished {age:.0f}s ago, more than the {max_age:.0f}s that "
            "the schedule allows: livenessprobe was stopped or starved, or its prober is stuck",
        )
    if HEALTHY_BY_STATUS[last.status]:
        return HEALTHY
    return Verdict(healthy=False, reason=last.message)
