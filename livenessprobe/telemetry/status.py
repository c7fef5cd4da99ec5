"""All that is known at one moment, as one value for whoever shows it: metrics and pages."""

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
    """What to add to a time on that clock to have it in seconds since the epoch."""
    driver_name: str | None
    """None until the driver has told it."""
    verdict: Verdict
    """What `/healthz` would say."""
    history: History
    schedule: Schedule
    lag: float
    """Seconds by which the last Probe began late: this program's own delay."""
    missed_deadlines: int
    """How often there was no new result when there should have been one."""

    @property
    def state(self) -> ProbeStatus | None:
        """How the last Probe ended; None if there was none, or too long ago to say anything."""
        if self.verdict.last is None or self.verdict.is_expired:
            return None
        return self.verdict.last.status
