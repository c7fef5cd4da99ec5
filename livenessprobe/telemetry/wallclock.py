"""Converts times on trio's clock to wall-clock time, for display and for Prometheus."""

import time

import trio

STEP = 1.0
"""Seconds by which the wall clock must have moved before the offset changes.

Below that the offset is constant, since Prometheus takes a changed timestamp for a new event.
"""


class WallClock:
    """The offset from trio's clock to seconds since the epoch."""

    def __init__(self) -> None:
        self._offset = _offset()

    @property
    def offset(self) -> float:
        """Seconds to add to a time on trio's clock; changes only when the wall clock is set."""
        offset = _offset()
        if abs(offset - self._offset) > STEP:
            self._offset = offset
        return self._offset


def _offset() -> float:
    return time.time() - trio.current_time()
