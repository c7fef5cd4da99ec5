"""The picture of the ratios."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import answers, memory, start, traffic
from tests.benchmarks.picture import FIGURES, RATE, Axis, picture
from tests.benchmarks.readings import Machine, Reading, Results
from tests.simulation.picture import WIDTH

MACHINE = Machine(cores=2, python="3.11.7", kernel="6.1", processor="one", load=0.1, time="now")
SVG = "{http://www.w3.org/2000/svg}"


def results(*programs: str) -> Results:
    """A tenth of the second's for the first, and so on, of everything."""
    values: dict[tuple[str, str], list[str]] = {}
    for figure in FIGURES:
        values.setdefault((figure.group, figure.row), []).append(figure.value)
    readings = [
        Reading(group=group, row=row, program=program, values=dict.fromkeys(names, 10.0**place))
        for (group, row), names in values.items()
        for place, program in enumerate(programs)
    ]
    return Results(machine=MACHINE, readings=readings)


def test_every_figure_is_one_that_is_measured() -> None:
    rows = {family.GROUP: set(family.ROWS) for family in (answers, start, memory, traffic)}
    assert {figure.group for figure in FIGURES} <= rows.keys()
    assert all(figure.row in rows[figure.group] for figure in FIGURES)


def test_it_has_a_bar_for_every_figure_and_peer() -> None:
    root = ET.fromstring(picture(results("here", "go", "<a & b>")))  # noqa: S314 - our own
    bars = root.findall(f"{SVG}rect")
    assert len(bars) == 2 * (1 + len(FIGURES))  # the legend has one, too
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert texts[:2] == ["here : go", "here : <a & b>"]
    # Fewer requests per second are shown as more time for as many.
    rates = sum(figure.value == RATE for figure in FIGURES)
    assert [texts.count("0.1"), texts.count("0.01")] == [len(FIGURES) - rates] * 2
    assert [texts.count("10"), texts.count("100")] == [rates] * 2


def test_what_was_not_measured_is_not_in_it() -> None:
    readings = results("here", "go").readings
    started = [reading for reading in readings if reading.group == start.GROUP]
    root = ET.fromstring(picture(Results(machine=MACHINE, readings=started)))  # noqa: S314 - our own
    assert len(root.findall(f"{SVG}rect")) == 2
    assert ET.fromstring(picture(results("here"))).findall(f"{SVG}rect") == []  # noqa: S314 - our own


def test_it_says_when_others_ran() -> None:
    run = results("here", "go")
    loaded = Results(machine=replace(MACHINE, load=3.0), readings=run.readings)
    assert "others ran" in picture(loaded)
    assert "others ran" not in picture(run)


@pytest.mark.parametrize("ratios", [[], [0.0], [0.2, 30.0], [1.0], [5.0]])
def test_the_axis_has_room_for_every_ratio(ratios: list[float]) -> None:
    axis = Axis(ratios)
    assert all(0 < axis.x(ratio) < WIDTH for ratio in (1.0, *ratios))
    assert axis.x(0.5) < axis.x(1.0) < axis.x(2.0)
