"""Chooses the runs to simulate for each setting, and computes measures from their outcomes.

The start of a fault matters most in the last seconds before a request, which are a small part of a
period. Half of the phases are in this part, so each run has a weight for means and percentiles.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from tests.simulation.outcome import Outcome, digest
from tests.simulation.policies import Policy
from tests.simulation.scripts import SCRIPTS, Fault
from tests.simulation.world import WARM_UP, Run, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.simulation.scripts import Script
    from tests.simulation.settings import Setting

QUICK, SLOW = 0.002, 0.3
"""Latencies of two drivers in seconds."""


class Outcomes:
    """The outcomes of many runs, among them those with per-request probing."""

    def __init__(self, by_run: Mapping[Run, Outcome]) -> None:
        self._by_run = by_run

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._by_run.values())

    def delay(self, outcome: Outcome) -> float:
        """Return the seconds by which a restart is later than with per-request probing."""
        per_request = self._by_run[outcome.run.per_request]
        assert outcome.decided_after is not None
        assert per_request.decided_after is not None
        return outcome.decided_after - per_request.decided_after


def play(
    settings: Mapping[Setting, int],
    *,
    phases: int,
    scripts: Sequence[Script] = SCRIPTS,
    policies: Sequence[Policy] = tuple(Policy),
    warm_up: int = WARM_UP,
) -> Outcomes:
    """Simulate every script with every setting, each in that many phases."""
    runs = [
        Run(
            setting=setting,
            script=script,
            latency=latency,
            phase=phase,
            weight=count * weight,
            policy=policy,
            warm_up=warm_up,
        )
        for (setting, count), script, latency, policy in product(
            settings.items(), scripts, (QUICK, SLOW), policies
        )
        if script.fits(setting)
        for phase, weight in _phases(setting, phases, policy)
    ]
    return Outcomes(dict(zip(runs, simulate(runs, digest), strict=True)))


def _phases(setting: Setting, number: int, policy: Policy) -> Sequence[tuple[float, float]]:
    """Return the phases, each with the part of a period that it represents."""
    half = number // 2
    split = 1 - min(0.5, (setting.probe_timeout + 2) / setting.liveness.period)
    phases = [(split * (n + 0.5) / half, split / half) for n in range(half)]
    phases += [(split + (1 - split) * (n + 0.5) / half, (1 - split) / half) for n in range(half)]
    if policy is Policy.FIXED_1S:  # has by far the most Probes, and all phases are alike
        return phases[half // 2 :: half]
    return phases


def mean_delay(outcomes: Outcomes, own: Iterable[Outcome]) -> float:
    """Return the mean seconds by which restarts are later than with per-request probing."""
    return mean((outcomes.delay(outcome), outcome.run.weight) for outcome in own)


def with_fault(
    own: Iterable[Outcome], fault: Fault, *, detected_in_time: bool = True
) -> list[Outcome]:
    """Return the outcomes with this fault.

    Only hangs may be detected too late, see `Setting.detects_hangs_in_time`.
    """
    return [
        outcome
        for outcome in own
        if outcome.run.script.fault is fault
        and (
            fault is not Fault.HANG or outcome.run.setting.detects_hangs_in_time is detected_in_time
        )
    ]


def mean(values: Iterable[tuple[float, float]]) -> float:
    """Return the mean of values with their weights."""
    pairs = list(values)
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)


def percentile(values: Iterable[tuple[float, float]], part: float) -> float:
    """Return the value that `part` of the weight does not exceed."""
    pairs = sorted(values)
    left = part * sum(weight for _, weight in pairs)
    for value, weight in pairs:
        left -= weight
        if left <= 0:
            return value
    return pairs[-1][0]


def probes_per_request(outcomes: Iterable[Outcome]) -> float:
    """Return the mean number of Probes of a healthy driver for each request."""
    return mean((o.probes / len(o.ages), o.run.weight) for o in outcomes if o.ages)


def age(outcomes: Iterable[Outcome], part: float) -> float:
    """Return the age in seconds of a healthy driver's answers at a percentile, 0 to 1."""
    return percentile(((age, o.run.weight / len(o.ages)) for o in outcomes for age in o.ages), part)
