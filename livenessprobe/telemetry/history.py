"""What the driver's health has been: totals since the start, the last changes, the last hour.

A consumer of results, for metrics and pages. No clock, no IO: a result brings its time. Whatever
the rate of Probes, it stays small: the hour is kept in slots of `SLOT` seconds, of which each
remembers how many Probes there were, and the slowest and the worst of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question, is_yes

SLOT = 10.0
"""Seconds; as long as the usual period of a kubelet, and about as much as a pixel of a picture."""

SPAN = 3600.0
"""Seconds that the slots go back: somebody who is called at night sees how it began."""

MAX_CHANGES = 50
"""Each may bring some kilobytes of the driver's own words."""

FAILURES = tuple(status for status in ProbeStatus if not is_yes(Question.HEALTHZ, status))

_SEVERITY = list(ProbeStatus)  # from the best to the worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of state, with the first result of the new one."""

    result: ProbeResult
    previous: ProbeStatus | None = None
    """None for the first state ever."""
    lasted: float | None = None
    """Seconds that the previous state lasted."""


@dataclass(slots=True, kw_only=True)
class Slot:
    """The Probes that finished in the `SLOT` seconds from `start` on."""

    start: float
    """On the clock of `ProbeResult.finished_at`."""
    probes: int = 0
    failures: int = 0
    slowest: float = 0.0
    """Seconds that the slowest took."""
    worst: ProbeStatus = ProbeStatus.READY

    def observe(self, result: ProbeResult) -> None:
        """Take in one more."""
        self.probes += 1
        self.failures += result.status in FAILURES
        self.slowest = max(self.slowest, result.latency)
        self.worst = max(self.worst, result.status, key=_SEVERITY.index)


@dataclass(slots=True)
class History:
    """What is left of all the results so far. Healthy is here what `/healthz` says."""

    probes: int = 0
    failures: dict[ProbeStatus, int] = field(default_factory=lambda: dict.fromkeys(FAILURES, 0))
    """How many Probes were not healthy, by how they ended."""
    consecutive_failures: int = 0
    became_healthy: int = 0
    became_unhealthy: int = 0
    """How often the health has changed; the first result is no change."""
    last_success: ProbeResult | None = None
    last_change: ProbeResult | None = None
    """The first result since the health has been what it is."""
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=MAX_CHANGES))
    """The last changes of state, oldest first."""
    slots: deque[Slot] = field(default_factory=lambda: deque(maxlen=int(SPAN / SLOT)))
    """Those with Probes, oldest first."""

    def observe(self, result: ProbeResult) -> None:
        """Take in one finished Probe."""
        self._note_change(result)
        self.probes += 1
        if result.status in FAILURES:
            self.consecutive_failures += 1
            self.failures[result.status] += 1
        else:
            self.consecutive_failures = 0
            self.last_success = result
        start = result.finished_at - result.finished_at % SLOT
        if not self.slots or self.slots[-1].start != start:
            self.slots.append(Slot(start=start))
        self.slots[-1].observe(result)

    def _note_change(self, result: ProbeResult) -> None:
        if not self.changes:
            self.changes.append(Change(result=result))
            self.last_change = result
            return
        since = self.changes[-1].result
        if result.status is since.status:
            return
        lasted = result.finished_at - since.finished_at
        self.changes.append(Change(result=result, previous=since.status, lasted=lasted))
        if (result.status in FAILURES) is not (since.status in FAILURES):
            self.last_change = result
            if result.status in FAILURES:
                self.became_unhealthy += 1
            else:
                self.became_healthy += 1
