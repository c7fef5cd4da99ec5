"""Quantiles, histograms, and the file that keeps them."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.readings import Machine, Reading, Results, histogram, machine, quantile

QUIET = Machine(cores=2, python="3.11.7", kernel="6.1", processor="one", load=0.5, time="now")


@pytest.mark.parametrize(
    ("latencies", "of", "expected"),
    [
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 102)], 0.99, 100.0),
        ([float(n) for n in range(1, 6)], 0.99, 5.0),
    ],
)
def test_a_quantile_is_one_of_the_latencies(
    latencies: list[float], of: float, expected: float
) -> None:
    assert quantile(latencies, of) == expected


def test_a_histogram_keeps_three_digits() -> None:
    assert histogram([0.0123449, 0.0123, 3.001, 0.000_001]) == {1: 1, 12300: 2, 3_000_000: 1}


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    readings = [
        Reading(group="g", row="a", program="here", values={"ms": 1.5}, latencies={1500: 3}),
        Reading(group="g", row="b", program="go", values={"ms": 2.0}, checks={"cores": 0.1}),
    ]
    results = Results(machine=QUIET, readings=readings)
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_a_machine_says_whether_others_ran_on_it() -> None:
    assert "TOO MUCH" not in str(QUIET)
    assert "load average before the start 0.51, TOO MUCH" in str(replace(QUIET, load=0.51))


def test_this_machine_is_described() -> None:
    here = machine()
    assert here.cores >= 1
    assert here.processor
