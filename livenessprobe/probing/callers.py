"""Who asks, and when each asks next: learned from the times of requests.

No clock, no IO: times are arguments, in seconds on one monotonic clock. A kubelet asks at a period
of whole seconds, and nothing in a request says which of its probes it belongs to, so only times
count. With a period of 10 s, from the first request on:

    0     unmatched: remembered
    10    unmatched, and whole seconds after an unmatched one: a caller, expected at 20
    20.4  late, and still the expected one: confirmed, and the next expected at 30.05
    30    early by less than PRECISION: expected at 40
    40    not there: forgiven once, expected at 50
    50    not there again: forgotten

Two unmatched requests may be whole seconds apart by chance. A caller learned from them is forgotten
when its first request does not come. Of the confirmed callers that expect a request, the one with
the shortest period has it; to the others it did not come. So a period that does not exist is
forgotten, even a multiple of one that does. Requests that come together are one caller's, since one
Probe serves them all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PRECISION = 0.1
"""Seconds by which two requests may miss whole seconds, and by which one may be early."""

MAX_LATENESS = 0.5
"""Seconds by which a request may be late, a fifth of its period at most.

A kubelet's is some milliseconds late, and tenths of a second on a starved node.
"""

MAX_DRIFT = PRECISION / 2
"""Seconds by which one late request puts off those that follow.

A kubelet's next request is in time again, but a loop around `sleep 10` is late each time.
"""

MAX_PERIOD = 300
"""Seconds; the longest that manifests have is 180."""

MAX_CALLERS = 8
"""A pod has a few; a request of one more is unexpected, and gets a Probe of its own."""

_MAX_UNMATCHED = 8
"""Requests to learn from; more would only find more periods that do not exist."""

# A caller is learned with a confidence of 1. A request adds 1, up to the limit, and one that does
# not come takes 2, so that a caller that comes half of the time is forgotten.
_LEARNED, _MAX_CONFIDENCE, _MISSED = 1, 4, 2


@dataclass(slots=True, kw_only=True)
class Caller:
    """One regular caller: its period, its last request and its next, in seconds."""

    period: int
    last: float
    expected: float
    _confidence: int = _LEARNED

    @property
    def is_confirmed(self) -> bool:
        """Whether a request has come when it was expected, and not many were missed since."""
        return self._confidence > _LEARNED

    @property
    def is_forgotten(self) -> bool:
        """Whether too many of its requests were missed."""
        return self._confidence <= 0

    def expects(self, now: float) -> bool:
        """Return whether a request is the next one."""
        return -PRECISION <= now - self.expected <= min(MAX_LATENESS, self.period / 5)

    def record(self, now: float) -> None:
        """Go on from the expected request."""
        self.last = now
        self.expected += self.period + min(now - self.expected, MAX_DRIFT)
        self._confidence = min(self._confidence + 1, _MAX_CONFIDENCE)

    def skip_missed(self, now: float) -> None:
        """Give up the requests that did not come, until one that can still come."""
        while now > self.expected and not self.expects(now) and not self.is_forgotten:
            self.expected += self.period
            self._confidence -= _MISSED

    def explains(self, earlier: float) -> bool:
        """Return whether an earlier request was one of its own."""
        return (earlier - self.expected + PRECISION) % self.period <= 2 * PRECISION


class Callers:
    """The regular callers, learned from every request."""

    def __init__(self) -> None:
        self._callers: list[Caller] = []
        self._unmatched: deque[float] = deque(maxlen=_MAX_UNMATCHED)

    def __iter__(self) -> Iterator[Caller]:
        """Yield the callers that were known at the last `forget_missing`."""
        return iter(self._callers)

    def forget_missing(self, now: float) -> None:
        """Forget the callers that do not come any more."""
        for caller in self._callers:
            caller.skip_missed(now)
        self._callers = [caller for caller in self._callers if not caller.is_forgotten]

    def record_request(self, now: float) -> bool:
        """Learn from one request; return whether a known caller accounts for it."""
        self.forget_missing(now)
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
            self._learn(now)
        return bool(expecting)

    def matches(self, now: float) -> bool:
        """Return whether a request is, or came along with, the last one of a known caller."""
        return any(now - caller.last <= PRECISION for caller in self._callers)

    def _learn(self, now: float) -> None:
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
            # The one that would take longest to prove wrong.
            unconfirmed = (caller for caller in self._callers if not caller.is_confirmed)
            self._callers.remove(max(unconfirmed, key=lambda caller: caller.expected))
