"""From trio's clock to the wall clock, for people and Prometheus."""

import time

import trio

STEP = 1.0
"""Seconds by which the wall clock has to differ before it counts as set anew.

Until then one moment has one time, whenever it is told: a timestamp that trembled would look to
Prometheus like something that happened.
"""


class WallClock:
    """What to add to a time on trio's clock to have it in seconds since the epoch."""

    def __init__(self) -> None:
        self._offset = _offset()

    @property
    def offset(self) -> float:
        """In seconds; it changes only when somebody sets the wall clock."""
        offset = _offset()
        if abs(offset - self._offset) > STEP:
            self._offset = offset
        return self._offset


def _offset() -> float:
    return time.time() - trio.current_time()
