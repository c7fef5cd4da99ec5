"""The schedule for hours of a kubelet's requests, with all that moves them.

Each worker asks at its period. Now and then the kubelet restarts, and each worker goes on at
another phase; or the node stalls, and the requests of that time come late, one of each worker;
and somebody else asks once. The driver is healthy and quick. What is counted is calm: that long
after the last restart or long stall, each worker has asked twice.
"""

from __future__ import annotations

import random
from bisect import bisect
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.callers import MAX_LATENESS
from livenessprobe.probing.schedule import MARGIN, SPACING, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOURS = 4
JITTER = 0.005
T = 3.0

RESTARTS, STALLS, STRANGERS = 2000.0, 600.0, 600.0
"""Seconds from one to the next, on average."""

STALLED = (0.2, 0.3, 0.45, 0.45, 2.0, 5.0, 30.0)
"""Seconds that stalls last."""


@dataclass(frozen=True, slots=True, order=True)
class Request:
    at: float
    period: int
    """0 for a stranger's."""


@dataclass(frozen=True, slots=True)
class Trace:
    requests: Sequence[Request]
    calm_from: Sequence[float]
    """When each restart or long stall has been lived with."""
    calm_until: Sequence[float]
    """When the next of them begins."""

    def is_calm(self, at: float) -> bool:
        index = bisect(self.calm_from, at) - 1
        return index >= 0 and at < self.calm_until[index]


def moments(rng: random.Random, apart: float) -> Iterator[float]:
    at = rng.expovariate(1 / apart)
    while at < HOURS * 3600:
        yield at
        at += rng.expovariate(1 / apart)


def trace(rng: random.Random, periods: Sequence[int]) -> Trace:
    restarts = [0.0, *moments(rng, RESTARTS)]
    stalls = [(at, at + rng.choice(STALLED)) for at in moments(rng, STALLS)]
    requests = {Request(at, 0) for at in moments(rng, STRANGERS)}
    for start, end in zip(restarts, [*restarts[1:], HOURS * 3600.0], strict=True):
        for period in periods:
            at = start + rng.random() * period
            while at < end:
                requests.add(Request(_delayed(at, stalls) + rng.random() * JITTER, period))
                at += period
    upsets = sorted(chain(restarts, (end for begin, end in stalls if end - begin > MAX_LATENESS)))
    return Trace(
        requests=_one_of_each_worker(sorted(requests), stalls),
        calm_from=[at + 3 * max(periods) + 5 for at in upsets],
        calm_until=[*upsets[1:], HOURS * 3600.0],
    )


def _delayed(at: float, stalls: Sequence[tuple[float, float]]) -> float:
    return next((end for begin, end in stalls if begin <= at < end), at)


def _one_of_each_worker(
    requests: Sequence[Request], stalls: Sequence[tuple[float, float]]
) -> Sequence[Request]:
    """Return the requests without those that a stall has made one too many."""
    ends = {end for _, end in stalls}
    seen: set[tuple[float, int]] = set()
    kept = []
    for request in requests:
        end = next((end for end in ends if end <= request.at <= end + JITTER), None)
        if end is None or (end, request.period) not in seen:
            kept.append(request)
        if end is not None:
            seen.add((end, request.period))
    return kept


class Driven:
    """A schedule that is kept to, in front of a healthy driver."""

    def __init__(self) -> None:
        self.schedule = Schedule(interval=None, probe_timeout=T, now=0.0)
        self.begins: list[float] = []

    def ask(self, at: float) -> None:
        while self.schedule.due <= at:
            begun = self.schedule.due
            self.begins.append(begun)
            self.schedule.began(begun)
            self.schedule.finished(
                ProbeResult(
                    status=ProbeStatus.READY,
                    message="",
                    grpc_status="OK",
                    latency=0.002,
                    finished_at=begun + 0.002,
                )
            )
        self.schedule.record_request(at, healthy=True)

    def age_of_a_hang(self, at: float) -> float:
        """Return how long ago the last Probe began that would have timed out by now."""
        return at - self.begins[bisect(self.begins, at - T) - 1]


PERIODS = [[1], [2], [3], [10], [30], [60], [10, 10], [10, 5], [30, 10], [2, 30], [60, 5, 10]]


@pytest.mark.parametrize("periods", PERIODS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_real_callers_have_their_probes_and_false_ones_are_removed(
    periods: list[int], seed: int
) -> None:
    rng = random.Random(f"{seed} {periods}")  # noqa: S311 - reproducible, not secret
    plan, driven = trace(rng, periods), Driven()
    calm = unserved = phantoms = probes = 0
    for request in plan.requests:
        probes_before = len(driven.begins)
        driven.ask(request.at)
        if not plan.is_calm(request.at):
            continue
        probes += len(driven.begins) - probes_before
        known = {c.period for c in driven.schedule.callers if c.is_confirmed}
        phantoms += not known <= set(periods)
        if request.period:
            calm += 1
            age = driven.age_of_a_hang(request.at)
            unserved += age > T + MARGIN + SPACING + MAX_LATENESS + JITTER
    assert calm > 50
    assert unserved <= calm * 0.002
    # Of two callers a tenth of a second apart, the second one's request comes along with the first
    # one's now and then; the others look like those of a multiple of its period.
    assert phantoms <= calm * 0.05
    # Strangers' requests are unexpected, and may be whole seconds apart: some Probes more.
    assert probes <= 1.02 * calm + 3 * HOURS * 3600 / STRANGERS
