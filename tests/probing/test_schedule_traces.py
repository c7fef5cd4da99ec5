"""Checks the schedule with hours of a kubelet's requests, restarts and stalls included.

Each worker sends requests at its period. Sometimes the kubelet restarts, and each worker continues
at another phase. Sometimes the node stalls, and one request of each worker is late. Sometimes an
unknown caller sends a single request. The driver is healthy and quick. Requests are counted only
in calm times: when each worker has sent two requests since the last restart or long stall.
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

RESTARTS, STALLS, SINGLE_REQUESTS = 2000.0, 600.0, 600.0
"""Mean seconds from one to the next."""

STALLED = (0.2, 0.3, 0.45, 0.45, 2.0, 5.0, 30.0)
"""Durations of stalls, in seconds."""


@dataclass(frozen=True, slots=True, order=True)
class Request:
    at: float
    period: int
    """0 for an unknown caller."""


@dataclass(frozen=True, slots=True)
class Trace:
    requests: Sequence[Request]
    calm_from: Sequence[float]
    """When the calm after each restart or long stall begins."""
    calm_until: Sequence[float]
    """When the next restart or long stall begins."""

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
    requests = {Request(at, 0) for at in moments(rng, SINGLE_REQUESTS)}
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
    """Return the requests with at most one of each worker after a stall."""
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
    """A schedule whose Probes begin when they are due, with a healthy driver."""

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
        """Return the seconds since the start of the last Probe whose timeout is over at `at`."""
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
    # Of two callers a tenth of a second apart, the second one's request sometimes counts as the
    # first one's; the remaining ones look like a multiple of its period.
    assert phantoms <= calm * 0.05
    # Single requests are unexpected, and may be whole seconds apart, so they add some Probes.
    assert probes <= 1.02 * calm + 3 * HOURS * 3600 / SINGLE_REQUESTS
