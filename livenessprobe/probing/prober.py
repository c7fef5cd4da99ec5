"""The one task that asks whether the driver is healthy: wait for the schedule, Probe, publish.

It is the only writer of results. Probes follow one another in this one task, so there is never
more than one in flight, and each ends by its deadline, so there is always a next one. The wait for
the next is a cancel scope whose deadline is the schedule's `due`. Requests and events that move it
are plain calls, made while the task waits.
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
"""Seconds by which a Probe may outlast its deadline on a busy machine.

One that takes longer was not ended by the driver's silence but by a halt of our own, in which the
answer may have come. It says nothing about the driver.
"""

HALTED = (
    "A Probe outlasted its deadline, it says nothing of the driver: livenessprobe was stopped or "
    "starved of CPU"
)

SHORT_PERIOD = (
    "A caller's period is shorter than --probe-timeout. Answers take no time here, so a driver "
    "that is away is restarted after failureThreshold periods, not after as many timeouts; if it "
    "needs longer to come back, raise failureThreshold"
)

log = klog.get_logger(__name__)


class Prober:
    """The last result of the calls to `probe`; each goes to `publish` too.

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
        """How often there was no new result when there should have been one."""
        self.schedule = Schedule(
            interval=interval, probe_timeout=probe_timeout, now=trio.current_time()
        )
        self._probe = probe
        self._publish = publish
        self._probe_timeout = probe_timeout
        self._wait = trio.CancelScope()
        self._logged_expired: ProbeResult | None = None
        self._logged_short_period = False

    async def run(self) -> None:
        """Probe whenever it is due, until cancelled."""
        while True:
            waited_from = trio.current_time()
            with trio.CancelScope(deadline=self.schedule.due) as self._wait:
                await trio.sleep_forever()
            now = trio.current_time()
            self.lag = now - max(self.schedule.due, waited_from)
            self.schedule.began(now)
            result = await probe_once(self._probe, self._probe_timeout)
            if self._was_halted(result):
                log.warning(HALTED, lasted=f"{result.latency:.3f}s")
                self.schedule.discarded()
                continue
            self._note_delay(result)
            self.schedule.finished(result)
            self.last = result
            self._publish(result)

    def handle_request(self, question: Question) -> Verdict:
        """Answer one caller's question, and let the schedule learn from it."""
        now = trio.current_time()
        verdict = self.current_verdict(question, now)
        self.schedule.record_request(now, healthy=verdict.healthy)
        self._reschedule()
        if verdict.is_expired:
            self._log_expired(verdict)
        if not self._logged_short_period:
            self._log_short_period()
        return verdict

    def current_verdict(self, question: Question, now: float) -> Verdict:
        """Return the answer to a question without recording a request."""
        return judge(question, self.last, now=now, valid_until=self.schedule.valid_until)

    def disconnected(self) -> bool:
        """Record that the driver closed the held connection; return whether that is news."""
        is_news = self.schedule.disconnected(trio.current_time())
        self._reschedule()
        return is_news

    def recreated(self) -> None:
        """Record that the driver's socket is another one than at the last Probe's start."""
        self.schedule.recreated(trio.current_time())
        self._reschedule()

    def _reschedule(self) -> None:
        self._wait.deadline = self.schedule.due  # if a Probe is in flight, nobody waits

    def _was_halted(self, result: ProbeResult) -> bool:
        """Return whether a Probe timed out because this process, or its thread, did not run."""
        late = result.latency - self._probe_timeout
        return result.status is ProbeStatus.TIMED_OUT and late > LATENESS

    def _log_expired(self, verdict: Verdict) -> None:
        if self._logged_expired is not self.last:  # once is enough: the reason does not change
            self._logged_expired = self.last
            log.error("Health check failed", err=verdict.reason, state="unknown")

    def _log_short_period(self) -> None:
        for caller in self.schedule.callers:
            if caller.is_confirmed and caller.period < self._probe_timeout:
                self._logged_short_period = True
                log.info(
                    SHORT_PERIOD,
                    period=f"{caller.period}s",
                    probe_timeout=f"{self._probe_timeout:g}s",
                )
                return

    def _note_delay(self, result: ProbeResult) -> None:
        if self.last is not None and result.finished_at > self.schedule.valid_until:
            self.missed_deadlines += 1
            log.warning(
                "No Probe finished for long: livenessprobe was stopped or starved of CPU, or could "
                "not end a Probe",
                lasted=f"{result.finished_at - self.last.finished_at:.3f}s",
            )
