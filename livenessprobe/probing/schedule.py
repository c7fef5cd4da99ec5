"""When the next Probe starts, and until when the last result is valid.

No clock, no IO: times are arguments, in seconds on one monotonic clock. The schedule is told what
happens and always has one time at which the next Probe is `due`, the earliest of

    at a fixed interval    one interval after the last Probe began
    auto, callers known    `probe_timeout + MARGIN` before the next request of each
    auto, none confirmed   `IDLE` after the last Probe began
    an unexpected request  now (auto only)

and, in both modes,

    a failing answer       now: no other caller shall get the same failure a second later
    to an unknown caller   also a timeout and `SPACING` after the last Probe began, until the driver
                           is healthy: that caller shall see its recovery
    driver unreachable     `SPACING` after the last Probe began: it costs the driver nothing
    connection closed      now: the process that held its other end may have died
    socket recreated       now: another driver listens

One expected request is one Probe. It begins so early that a driver that hangs has timed out when
the request comes; with a period of 10 s and a timeout of 3 s:

    requests         0                              10                             20
    Probes begin     |                    6.75      |                    16.75     |
    a hang is known  |                    |--> 9.75 |                    |-> 19.75 |

A Probe that began up to `SPACING` earlier, for another caller's request, serves as well.

No request makes a Probe begin sooner than `SPACING`, or the interval if that is shorter, after the
one before, and no new socket does sooner than `SPACING` after a Probe of another new socket.

A Probe that is due and has not begun stays due, whatever else happens. So nothing puts off the time
at which the result before it expires: when this Probe should have ended.
"""

from __future__ import annotations

from math import floor, inf
from typing import TYPE_CHECKING

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.callers import Callers

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACING = 1.0
"""Seconds from one Probe's start to the next, at least, however many requests there are.

Also the age at which a failure is too old for a second answer, as kubelet's periods are whole
seconds.
"""

IDLE = 10.0
"""Seconds from one Probe to the next while no caller is confirmed: fresh enough for metrics."""

SLACK = 2.0
"""Seconds that a Probe may be late by on a starved machine before its prober counts as stuck.

Less would turn a node's CPU shortage into a restart of its storage driver.
"""

MARGIN = 0.25
"""Seconds between the timeout of a driver that hangs and the request that is to be told of it.

Linux lets a timer be late by a thousandth of its wait, 0.1 s at most; the rest is for the callers'
own jitter and for a busy node.
"""

MAX_CATCH_UP = 0.1
"""Seconds of a timer's lateness that the next Probe makes up for.

So lateness does not add up, and after a halt there is nothing to catch up with.
"""

DISCONNECT_COOLDOWN = 1200.0
"""Seconds for which closed connections are ignored after one of a driver that was still alive.

A driver that closes idle connections by habit pays for it with one Probe in that time.
"""

_ALIVE = {ProbeStatus.READY, ProbeStatus.NOT_READY}


class Schedule:
    """The schedule, from `now` on; all arguments are seconds, and `interval` is None for auto."""

    def __init__(self, *, interval: float | None, probe_timeout: float, now: float) -> None:
        self.callers = Callers()
        self.due = now
        """When the next Probe starts; if one is in flight, when that one should have."""
        self.next_interval: float | None = None
        """Seconds from the start of the last Probe to `due`; None for the first."""
        self.in_flight = False
        """Whether a Probe has begun and not ended."""
        self.fixed_interval = interval
        self.probe_timeout = probe_timeout
        self._spacing = SPACING if interval is None else min(SPACING, interval)
        self._began_at = now
        self._last: ProbeResult | None = None
        self._requested_at: float | None = None  # when an event since the last Probe wants the next
        self._unknown_caller_failed = False
        self._disconnected = False
        self._ignores_disconnects_until = now
        self._recreated = False
        self._recreated_began_at = -inf  # when the last Probe of another socket began

    @property
    def valid_until(self) -> float:
        """The time at which the last result expires, because the next should be there."""
        return self.due + self.probe_timeout + SLACK

    def began(self, now: float) -> None:
        """Record that the Probe that was due has begun."""
        self._began_at = max(self.due, now - MAX_CATCH_UP)
        self.in_flight = True
        self._requested_at = None
        if self._recreated:
            self._recreated_began_at, self._recreated = now, False

    def finished(self, result: ProbeResult) -> None:
        """Record how the Probe that had begun has ended."""
        self.in_flight = False
        self._last = result
        self._unknown_caller_failed &= not self._is_healthy()
        if self._disconnected and result.status in _ALIVE:
            self._ignores_disconnects_until = result.finished_at + DISCONNECT_COOLDOWN
        self._disconnected = False
        self._recompute_due(result.finished_at)

    def discarded(self) -> None:
        """Record that the Probe that had begun has no result: it is still due."""
        self.in_flight = False

    def record_request(self, now: float, *, healthy: bool) -> None:
        """Record one request and whether its answer was that the driver is healthy."""
        expected = self.callers.record_request(now)
        if not expected and not healthy:
            self._unknown_caller_failed = not self.callers.matches(now)
        if self.in_flight:
            return
        if not healthy or (self.fixed_interval is None and not expected):
            self._request_probe(max(now, self._began_at + self._spacing), now)
        else:
            self._recompute_due_if_pending(now)

    def disconnected(self, now: float) -> bool:
        """Record that the driver closed the held connection; return whether that is news."""
        is_news = not self.in_flight and now >= self._ignores_disconnects_until
        if is_news:
            self._disconnected = True
            self._request_probe(now, now)
        return is_news

    def recreated(self, now: float) -> None:
        """Record that the driver's socket is another one than at the last Probe's start."""
        self._disconnected, self._recreated = False, True
        self._request_probe(max(now, self._recreated_began_at + SPACING), now)

    def _request_probe(self, at: float, now: float) -> None:
        if self._requested_at is None or at < self._requested_at:
            self._requested_at = at
            self._recompute_due_if_pending(now)

    def _recompute_due_if_pending(self, now: float) -> None:
        if not self.in_flight and self.due > now:
            self._recompute_due(now)

    def _recompute_due(self, now: float) -> None:
        self.callers.forget_missing(now)
        self.due = max(now, min(self._candidates()))
        self.next_interval = self.due - self._began_at

    def _candidates(self) -> Iterator[float]:
        if self.fixed_interval is None:
            yield from self._before_requests()
        if (
            self.fixed_interval is not None
            or self._unknown_caller_failed
            or not any(caller.is_confirmed for caller in self.callers)
        ):
            yield self._began_at + self._pause()
        if self._last is not None and self._last.status is ProbeStatus.UNREACHABLE:
            yield self._began_at + self._spacing
        if self._requested_at is not None:
            yield self._requested_at

    def _pause(self) -> float:
        """Return the time between two Probes for nobody in particular."""
        pause = IDLE if self.fixed_interval is None else self.fixed_interval
        return pause if self._is_healthy() else min(pause, self.probe_timeout + self._spacing)

    def _before_requests(self) -> Iterator[float]:
        """Yield for each caller when the Probe for its first request without one begins."""
        for caller in self.callers:
            start = caller.expected - self.probe_timeout - MARGIN
            # Starts until then are served by the last Probe.
            served_until = self._began_at + min(SPACING, caller.period / 2)
            served = max(0, floor((served_until - start) / caller.period) + 1)
            yield max(start + served * caller.period, self._began_at + SPACING)

    def _is_healthy(self) -> bool:
        return self._last is None or self._last.status is ProbeStatus.READY
