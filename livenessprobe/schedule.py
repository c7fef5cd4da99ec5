"""When the next Probe starts, and until when the last result counts.

No clock, no IO: times are arguments, in seconds on one monotonic clock. The schedule is told what
happens and always has one time at which the next Probe is `due`, the earliest that anything asks
for:

    at a fixed interval   one interval after the last Probe began
    auto, callers known   just before their next requests, see `_windows`
    auto, nobody known    `IDLE` after the last Probe began, or once somebody asks

and in both modes

    a failing answer was given    now: no other caller shall get the same failure a second later
    the driver is not healthy     a timeout and `SPACING` after the last Probe began, at the latest,
                                  if somebody asks who is not known: they shall see its recovery
    the driver was unreachable    `SPACING` after the last Probe began, it costs the driver nothing
    the driver hung up            now: its process may have died
    the socket is another one     now: so is the driver

Nobody's requests make a Probe begin sooner than `SPACING`, or the interval if that is shorter,
after the one before, nor do new sockets after a Probe of a new socket.

A Probe that is due and not begun stays due, whatever else happens. So the result before it ends
to count at a time that nothing can put off: when this Probe ought to have ended.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil, floor, inf
from typing import TYPE_CHECKING

from livenessprobe.callers import TOLERANCE, Callers
from livenessprobe.result import REACHED, ProbeResult, ProbeStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACING = 1.0
"""Seconds from one Probe's start to the next, at least, however many requests there are.

Also the age at which a failure is too old for a second answer, as kubelet's periods are whole
seconds.
"""

IDLE = 10.0
"""Seconds from one Probe to the next while nobody asks: fresh enough for metrics."""

SLACK = 2.0
"""Seconds that a Probe may be late by on a starved machine before its prober counts as stuck.

Less would turn a node's CPU shortage into a restart of its storage driver.
"""

QUICK = 0.05
"""Seconds; a driver whose Probe usually takes less can be asked right before a request."""

MARGIN = 0.5
"""Seconds that a slow driver has at least to answer before a request."""

REST = 1200.0
"""Seconds for which a hang-up says nothing after one of a driver that turned out to live.

A driver that closes idle connections by habit pays for it with one Probe in that time.
"""

JUST_BEFORE = 0.25
"""Seconds before a request at which a quick driver is asked for it; five times what it needs."""

LAST_MOMENT = 0.1
"""Seconds before a request in which not even a quick driver's answer may come in time."""

