"""Checks the longest recovery against values computed by hand."""

from tests.simulation.recovery import table
from tests.simulation.settings import setting

TWO = setting(2, 3, 5, 0)
"""Five failures in 2, 4, 6 and 8 s after the first; the reference's take 3 s each, so 15 s."""

TEN = setting(10, 3, 3, 10)
"""The first is at 10 s at the earliest, so the third at 30 s; the reference's ends 3 s later."""


def test_the_longest_recovery_that_is_not_restarted_again() -> None:
    _, _, *rows = table([TWO, TEN])
    assert rows == ["| 2 / 3 / 5 / 0 / 3 | 8 | 15 |", "| 10 / 3 / 3 / 10 / 3 | 30 | 33 |"]
