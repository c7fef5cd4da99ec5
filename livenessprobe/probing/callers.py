"""Detects regular callers in the times of requests, and predicts the next request of each.

There is no clock and no IO: times are arguments, in seconds on one monotonic clock. A kubelet sends
the requests of a probe at a period of whole seconds. Nothing in a request says to which probe it
belongs, so only the times are used. A caller with a period of 10 s, for example:

    request at 0       unmatched, recorded
    request at 10      unmatched and whole seconds after an unmatched one: a caller with a period of
                       10 s is added, next request expected at 20
    request at 20.4    late, but within the tolerance: the caller is confirmed, next at 30.05
    request at 30      early by less than PRECISION: next at 40
    no request at 40   missed once: next at 50
    no request at 50   missed twice: the caller is removed

Two unmatched requests may be whole seconds apart by chance. A caller that was added because of them
is removed when its first expected request does not arrive. A request that several confirmed callers
expect counts for the one with the shortest period, and as missed for the others. This removes the
multiples of a real period. Requests within PRECISION of each other count as one caller's, since one
Probe serves them all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PRECISION = 0.1
"""Seconds of tolerance: of the gap between two requests, and of a request that is early."""

MAX_LATENESS = 0.5
"""Seconds by which an expected request may be late, at most a fifth of its period.

A kubelet's requests are some milliseconds late, on a starved node some tenths of a second.
"""

MAX_DRIFT = PRECISION / 2
"""Seconds by which a late request moves the expected times of the next ones, at most.

A kubelet keeps its period after a late request; a loop around `sleep 10` drifts with each one.
"""

MAX_PERIOD = 300
"""The longest period in seconds that is detected; the longest one found in manifests is 180."""

MAX_CALLERS = 8
"""More than a pod has. The requests of one more are unexpected, each with a Probe of its own."""

_MAX_UNMATCHED = 8
"""Unmatched requests that are kept; with more, more gaps are whole seconds by chance."""

# A new caller has a confidence of 1. A request adds 1, up to the limit, and a missed request takes
# 2, so that a caller that misses every other request is removed.
_NEW, _MAX_CONFIDENCE, _MISSED = 1, 4, 2


@dataclass(slots=True, kw_only=True)
class Caller:
    """One regular caller: its period, its last request and its next expected one, in seconds."""

    period: int
    last: float
    expected: float
    _confidence: int = _NEW

    @property
    def is_confirmed(self) -> bool:
        """Whether a request has arrived when expected, and few were missed since."""
        return self._confidence > _NEW

    @property
    def is_gone(self) -> bool:
        """Whether too many of its requests were missed."""
        return self._confidence <= 0

    def expects(self, now: float) -> bool:
        """Return whether a request at this time is the expected one."""
        return -PRECISION <= now - self.expected <= min(MAX_LATENESS, self.period / 5)

    def record(self, now: float) -> None:
        """Record the expected request, and expect the next one."""
        self.last = now
        self.expected += self.period + min(now - self.expected, MAX_DRIFT)
        self._confidence = min(self._confidence + 1, _MAX_CONFIDENCE)

    def skip_missed(self, now: float) -> None:
        """Count the requests that are too late as missed, and expect the first that is not."""
        while now > self.expected and not self.expects(now) and not self.is_gone:
            self.expected += self.period
            self._confidence -= _MISSED

    def explains(self, earlier: float) -> bool:
        """Return whether a request at this earlier time fits the caller's period and phase."""
        return (earlier - self.expected + PRECISION) % self.period <= 2 * PRECISION


class Callers:
    """The regular callers that the requests recorded so far show."""

    def __init__(self) -> None:
        self._callers: list[Caller] = []
        self._unmatched: deque[float] = deque(maxlen=_MAX_UNMATCHED)

    def __iter__(self) -> Iterator[Caller]:
        """Yield the callers that were there at the last `remove_missing`."""
        return iter(self._callers)

    def remove_missing(self, now: float) -> None:
        """Remove the callers that have stopped sending requests."""
        for caller in self._callers:
            caller.skip_missed(now)
        self._callers = [caller for caller in self._callers if not caller.is_gone]

    def record_request(self, now: float) -> bool:
        """Record one request; return whether a known caller was expected to send it."""
        self.remove_missing(now)
        if self.matches(now):
            return True
        expecting = [caller for caller in self._callers if caller.expects(now)]
        confirmed = [caller for caller in expecting if caller.is_confirmed]
        if confirmed:
            min(confirmed, key=lambda caller: caller.period).record(now)
        else:
            for caller in expecting:
                caller.record(now)
        if not expecting and (not self._unmatched or now - self._unmatched[-1] > PRECISION):
            self._record_unmatched(now)
        return bool(expecting)

    def matches(self, now: float) -> bool:
        """Return whether a request is the last one of a known caller, or arrived together with it.

        `now` is the time of the latest request.
        """
        return any(now - caller.last <= PRECISION for caller in self._callers)

    def _record_unmatched(self, now: float) -> None:
        for earlier in self._unmatched:
            period = round(now - earlier)
            if (
                1 <= period <= MAX_PERIOD
                and abs(now - earlier - period) <= PRECISION
                and not any(c.is_confirmed and c.explains(earlier) for c in self._callers)
            ):
                self._add(Caller(period=period, last=now, expected=now + period))
        self._unmatched.append(now)

    def _add(self, caller: Caller) -> None:
        self._callers.append(caller)
        if len(self._callers) > MAX_CALLERS:
            # The one whose next request, or its absence, would take longest to show.
            unconfirmed = (caller for caller in self._callers if not caller.is_confirmed)
            self._callers.remove(max(unconfirmed, key=lambda caller: caller.expected))
