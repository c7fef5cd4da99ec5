"""Defines a snapshot of driver and prober, which metrics and pages are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livenessprobe.health.result import ProbeStatus
    from livenessprobe.health.verdict import Verdict
    from livenessprobe.probing.schedule import Schedule
    from livenessprobe.telemetry.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The driver and its prober at `now`, seconds on the clock of `ProbeResult.finished_at`."""

    now: float
    epoch: float
    """Seconds to add to a time on that clock to get seconds since the epoch."""
    driver_name: str | None
    """None until the driver has answered `GetPluginInfo`."""
    verdict: Verdict
    """The answer that `/healthz` would give."""
    history: History
    schedule: Schedule
    lag: float
    """Seconds by which the last Probe began late, because this process did not run."""
    missed_deadlines: int
    """How often a result expired before the next one was there."""

    @property
    def state(self) -> ProbeStatus | None:
        """The status of the last Probe; None before the first result, or if it has expired."""
        if self.verdict.last is None or self.verdict.is_expired:
            return None
        return self.verdict.last.status
