"""The one task that asks whether the driver is healthy: wait for the schedule, Probe, publish.

It is the only writer of results. Probes follow one another in this one task, so there is never
more than one in flight, and each ends by its deadline, so there is always a next one. The wait
for the next is a cancel scope, whose deadline follows the schedule's; whatever moves that one, a
request or an event, is told to the prober in a plain call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe import health, klog
from livenessprobe.deadline import call_within
from livenessprobe.errors import (
    DeadlineExceededError,
    DriverError,
    DriverUnreachableError,
    RPCError,
)
from livenessprobe.result import ProbeResult, ProbeStatus
from livenessprobe.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from livenessprobe.health import Question, Verdict

    Probe = Callable[[float], Awaitable[bool]]
    """Asks the driver, told its deadline in seconds, whether it is ready; raises `DriverError`."""

NOT_READY = "driver responded but is not ready"

log = klog.get_logger(__name__)

_STATUS_BY_ERROR: dict[type[DriverError], ProbeStatus] = {
    DriverUnreachableError: ProbeStatus.UNREACHABLE,
    DeadlineExceededError: ProbeStatus.TIMED_OUT,
    RPCError: ProbeStatus.FAILED,
}


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
        self.schedule = Schedule(
            interval=interval, probe_timeout=probe_timeout, now=trio.current_time()
        )
        self._probe = probe
        self._publish = publish
        self._probe_timeout = probe_timeout
        self._wait = trio.CancelScope()

    async def run(self) -> None:
        """Probe whenever it is due, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self.schedule.due) as self._wait:
                await trio.sleep_forever()
            self.schedule.began(trio.current_time())
            result = await probe_once(self._probe, self._probe_timeout)
            self._log_delay(result)
            self.schedule.finished(result)
            self.last = result
            self._publish(result)

    def ask(self, question: Question) -> Verdict:
        """Answer one caller's question."""
        now = trio.current_time()
        verdict = health.judge(question, self.last, now=now, valid_until=self.schedule.valid_until)
        self.schedule.asked(now, healthy=verdict.healthy)
        self._wait.deadline = self.schedule.due
        return verdict

    def hung_up(self) -> None:
        """Learn that the driver has ended the connection of the last Probe."""
        self.schedule.hung_up(trio.current_time())
        self._wait.deadline = self.schedule.due

    def recreated(self) -> None:
        """Learn that the driver's socket is another one than at the last Probe's start."""
        self.schedule.recreated(trio.current_time())
        self._wait.deadline = self.schedule.due

    def _log_delay(self, result: ProbeResult) -> None:
        if self.last is not None and result.finished_at > self.schedule.valid_until:
            log.warning(
                "No Probe finished for long: livenessprobe was stopped or starved of CPU",
                lasted=f"{result.finished_at - self.last.finished_at:.3f}s",
            )


async def probe_once(probe: Probe, probe_timeout: float) -> ProbeResult:
    """Run one Probe. Whatever the driver does, it has its result in `probe_timeout` seconds."""
    started_at = trio.current_time()
    status, message = ProbeStatus.READY, ""
    grpc_status: str | None = "OK"
    try:
        if not await call_within(probe_timeout, probe):
            status, message = ProbeStatus.NOT_READY, NOT_READY
    except DriverError as error:
        status, message = _STATUS_BY_ERROR[type(error)], str(error)
        grpc_status = error.grpc_status
    finished_at = trio.current_time()
    return ProbeResult(
        status=status,
        message=message,
        grpc_status=grpc_status,
        latency=finished_at - started_at,
        finished_at=finished_at,
    )
