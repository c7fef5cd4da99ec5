"""Keeps totals since the start, the last changes of state, and the last hour in slots.

Metrics and pages are made from it. There is no clock and no IO: a result contains its time. The
size is bounded whatever the rate of Probes: a slot of `SLOT` seconds has the number of its Probes,
the longest latency and the worst status.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question, is_yes

SLOT = 10.0
"""Seconds; the usual period of a kubelet, and about one pixel of the status page's chart."""

SPAN = 3600.0
"""Seconds that the slots go back, enough to see how an incident began."""

MAX_CHANGES = 50
"""Each may hold some kilobytes of the driver's error message."""

FAILURES = tuple(status for status in ProbeStatus if not is_yes(Question.HEALTHZ, status))

_SEVERITY = list(ProbeStatus)  # from the best to the worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of state, with the first result of the new state."""

    result: ProbeResult
    previous: ProbeStatus | None = None
    """The state before; None for the first state of all."""
    lasted: float | None = None
    """Seconds that the previous state lasted."""


@dataclass(slots=True, kw_only=True)
class Slot:
    """The Probes that finished in the `SLOT` seconds from `start` on."""

    start: float
    """Seconds on the clock of `ProbeResult.finished_at`."""
    probes: int = 0
    failures: int = 0
    slowest: float = 0.0
    """The longest latency in seconds."""
    worst: ProbeStatus = ProbeStatus.READY

    def observe(self, result: ProbeResult) -> None:
        """Add one finished Probe."""
        self.probes += 1
        self.failures += result.status in FAILURES
        self.slowest = max(self.slowest, result.latency)
        self.worst = max(self.worst, result.status, key=_SEVERITY.index)


@dataclass(slots=True)
class History:
    """A summary of all results so far. A state is a `ProbeStatus`; health is that of `/healthz`."""

    probes: int = 0
    failures: dict[ProbeStatus, int] = field(default_factory=lambda: dict.fromkeys(FAILURES, 0))
    """The number of Probes with each unhealthy status."""
    consecutive_failures: int = 0
    became_healthy: int = 0
    became_unhealthy: int = 0
    """How often the health has changed; the first result does not count."""
    last_success: ProbeResult | None = None
    last_change: ProbeResult | None = None
    """The first result with the present health."""
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=MAX_CHANGES))
    """The last changes of state, oldest first."""
    slots: deque[Slot] = field(default_factory=lambda: deque(maxlen=int(SPAN / SLOT)))
    """The slots that have Probes, oldest first."""

    def observe(self, result: ProbeResult) -> None:
        """Add one finished Probe."""
        self._record_change(result)
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

    def _record_change(self, result: ProbeResult) -> None:
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
