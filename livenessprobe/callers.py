"""Who asks, and when they will ask again: from the times of requests to expected ones.

No clock, no IO: times are arguments, in seconds on one monotonic clock. A kubelet asks at a
period of whole seconds, and nothing in a request tells which of its probes it is, so only times
count:

    stray, stray, stray, each one period after the other -> a caller, whose next request is expected
    a request where one is expected                      -> the caller goes on from there
    two strays, one known period apart                   -> that caller at a new phase
    two expected requests in a row that do not come      -> the caller is forgotten

Probes of one period and phase count as one caller, since one Probe serves them all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE = 0.1
"""Seconds by which a request may miss its time.

A kubelet's are some milliseconds off, more on a busy node; two of different callers are rarely as
close as that, and then one Probe serves both.
"""

MAX_PERIOD = 300
"""Seconds; the longest that manifests have is 180."""

MAX_CALLERS = 8
"""A pod has a few; more would be a way to make this module slow."""

_MAX_STRAYS = 32
"""Enough for three requests of each of `MAX_CALLERS` in between each other's."""

# A caller's trust is that of three requests at first. One that comes adds 1 up to the limit, one
# that does not takes 2 away, so that half the requests are not enough to be a caller.
_TRUST, _MAX_TRUST, _MISS = 3, 4, 2


@dataclass(slots=True, kw_only=True)
class Caller:
    """One regular caller: its period and its next request, in seconds."""

    period: int
    expected: float
    _trust: int = _TRUST

    def came(self, now: float) -> None:
        """Go on from a request."""
        self.expected = now + self.period
        self._trust = min(self._trust + 1, _MAX_TRUST)

    @property
    def is_trusted(self) -> bool:
        """Whether its next request can be counted on."""
        return self._trust > 0

    def go_on_to(self, now: float) -> None:
        """Give up the requests that did not come, until one that can still come."""
        while self.is_trusted and now > self.expected + TOLERANCE:
            self.expected += self.period
            self._trust -= _MISS

    def accounts_for(self, now: float) -> bool:
        """Return whether a request is the expected one, or came along with the one before."""
        off = now - self.expected
        return abs(off) <= TOLERANCE or abs(off + self.period) <= TOLERANCE


class Callers:
    """The regular callers, learned from every request."""

    def __init__(self) -> None:
        self._callers: list[Caller] = []
        self._strays: deque[float] = deque(maxlen=_MAX_STRAYS)
        self._periods: deque[int] = deque(maxlen=MAX_CALLERS)  # of all callers ever, newest last

    def __iter__(self) -> Iterator[Caller]:
        """Yield the callers that could be counted on at the last `go_on_to`."""
        return iter(self._callers)

    def go_on_to(self, now: float) -> None:
        """Forget the callers that do not come any more."""
        for caller in self._callers:
            caller.go_on_to(now)
        self._callers = [caller for caller in self._callers if caller.is_trusted]

    def asked(self, now: float) -> bool:
        """Learn from one request; return whether it was expected."""
        self.go_on_to(now)
        accountable = [caller for caller in self._callers if caller.accounts_for(now)]
        for caller in accountable:
            if now >= caller.expected - TOLERANCE:
                caller.came(now)
        if accountable:
            return True
        if not self._strays or now - self._strays[-1] > TOLERANCE:  # a storm teaches nothing
            self._learn(now)
            self._strays.append(now)
        return False

    def account_for(self, now: float) -> bool:
        """Return whether the request that has just been asked was that of a caller known by now."""
        return any(caller.accounts_for(now) for caller in self._callers)

    def _learn(self, now: float) -> None:
        for stray in reversed(self._strays):
            period = round(now - stray)
            if period > MAX_PERIOD or len(self._callers) == MAX_CALLERS:
                return
            if period and _near(now - stray, period) and self._is_plausible(period, stray):
                self._strays.remove(stray)
                self._meet(period, now)
                return

    def _is_plausible(self, period: int, stray: float) -> bool:
        return period in self._periods or any(
            _near(stray - earlier, period) for earlier in self._strays
        )

    def _meet(self, period: int, now: float) -> None:
        if period in self._periods:
            self._periods.remove(period)
        self._periods.append(period)
        self._callers.append(Caller(period=period, expected=now + period))


def _near(gap: float, period: int) -> bool:
    return abs(gap - period) <= TOLERANCE
