"""Runs the prober task: wait until a Probe is due, call the driver, publish the result.

This task is the only writer of results. It runs one Probe after the other, so there is never more
than one in flight, and each ends by its deadline, so there is always a next one. The wait for the
next is a cancel scope whose deadline is the schedule's `due`. Requests and events are plain calls
from other tasks, which may move that deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe import klog
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import judge
from livenessprobe.probing.probe import probe_once
from livenessprobe.probing.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.health.verdict import Question, Verdict
    from livenessprobe.probing.probe import Probe

LATENESS = 0.25
"""Seconds after its deadline by which a Probe that times out has ended on a busy machine.

If it ends later, this process was stalled, and the driver may have replied in the meantime. Such a
result is discarded.
"""

STALLED = (
    "Discarded a Probe that ended after its deadline: livenessprobe was stopped or starved of CPU"
)

SHORT_PERIOD = (
    "Requests come more often than a Probe may take. If they are kubelet's, failureThreshold "
    "failures take failureThreshold times this period, since failing answers take no time: raise "
    "failureThreshold if the driver needs longer to come back"
)

log = klog.get_logger(__name__)


class Prober:
    """Calls `probe` when it is due, keeps the last result, and calls `publish` with each.

    `interval` is in seconds, None for auto; a Probe may take `probe_timeout` seconds.
    """

    def __init__(
        self,
        probe: Probe,
        publish: Callable[[ProbeResult], None],
        *,
        interval: float | None,
        probe_timeout: float,
    ) -> None:
        self.last: ProbeResult | None = None
        self.lag = 0.0
        """Seconds by which the last Probe began late, because this process did not run."""
        self.missed_deadlines = 0
        """How often a result expired before the next one was there."""
        self.schedule = Schedule(
            interval=interval, probe_timeout=probe_timeout, now=trio.current_time()
        )
        self._probe = probe
        self._publish = publish
        self._probe_timeout = probe_timeout
        self._wait = trio.CancelScope()
        self._logged_expired: ProbeResult | None = None
        self._logged_periods: set[int] = set()

    async def run(self) -> None:
        """Run the Probes, until cancelled."""
        while True:
            waited_from = trio.current_time()
            with trio.CancelScope(deadline=self.schedule.due) as self._wait:
                await trio.sleep_forever()
            now = trio.current_time()
            self.lag = now - max(self.schedule.due, waited_from)
            self.schedule.began(now)
            result = await probe_once(self._probe, self._probe_timeout)
            if self._was_stalled(result):
                log.warning(STALLED, lasted=f"{result.latency:.3f}s")
                self.schedule.discarded()
                continue
            self._count_missed_deadline(result)
            self.schedule.finished(result)
            self.last = result
            self._publish(result)

    def handle_request(self, question: Question) -> Verdict:
        """Return the answer to one request, and record the request in the schedule."""
        now = trio.current_time()
        verdict = self.current_verdict(question, now)
        self.schedule.record_request(now, healthy=verdict.healthy)
        self._reschedule()
        if verdict.is_expired:
            self._log_expired(verdict)
        self._log_short_periods()
        return verdict

    def current_verdict(self, question: Question, now: float) -> Verdict:
        """Return the answer to a question without recording a request."""
        return judge(question, self.last, now=now, valid_until=self.schedule.valid_until)

    def disconnected(self) -> bool:
        """Record that the driver closed the held connection.

        Return whether that starts a Probe, see `Schedule.disconnected`.
        """
        starts_probe = self.schedule.disconnected(trio.current_time())
        self._reschedule()
        return starts_probe

    def recreated(self) -> None:
        """Record that the driver's socket is another one than at the last Probe's start."""
        self.schedule.recreated(trio.current_time())
        self._reschedule()

    def _reschedule(self) -> None:
        self._wait.deadline = self.schedule.due  # no effect while a Probe is in flight

    def _was_stalled(self, result: ProbeResult) -> bool:
        """Return whether a Probe timed out while this process, or its thread, did not run."""
        late = result.latency - self._probe_timeout
        return result.status is ProbeStatus.TIMED_OUT and late > LATENESS

    def _log_expired(self, verdict: Verdict) -> None:
        if self._logged_expired is not self.last:  # one line for each expired result
            self._logged_expired = self.last
            log.error("Health check failed", err=verdict.reason, state="unknown")

    def _log_short_periods(self) -> None:
        for caller in self.schedule.callers:
            period = caller.period
            is_short = caller.is_confirmed and period < self._probe_timeout
            if is_short and period not in self._logged_periods:
                self._logged_periods.add(period)  # each once: a person's requests may be the first
                timeout = f"{self._probe_timeout:g}s"
                log.info(SHORT_PERIOD, period=f"{period}s", probe_timeout=timeout)

    def _count_missed_deadline(self, result: ProbeResult) -> None:
        if self.last is not None and result.finished_at > self.schedule.valid_until:
            self.missed_deadlines += 1
            log.warning(
                "No Probe finished for long: livenessprobe was stopped or starved of CPU, or could "
                "not end a Probe",
                lasted=f"{result.finished_at - self.last.finished_at:.3f}s",
            )
