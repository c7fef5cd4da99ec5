from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.probing.callers import MAX_CALLERS, MAX_LATENESS, MAX_PERIOD, PRECISION, Callers

KUBELET_JITTER = 0.005


def every(period: float, *, times: int, start: float = 0.0) -> list[float]:
    return [start + number * period for number in range(times)]


def known(callers: Callers, now: float) -> list[int]:
    """Return the periods of the callers, sorted."""
    callers.remove_missing(now)
    return sorted(caller.period for caller in callers)


def expected(callers: Callers, now: float) -> list[float]:
    """Return the times at which the next requests are expected, sorted."""
    callers.remove_missing(now)
    return sorted(caller.expected for caller in callers)


def requests_at(times: Iterable[float]) -> tuple[Callers, list[bool]]:
    """Record requests at these times; return the callers, and whether each request was expected."""
    callers = Callers()
    return callers, [callers.record_request(now) for now in times]


@pytest.mark.parametrize("period", [1, 2, 10, 180, MAX_PERIOD])
def test_the_third_request_of_a_regular_caller_is_expected(period: int) -> None:
    callers, was_expected = requests_at(every(period, times=4, start=7.0))
    assert was_expected == [False, False, True, True]
    assert known(callers, 7.0 + 3 * period) == [period]
    assert expected(callers, 7.0 + 3 * period) == [pytest.approx(7.0 + 4 * period)]


def test_jitter_of_some_milliseconds_is_tolerated_and_does_not_add_up() -> None:
    times = [10.0 * number + KUBELET_JITTER * (-1) ** number for number in range(1000)]
    callers, was_expected = requests_at(times)
    assert was_expected[2:] == [True] * 998
    assert expected(callers, times[-1]) == [pytest.approx(times[-1] + 10, abs=0.02)]


@pytest.mark.parametrize("period", [1.02, 10.04])
def test_a_caller_whose_period_is_not_quite_whole_is_followed(period: float) -> None:
    _, was_expected = requests_at(every(period, times=500))  # a loop around `sleep`
    assert was_expected[2:] == [True] * 498


@pytest.mark.parametrize("period", [0.02, 0.5, 1.5, 10.5, MAX_PERIOD + 1])
def test_a_gap_that_is_no_kubelet_period_adds_no_caller(period: float) -> None:
    callers, _ = requests_at(every(period, times=2))
    assert known(callers, period) == []


def test_callers_of_different_periods_are_distinguished() -> None:
    times = sorted(
        every(10, times=13) + every(7, times=18, start=0.4) + every(60, times=3, start=3.3)
    )
    callers, _ = requests_at(times)
    assert known(callers, 123.3) == [7, 10, 60]


def test_callers_whole_seconds_apart_are_detected_after_two_requests_too() -> None:
    times = sorted(every(10, times=4) + every(10, times=4, start=3.0))
    callers, was_expected = requests_at(times)
    assert was_expected == [False] * 4 + [True] * 4
    assert known(callers, 33.0) == [10, 10]


def test_simultaneous_requests_count_as_one_caller() -> None:
    liveness = every(10, times=6)
    readiness = every(10, times=6, start=KUBELET_JITTER)
    callers, was_expected = requests_at(sorted(liveness + readiness))
    assert was_expected[4:] == [True] * 8
    assert known(callers, 50.1) == [10]


@pytest.mark.parametrize(
    ("period", "late"), [(1, 0.2), (2, 0.4), (5, MAX_LATENESS), (60, MAX_LATENESS)]
)
def test_a_late_request_matches_its_caller_and_does_not_delay_the_next(
    period: int, late: float
) -> None:
    callers, _ = requests_at(every(period, times=3))
    assert callers.record_request(3 * period + late - 0.001)
    assert expected(callers, 3 * period + late) == [pytest.approx(4 * period, abs=PRECISION)]
    assert callers.record_request(4 * period)
    assert known(callers, 4 * period) == [period]


@pytest.mark.parametrize(("period", "late"), [(1, 0.25), (10, MAX_LATENESS + 0.01)])
def test_a_request_later_than_the_tolerance_is_unexpected(period: int, late: float) -> None:
    callers, _ = requests_at(every(period, times=5))
    assert not callers.record_request(5 * period + late)


def test_a_caller_is_kept_after_one_missed_request_and_removed_after_two() -> None:
    callers, _ = requests_at(every(10, times=5))
    assert expected(callers, 49.0) == [50.0]
    assert expected(callers, 51.0) == [60.0]
    assert expected(callers, 61.0) == []


def test_a_caller_that_misses_every_other_request_is_removed() -> None:
    callers, _ = requests_at(every(5, times=6))
    for now in every(10, times=6, start=35.0):
        callers.record_request(now)
    assert 5 not in known(callers, 85.0)


def test_an_unconfirmed_caller_is_removed_after_its_first_missed_request() -> None:
    callers, _ = requests_at([0.0, 7.0])
    assert expected(callers, 13.0) == [14.0]
    assert known(callers, 14.0 + MAX_LATENESS + 0.01) == []


def test_a_caller_that_changes_its_phase_is_detected_again_after_two_requests() -> None:
    callers, _ = requests_at(every(10, times=5))
    moved = every(10, times=4, start=53.7)
    assert [callers.record_request(now) for now in moved] == [False, False, True, True]
    assert known(callers, 84.0) == [10]


@pytest.mark.parametrize("period", [20, 30, 150])
def test_a_multiple_of_a_real_period_is_removed(period: int) -> None:
    # Two single requests, and a caller that starts in phase with them.
    callers, _ = requests_at([0.0, float(period)])
    assert known(callers, period) == [period]
    for now in every(10, times=50, start=period + 10.0):
        callers.record_request(now)
    assert known(callers, period + 500.0) == [10]


def test_a_real_period_is_detected_among_false_ones() -> None:
    # Every gap between these is whole seconds: 28 periods, none of them real.
    callers, _ = requests_at([0, 1, 3, 7, 12, 20, 30, 44])
    assert len(known(callers, 44)) <= MAX_CALLERS
    for now in every(60, times=3, start=44.5):
        callers.record_request(now)
    assert known(callers, 164.5) == [60]


def test_a_confirmed_caller_is_kept_among_random_requests() -> None:
    callers, _ = requests_at(every(100, times=4))
    for number in range(60):
        callers.record_request(301.3 + number)
    assert 100 in known(callers, 361.0)


def test_after_a_long_time_without_requests_no_caller_is_left() -> None:
    callers, _ = requests_at(every(1, times=5))
    assert known(callers, 1e9) == []


@pytest.mark.parametrize("gap", [0.001, 0.05])
def test_a_burst_of_requests_adds_at_most_a_caller_with_a_period_of_one_second(gap: float) -> None:
    callers, _ = requests_at(every(gap, times=5000))
    assert set(known(callers, 5000 * gap)) <= {1}


@given(st.lists(st.floats(min_value=0, max_value=400), max_size=300).map(sorted))
def test_callers_are_bounded_and_never_overdue_for_any_requests(times: list[float]) -> None:
    callers = Callers()
    for now in times:
        callers.record_request(now)
        assert len(list(callers)) <= MAX_CALLERS
        assert all(now - MAX_LATENESS <= caller.expected for caller in callers)
        assert all(caller.expected <= now + caller.period + PRECISION for caller in callers)


def test_there_are_at_most_max_callers() -> None:
    times = sorted(
        time
        for number in range(MAX_CALLERS + 4)
        for time in every(100, times=5, start=number * 3.37)
    )
    callers, _ = requests_at(times)
    assert len(list(callers)) == MAX_CALLERS
