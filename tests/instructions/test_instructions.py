"""The program takes no more instructions than before, and no fewer: then there is a gain to record.

The same tree has the same numbers within one in a hundred. The rest of the tolerance is for another
C library, and for small changes that add up before they are worth a look.
"""

import pytest

from tests.instructions.expected import RECORD, expected
from tests.instructions.measure import Instructions, measure

TOLERANCE = 0.15


@pytest.fixture(scope="module")
def counted() -> Instructions:
    expected()  # to say at once if there are none
    return measure()


@pytest.mark.parametrize("what", ["start", "request", "probe"])
def test_it_takes_as_many_instructions_as_recorded(counted: Instructions, what: str) -> None:
    now, recorded = getattr(counted, what), getattr(expected(), what)
    assert abs(now / recorded - 1) <= TOLERANCE, (
        f"{what}: {now:,} instructions with Python {counted.python}, {now / recorded:.2f} times "
        f"the {recorded:,} recorded with {expected().python}; if that is as it should be, "
        f"record it with `{RECORD}`"
    )
