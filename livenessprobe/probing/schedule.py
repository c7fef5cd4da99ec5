"""Computes when the next Probe starts, and until when the last result is valid.

There is no clock and no IO: times are arguments, in seconds on one monotonic clock. The prober
reports what happens, and the schedule always has one time at which the next Probe is `due`, the
earliest of

    fixed interval            one interval after the last Probe began
    auto, regular callers     `probe_timeout + MARGIN` before the next request of each
    auto, none confirmed      `IDLE` after the last Probe began
    auto, unexpected request  now

and, in both modes,

    unhealthy answer          now, so that no other caller gets the same failure a second later
    to an unknown caller      also a timeout and `SPACING` after the last Probe began, until the
                              driver is healthy, so that this caller sees the recovery
    driver unreachable        `SPACING` after the last Probe began: this costs the driver nothing
    connection closed         now: the process that held its other end may have died
    socket recreated          now: another process listens

Each expected request has one Probe. It begins so early that the timeout of a driver that hangs is
over when the request arrives. With a period of 10 s and a timeout of 3 s:

    requests            0                              10                             20
    Probes begin        |                    6.75      |                    16.75     |
    a hang is detected  |                    |--> 9.75 |                    |-> 19.75 |

A Probe that began up to `SPACING` earlier, for another caller's request, serves this one too.

No request starts a Probe sooner than `SPACING` after the start of the one before, or than the
interval if that is shorter. No new socket starts one sooner than `SPACING` after the start of the
Probe for the previous new socket.

A Probe that is due and has not begun stays due, whatever happens. `valid_until` depends only on
`due`, so no event extends the validity of an old result.
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

A request that arrives this long after an unhealthy answer, or later, gets a newer result: the
period of a kubelet is whole seconds.
"""

IDLE = 10.0
"""Seconds from one Probe's start to the next while no caller is confirmed, for the metrics."""

SLACK = 2.0
"""Seconds by which a Probe may end late on a starved machine before the last result expires.

With less, a node's lack of CPU would restart its storage driver.
"""

MARGIN = 0.25
"""Seconds from the end of a timeout to the request that it is expected before.

Linux may fire a timer late by a thousandth of its wait, at most 0.1 s; the rest is for the jitter
of callers and for a busy node.
"""

MAX_CATCH_UP = 0.1
"""Seconds of a timer's lateness that the next Probe makes up for, at most.

So lateness does not add up, and a long stall is not followed by a Probe that comes early.
"""

DISCONNECT_COOLDOWN = 1200.0
"""Seconds for which closed connections start no Probe after one of a driver that was still alive.

A driver that closes idle connections regularly gets one extra Probe in that time.
"""

_ALIVE = {ProbeStatus.READY, ProbeStatus.NOT_READY}


class Schedule:
    """The times of Probes from `now` on; arguments are in seconds, `interval` is None for auto."""

    def __init__(self, *, interval: float | None, probe_timeout: float, now: float) -> None:
        self.callers = Callers()
        self.due = now
        """When the next Probe starts; while one is in flight, when that one was due."""
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
        """The time at which the last result expires, because the next one is overdue."""
        return self.due + self.probe_timeout + SLACK

    def began(self, now: float) -> None:
        """Record that the Probe that was due has begun."""
        self._began_at = max(self.due, now - MAX_CATCH_UP)
        self.in_flight = True
        self._requested_at = None
        if self._recreated:
            self._recreated_began_at, self._recreated = now, False

    def finished(self, result: ProbeResult) -> None:
        """Record the result of the Probe in flight."""
        self.in_flight = False
        self._last = result
        self._unknown_caller_failed &= not self._is_healthy()
        if self._disconnected and result.status in _ALIVE:
            self._ignores_disconnects_until = result.finished_at + DISCONNECT_COOLDOWN
        self._disconnected = False
        self._recompute_due(result.finished_at)

    def discarded(self) -> None:
        """Record that the Probe in flight ended without a result: it is still due."""
        self.in_flight = False

    def record_request(self, now: float, *, healthy: bool) -> None:
        """Record one request, and whether it was answered with healthy."""
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
        """Record that the driver closed the held connection.

        Return whether that starts a Probe: not while one is in flight, and not in the cooldown.
        """
        starts_probe = not self.in_flight and now >= self._ignores_disconnects_until
        if starts_probe:
            self._disconnected = True
            self._request_probe(now, now)
        return starts_probe

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
        self.callers.remove_missing(now)
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
            yield self._began_at + self._gap()
        if self._last is not None and self._last.status is ProbeStatus.UNREACHABLE:
            yield self._began_at + self._spacing
        if self._requested_at is not None:
            yield self._requested_at

    def _gap(self) -> float:
        """Return the seconds between the starts of two Probes that no request needs."""
        gap = IDLE if self.fixed_interval is None else self.fixed_interval
        return gap if self._is_healthy() else min(gap, self.probe_timeout + self._spacing)

    def _before_requests(self) -> Iterator[float]:
        """Yield, for each caller, the start of the Probe for the first request that needs one."""
        for caller in self.callers:
            start = caller.expected - self.probe_timeout - MARGIN
            # A request whose Probe would start before this time is served by the last Probe.
            served_until = self._began_at + min(SPACING, caller.period / 2)
            served = max(0, floor((served_until - start) / caller.period) + 1)
            yield max(start + served * caller.period, self._began_at + SPACING)

    def _is_healthy(self) -> bool:
        return self._last is None or self._last.status is ProbeStatus.READY
