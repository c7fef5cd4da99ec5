"""Checks the output of `python -m tests.simulation` for two settings."""

from xml.etree import ElementTree as ET

import pytest

from tests.simulation.measures import Outcomes, play
from tests.simulation.picture import COLOURS, picture
from tests.simulation.policies import Policy
from tests.simulation.scripts import Fault
from tests.simulation.settings import setting
from tests.simulation.table import table


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return play({setting(2, 3, 5, 10): 3, setting(2, 1, 3, 0): 1}, phases=2)


def test_the_table_has_a_value_for_every_measure_and_policy(outcomes: Outcomes) -> None:
    _, _, *rows = (line.strip("| ").split(" | ") for line in table(outcomes))
    assert [len(row) for row in rows] == [1 + len(Policy)] * len(rows)
    by_name = {name: cells for name, *cells in rows}
    assert by_name["Probes per request"][-1] == "1.0"
    assert by_name["it hangs"][-1] == "+0.0"


def test_the_picture_is_an_svg_with_a_bar_for_every_value(outcomes: Outcomes) -> None:
    root = ET.fromstring(picture(outcomes))  # noqa: S314 - our own
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    # One of each colour in the legend, for each fault, and for the Probes.
    assert len(bars) == len(COLOURS) * (1 + len(Fault) + 1)


def test_the_same_runs_have_the_same_outcomes(outcomes: Outcomes) -> None:
    again = play({setting(2, 3, 5, 10): 3, setting(2, 1, 3, 0): 1}, phases=2)
    assert list(table(again)) == list(table(outcomes))
