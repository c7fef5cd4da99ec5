"""From the last result to a verdict: whether the driver is healthy, and if not, why.

Pure: the time is an argument. A result counts only until its time is over, so that comes first;
then one table has a row for every way that a Probe can end.
"""

from dataclasses import dataclass

from livenessprobe.result import ProbeResult, ProbeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to one health question."""

    healthy: bool
    reason: str
    """The word "ok", or what is wrong."""
    age: float | None = None
    """Seconds since the Probe that it rests on has finished; None if none has."""


NOTHING_KNOWN = Verdict(healthy=False, reason="no Probe() has finished yet")

HEALTHY_BY_STATUS = {
    ProbeStatus.READY: True,
    ProbeStatus.NOT_READY: False,
    ProbeStatus.FAILED: False,
    ProbeStatus.TIMED_OUT: False,
    ProbeStatus.UNREACHABLE: False,
}


def judge(last: ProbeResult | None, *, now: float, valid_until: float) -> Verdict:
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
            age=age,
        )
    if HEALTHY_BY_STATUS[last.status]:
        return Verdict(healthy=True, reason="ok", age=age)
    return Verdict(healthy=False, reason=last.message, age=age)
