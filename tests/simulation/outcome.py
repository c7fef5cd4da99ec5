"""Reduces the record of one run to the numbers of an `Outcome`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

from livenessprobe.health.result import ProbeStatus
from tests.simulation.kubelet import JITTER
from tests.simulation.policies import POLL
from tests.simulation.scripts import BLIP, HEALTHY
from tests.simulation.world import MEASURED, Record, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME_MOMENT = 1.0
"""Seconds between two answers that may be made from the same failing result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    run: Run
    probes: int
    """Calls that reached a healthy driver in `MEASURED` periods, after the first requests."""
    ages: tuple[float, ...]
    """Ages of the answers in these periods, in seconds."""
    most_repeated: int
    """The most unhealthy answers to one caller from the same result.

    Further ones do not count while the next Probe is in flight or due."""
    amplified: int
    """Unhealthy answers that should have been made from a newer result."""
    restarts: int
    has_cause: bool
    """Whether the fault was so long or so frequent that it may restart the driver."""
    decided_after: float | None
    """Seconds from the fault until kubelet decided to restart the driver."""
    requests_until_then: int
    probes_until_then: int
    """Calls that reached the driver from the fault until then."""
    detected_after: float | None
    """Seconds from the fault until the first unhealthy result."""
    longest_unreached: float
    """The most seconds between two attempts to reach a driver that is gone."""
    misjudged_births: int
    """Unhealthy answers after there was time to find and probe a new process."""
    most_in_flight: int


def digest(record: Record) -> Outcome:
    run = record.run
    decided_at = record.restarts[0] if record.restarts else inf
    until_then = partial(_is_between, record.fault_at, decided_at)
    return Outcome(
        run=run,
        probes=sum(_is_measured(record, call.began_at) for call in record.calls),
        ages=tuple(a.age for a in record.answers if _is_measured(record, a.asked_at)),
        most_repeated=_most_repeated(record),
        amplified=sum(_amplified(record)),
        restarts=len(record.restarts),
        has_cause=_has_cause(record),
        decided_after=decided_at - record.fault_at if record.restarts else None,
        requests_until_then=sum(until_then(answer.asked_at) for answer in record.answers),
        probes_until_then=sum(until_then(call.began_at) for call in record.calls),
        detected_after=_detected_after(record),
        longest_unreached=_longest_unreached(record),
        misjudged_births=_misjudged_births(record),
        most_in_flight=record.most_in_flight,
    )


def _is_between(start: float, end: float, at: float) -> bool:
    return start <= at <= end


def _is_measured(record: Record, at: float) -> bool:
    run = record.run
    if run.script is not HEALTHY:
        return False
    return 0 <= at - record.fault_at < MEASURED * run.setting.liveness.period


def _most_repeated(record: Record) -> int:
    repeats: Counter[object] = Counter()
    for answer in record.answers:
        key = answer.caller, answer.asked_at if answer.rests_on is None else answer.rests_on
        if not answer.healthy and not (answer.next_is_coming and repeats[key]):
            repeats[key] += 1
    return max(repeats.values(), default=0)


def _amplified(record: Record) -> Iterator[bool]:
    first_asked_at: dict[int, float] = {}
    for answer in record.answers:
        if answer.healthy or answer.rests_on is None:
            continue
        first = first_asked_at.setdefault(answer.rests_on, answer.asked_at)
        yield answer.asked_at - first >= SAME_MOMENT and not answer.next_is_coming


def _has_cause(record: Record) -> bool:
    run = record.run
    if run.script is HEALTHY:
        return False
    if run.script is BLIP:
        return run.setting.liveness.failure_threshold == 1
    lasted = record.healthy_at - record.fault_at
    if run.script.starts:  # there are no requests in the initial delay
        lasted -= run.setting.liveness.initial_delay
    return run.script.recurs or lasted >= run.setting.harmless


def _detected_after(record: Record) -> float | None:
    bad = (
        result.finished_at - record.fault_at
        for result in record.results
        if result.status is not ProbeStatus.READY and result.finished_at >= record.fault_at
    )
    return next(bad, None)


def _longest_unreached(record: Record) -> float:
    return max(
        (
            later.finished_at - earlier.finished_at
            for earlier, later in pairwise(record.results)
            if earlier.status is ProbeStatus.UNREACHABLE is later.status
        ),
        default=0.0,
    )


def _misjudged_births(record: Record) -> int:
    if record.run.script.starts:  # the new process is not ready yet
        return 0
    found_after = POLL + record.run.latency + JITTER
    return sum(
        not answer.healthy and answer.asked_at > record.births[-1] + found_after
        for answer in record.answers
        if record.births
    )