_ALIVE = {ProbeStatus.READY, ProbeStatus.NOT_READY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a Probe serves a coming request: seconds before it, `earliest` > `best` >= `latest`.

    One that began at `earliest` or after it will do. Otherwise `best` is the time to begin, and
    `latest` the last moment at which that is still worth while.
    """

    earliest: float
    best: float
    latest: float


class Schedule:
    """The schedule, from `now` on; seconds all of them, and `interval` is None for auto."""

    def __init__(self, *, interval: float | None, probe_timeout: float, now: float) -> None:
        self.callers = Callers()
        self.due = now
        """When the next Probe starts; if one is in flight, when that one had to."""
        self.interval: float | None = None
        """Seconds from the start of the Probe before to `due`; None for the first."""
        self.in_flight = False
        """Whether a Probe has begun and not ended."""
        self.follows_callers = interval is None
        self.probe_timeout = probe_timeout
        self._interval = interval
        self._spacing = SPACING if interval is None else min(SPACING, interval)
        self._began_at = now
        self._last: ProbeResult | None = None
        self._latencies: deque[float] = deque(maxlen=5)
        self._wanted_at: float | None = None  # what has happened since asks for a Probe then
        self._stranger_waits = False
        self._hung_up = False
        self._rests_until = now
        self._recreated = False
        self._met_at = -inf  # when the last Probe of a driver with another socket began

    @property
    def valid_until(self) -> float:
        """The time at which the last result ends to count, because the next should be there."""
        return self.due + self.probe_timeout + SLACK

    def began(self, now: float) -> None:
        """Note that the Probe that was due has begun."""
        # Counted from when it was due, so that a timer's lateness does not add up; but only a
        # little, so that after a halt there is no need to catch up.
        self._began_at = max(self.due, now - TOLERANCE)
        self.in_flight = True
        self._wanted_at = None
        if self._recreated:
            self._met_at, self._recreated = now, False

    def finished(self, result: ProbeResult) -> None:
        """Note how the Probe that had begun has ended."""
        self.in_flight = False
        self._last = result
        self._stranger_waits &= not self._is_healthy()
        if result.status in REACHED:
            self._latencies.append(result.latency)
        if self._hung_up and result.status in _ALIVE:
            self._rests_until = result.finished_at + REST
        self._hung_up = False
        self._decide(result.finished_at)

    def came_to_nothing(self) -> None:
        """Note that the Probe that had begun says nothing: it is still due."""
        self.in_flight = False

    def asked(self, now: float, *, healthy: bool) -> None:
        """Note one request and what it was told."""
        came_as_expected = self.callers.asked(now)
        if not came_as_expected and not healthy:
            self._stranger_waits = not self.callers.account_for(now)
        if self.in_flight:
            return
        if not healthy or (self._interval is None and not came_as_expected):
            self._want(max(now, self._began_at + self._spacing), now)
        elif came_as_expected:
            self._plan(now)

    def hung_up(self, now: float) -> None:
        """Note that the driver ended the connection of the last Probe."""
        if not self.in_flight and now >= self._rests_until:
            self._hung_up = True
            self._want(now, now)

    def recreated(self, now: float) -> None:
        """Note that the driver's socket is another one than at the last Probe's start."""
        self._hung_up, self._recreated = False, True
        self._want(max(now, self._met_at + SPACING), now)

    def _want(self, at: float, now: float) -> None:
        if self._wanted_at is None or at < self._wanted_at:
            self._wanted_at = at
            self._plan(now)

    def _plan(self, now: float) -> None:
        if not self.in_flight and self.due > now:
            self._decide(now)

    def _decide(self, now: float) -> None:
        self.callers.go_on_to(now)
        self.due = max(now, min(self._wishes(now)))
        self.interval = self.due - self._began_at

    def _wishes(self, now: float) -> Iterator[float]:
        starts = self._before_requests(now) if self._interval is None else ()
        yield min(starts, default=self._began_at + self._pause())
        if self._stranger_waits:
            yield self._began_at + self._pause()
        if self._last is not None and self._last.status is ProbeStatus.UNREACHABLE:
            yield self._began_at + self._spacing
        if self._wanted_at is not None:
            yield self._wanted_at

    def _pause(self) -> float:
        """Return the time between two Probes for nobody in particular."""
        pause = IDLE if self._interval is None else self._interval
        return pause if self._is_healthy() else min(pause, self.probe_timeout + self._spacing)

    def _before_requests(self, now: float) -> Iterator[float]:
        for caller in self.callers:
            for window in self._windows(caller.period):
                yield self._start_in(window, caller.expected, caller.period, now)

    def _windows(self, period: int) -> Iterator[Window]:
        """Yield when Probes serve a caller, from what the driver is like and does now.

        A result just before the request tells of an error; one that began a timeout before it
        tells that the driver hangs. A quick driver is asked for both. Once it is failing, each
        answer calls for a Probe anyway and hanging is no news: then it is asked just before. A
        slow driver, whose Probe may be costly, is asked once: so that a Probe that hangs has timed
        out when a request comes, or half-way if it would be answered too late for one.
        """
        timeout = self.probe_timeout
        if self._is_quick():
            yield Window(earliest=SPACING, best=JUST_BEFORE, latest=LAST_MOMENT)
            if self._is_healthy():
                best = timeout + JUST_BEFORE
                yield Window(earliest=timeout + SPACING, best=best, latest=timeout)
        else:
            early = (timeout + QUICK) % period
            yield Window(
                earliest=min(timeout + SPACING, period + TOLERANCE),
                best=early if early >= MARGIN else period / 2,
                latest=LAST_MOMENT,
            )

    def _is_healthy(self) -> bool:
        return self._last is None or self._last.status is ProbeStatus.READY

    def _is_quick(self) -> bool:
        usual = sorted(self._latencies)[len(self._latencies) // 2] if self._latencies else 0.0
        return usual < QUICK

    def _start_in(self, window: Window, expected: float, period: int, now: float) -> float:
        """Return when a Probe has to begin for the first request that none serves yet."""
        free_at = max(now, self._began_at + SPACING)
        unserved = floor((self._began_at - (expected - window.earliest)) / period) + 1
        reachable = ceil((free_at - (expected - window.latest)) / period)
        request = expected + max(0, unserved, reachable) * period
        return max(request - window.best, free_at)
