from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.callers import MAX_CALLERS, MAX_PERIOD, TOLERANCE, Callers

KUBELET_JITTER = 0.005


def every(period: float, *, times: int, start: float = 0.0) -> list[float]:
    return [start + number * period for number in range(times)]


def known(callers: Callers, now: float) -> dict[int, float]:
    """Return when the next request of each period is expected."""
    callers.go_on_to(now)
    return {caller.period: caller.expected for caller in callers}


def asked_at(times: Iterable[float]) -> tuple[Callers, list[bool]]:
    """Ask at these times; return whether each request was expected, too."""
    callers = Callers()
    return callers, [callers.asked(now) for now in times]


@pytest.mark.parametrize("period", [1, 2, 10, 180, MAX_PERIOD])
def test_the_fourth_request_of_a_regular_caller_is_expected(period: int) -> None:
    callers, expected = asked_at(every(period, times=5, start=7.0))
    assert expected == [False, False, False, True, True]
    assert known(callers, 7.0 + 4 * period) == {period: pytest.approx(7.0 + 5 * period)}


def test_some_milliseconds_do_not_matter_and_do_not_add_up() -> None:
    times = [10.0 * number + KUBELET_JITTER * (-1) ** number for number in range(1000)]
    _, expected = asked_at(times)
    assert expected[3:] == [True] * 997


def test_a_caller_whose_period_is_not_quite_whole_is_followed() -> None:
    _, expected = asked_at(every(1.02, times=500))  # a loop around `sleep 1`
    assert expected[3:] == [True] * 497


@pytest.mark.parametrize("period", [0.02, 0.5, 1.5, 10.5, MAX_PERIOD + 1])
def test_what_is_no_period_of_a_kubelet_is_not_learned(period: float) -> None:
    callers, _ = asked_at(every(period, times=3))
    assert known(callers, 3 * period) == {}


def test_callers_of_different_periods_are_told_apart() -> None:
    times = sorted(
        every(10, times=6) + every(7, times=8, start=0.4) + every(60, times=3, start=3.3)
    )
    callers, _ = asked_at(time for time in times if time <= 49.4)
    assert set(known(callers, 49.4)) == {7, 10}
    callers, _ = asked_at(times)
    assert 60 in known(callers, 123.3)


def test_requests_that_come_together_are_those_of_one_caller() -> None:
    liveness = every(10, times=6)
    readiness = every(10, times=6, start=KUBELET_JITTER)
    callers, expected = asked_at(sorted(liveness + readiness))
    assert expected[6:] == [True] * 6
    assert known(callers, 50.1) == {10: pytest.approx(60.0)}


def test_one_missing_request_is_forgiven_and_two_are_not() -> None:
    callers, _ = asked_at(every(10, times=5))
    assert known(callers, 49.0) == {10: 50.0}
    assert known(callers, 51.0) == {10: 60.0}
    assert known(callers, 61.0) == {}


def test_a_caller_that_is_there_half_of_the_time_is_forgotten() -> None:
    callers, _ = asked_at(every(5, times=6))
    for now in every(10, times=6, start=35.0):
        callers.asked(now)
    assert 5 not in known(callers, 85.0)


def test_a_caller_that_changes_its_phase_is_known_again_after_two_requests() -> None:
    callers, _ = asked_at(every(10, times=5))
    assert [callers.asked(now) for now in every(10, times=3, start=53.7)] == [False, False, True]


def test_after_a_long_silence_nobody_is_expected_any_more() -> None:
    callers, _ = asked_at(every(1, times=5))
    assert known(callers, 1e9) == {}


@pytest.mark.parametrize("gap", [0.001, 0.05])
def test_a_storm_teaches_nothing(gap: float) -> None:
    callers, _ = asked_at(every(gap, times=5000))
    assert len(known(callers, 5000 * gap)) <= 1  # of period 1, which is no mistake


@given(st.lists(st.floats(min_value=0, max_value=400), max_size=300).map(sorted))
def test_whatever_comes_there_is_a_bound_on_callers_and_none_is_overdue(times: list[float]) -> None:
    callers = Callers()
    for now in times:
        callers.asked(now)
        trusted = list(callers)
        assert len(trusted) <= MAX_CALLERS
        assert all(now - TOLERANCE <= caller.expected for caller in trusted)
        assert all(caller.expected <= now + caller.period + TOLERANCE for caller in trusted)


def test_no_more_callers_are_learned_than_a_pod_can_have() -> None:
    times = sorted(
        time
        for number in range(MAX_CALLERS + 4)
        for time in every(100, times=5, start=number * 3.37)
    )
    callers, _ = asked_at(times)
    assert len(list(callers)) == MAX_CALLERS
