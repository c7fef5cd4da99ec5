"""Checks single decisions of the schedule; test_schedule_properties.py checks its invariants."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.schedule import (
    DISCONNECT_COOLDOWN,
    IDLE,
    MARGIN,
    SLACK,
    SPACING,
    Schedule,
)

T = 3.0

READY, NOT_READY, FAILED, TIMED_OUT, UNREACHABLE = ProbeStatus


class Driven:
    """A schedule whose Probes begin when they are due and take `latency` seconds."""

    def __init__(self, interval: float | None = None, latency: float = 0.002) -> None:
        self.schedule = Schedule(interval=interval, probe_timeout=T, now=0.0)
        self.latency = latency
        self.status = READY

    def probe(self) -> float:
        """Run the next Probe; return the time of its start."""
        due = self.schedule.due
        self.schedule.began(due)
        self.finish(due + self.latency)
        return due

    def finish(self, now: float) -> None:
        self.schedule.finished(
            ProbeResult(
                status=self.status,
                message="",
                grpc_status=None,
                latency=self.latency,
                finished_at=now,
            )
        )

    def until(self, now: float) -> list[float]:
        """Run every Probe that is due by `now`; return the times of their starts."""
        return list(self._until(now))

    def _until(self, now: float) -> Iterator[float]:
        while self.schedule.due <= now:
            yield self.probe()

    def ask(self, now: float) -> None:
        self.schedule.record_request(now, healthy=self.status is READY)

    def ask_regularly(self, period: int, times: int, start: float = 0.6) -> float:
        """Send requests at this period from `start` on; return the time of the next one."""
        for number in range(times):
            self.until(start + number * period)
            self.ask(start + number * period)
        return start + times * period


def rounded(times: list[float]) -> list[float]:
    return [round(time, 3) for time in times]


@pytest.mark.parametrize("interval", [None, 0.1, 1.0, 60.0])
def test_the_first_probe_is_due_at_once(interval: float | None) -> None:
    assert Driven(interval).schedule.due == 0.0


@pytest.mark.parametrize(
    ("interval", "latency", "begins"),
    [
        (1.0, 0.1, [0, 1, 2, 3]),
        (10.0, 3.0, [0, 10, 20, 30]),
        (0.1, 0.002, [0, 0.1, 0.2, 0.3]),
        (1.0, 2.5, [0, 2.5, 5, 7.5]),
        (None, 0.1, [0, 10, 20, 30]),
    ],
)
def test_without_requests_probes_begin_one_interval_apart(
    interval: float | None, latency: float, begins: list[float]
) -> None:
    driven = Driven(interval, latency)
    assert [driven.probe() for _ in begins] == pytest.approx(begins)


def test_late_timers_do_not_reduce_the_rate() -> None:
    driven = Driven(interval=1.0)
    for _ in range(1000):
        begun = driven.schedule.due + 0.005
        driven.schedule.began(begun)
        driven.finish(begun + 0.002)
    assert driven.schedule.due == pytest.approx(1000.0)


def test_missed_probes_are_not_made_up_for_after_a_stall() -> None:
    driven = Driven(interval=1.0)
    driven.probe()
    driven.schedule.began(60.0)
    driven.finish(60.002)
    assert 60.9 <= driven.schedule.due <= 61.0


@pytest.mark.parametrize("latency", [0.002, 0.3])
@pytest.mark.parametrize(
    ("period", "before"),
    [
        (180, T + MARGIN),
        (60, T + MARGIN),
        (10, T + MARGIN),
        (4, T + MARGIN),
        # T + MARGIN before the second, third or fourth request from then.
        (3, 0.25),
        (2, 1.25),
    ],
)
def test_an_expected_request_has_one_probe_whose_timeout_is_over_by_then(
    period: int, before: float, latency: float
) -> None:
    driven = Driven(latency=latency)
    request = driven.ask_regularly(period, times=8)
    begins = driven.until(request)
    assert [request - begun for begun in begins] == [pytest.approx(before)]


def test_a_period_of_one_second_has_one_probe_a_second() -> None:
    driven = Driven()
    request = driven.ask_regularly(1, times=8)
    assert [request - begun for begun in driven.until(request)] == [pytest.approx(0.25)]


def test_the_third_request_of_a_caller_has_its_probe() -> None:
    driven = Driven()
    request = driven.ask_regularly(30, times=2)
    assert request - driven.until(request)[-1] == pytest.approx(T + MARGIN)


def test_an_unconfirmed_caller_delays_no_probe() -> None:
    driven = Driven()
    driven.ask_regularly(180, times=2, start=100.0)
    begins = driven.until(460.0)
    assert max(later - begun for begun, later in pairwise(begins)) <= IDLE
    driven.ask(460.0)
    assert driven.schedule.due == pytest.approx(640.0 - T - MARGIN)


@pytest.mark.parametrize(
    ("apart", "begins"), [(0.9, [77.35]), (1.1, [77.35, 78.45]), (-0.5, [76.85])]
)
def test_requests_close_to_each_other_share_a_probe(apart: float, begins: list[float]) -> None:
    driven = Driven()
    for number in range(8):
        for start in sorted([0.6, 0.6 + apart]):
            driven.until(start + number * 10)
            driven.ask(start + number * 10)
    assert rounded(driven.until(82.0)) == begins


def test_a_probe_longer_than_the_period_is_followed_by_the_next_at_once() -> None:
    driven = Driven()
    request = driven.ask_regularly(2, times=8)
    driven.status, driven.latency = TIMED_OUT, T
    began = driven.probe()
    assert began == pytest.approx(request - 1.25)
    assert driven.probe() == pytest.approx(began + T)


def test_an_unexpected_request_starts_a_probe_one_second_after_the_last_at_the_earliest() -> None:
    driven = Driven()
    driven.probe()
    driven.ask(0.3)
    assert driven.schedule.due == 1.0
    driven.probe()
    driven.ask(4.0)
    assert driven.schedule.due == 4.0


def test_at_a_fixed_interval_only_an_unhealthy_answer_starts_a_probe() -> None:
    driven = Driven(interval=60.0)
    driven.probe()
    driven.ask(20.0)
    assert driven.schedule.due == 60.0
    driven.status = FAILED
    driven.probe()
    assert driven.schedule.due == 64.0
    driven.ask(60.5)
    assert driven.schedule.due == 61.0


@pytest.mark.parametrize("interval", [None, 60.0])
@pytest.mark.parametrize("status", [NOT_READY, FAILED, TIMED_OUT])
def test_unhealthy_answers_start_one_probe(status: ProbeStatus, interval: float | None) -> None:
    driven = Driven(interval)
    driven.status = status
    driven.probe()
    driven.ask(2.0)
    driven.ask(2.1)
    assert driven.until(5.0) == [2.0]


def test_an_unhealthy_answer_during_a_probe_starts_none() -> None:
    driven = Driven()
    driven.status = FAILED
    driven.probe()
    driven.schedule.began(4.0)
    driven.ask(4.5)
    driven.finish(5.0)
    assert driven.schedule.due == 4.0 + T + SPACING


def test_an_unhealthy_driver_is_probed_after_an_unhealthy_answer_and_before_the_next() -> None:
    driven = Driven()
    driven.status = FAILED
    request = driven.ask_regularly(10, times=8)
    assert rounded([request - begun for begun in driven.until(request)]) == [10.0, T + MARGIN]


@pytest.mark.parametrize(
    ("interval", "begins"),
    [(None, [0, 4, 8, 12]), (60.0, [0, 4, 8, 12]), (2.0, [0, 2, 4, 6, 8, 10, 12])],
)
def test_an_unhealthy_driver_is_probed_more_often_without_known_callers(
    interval: float | None, begins: list[float]
) -> None:
    driven = Driven(interval)
    driven.status = NOT_READY
    assert driven.until(12.0) == begins


def test_an_unknown_caller_among_known_ones_sees_a_recovery() -> None:
    driven = Driven()
    driven.ask_regularly(60, times=4)
    driven.status = NOT_READY
    driven.schedule.recreated(185.0)
    driven.until(185.0)
    driven.ask(190.0)
    begins = driven.until(210.0)
    assert max(later - begun for begun, later in pairwise(begins)) <= T + SPACING


def test_a_discarded_probe_is_still_due() -> None:
    driven = Driven(interval=10.0)
    driven.probe()
    driven.schedule.began(30.0)
    driven.schedule.discarded()
    assert driven.schedule.due == 10.0
    assert driven.schedule.valid_until == 10.0 + T + SLACK


@pytest.mark.parametrize("interval", [None, 1.0, 60.0])
def test_an_unreachable_driver_is_probed_every_second(interval: float | None) -> None:
    driven = Driven(interval)
    driven.status = UNREACHABLE
    assert driven.until(5.5) == [0, 1, 2, 3, 4, 5]


def test_an_unreachable_driver_is_probed_at_least_once_an_interval() -> None:
    driven = Driven(interval=0.5)
    driven.status = UNREACHABLE
    assert driven.until(2.0) == [0, 0.5, 1, 1.5, 2]


def test_a_closed_connection_makes_a_probe_due_at_once() -> None:
    driven = Driven()
    driven.probe()
    driven.schedule.disconnected(0.5)
    assert driven.schedule.due == 0.5


def test_closed_connections_are_ignored_for_a_time_after_one_of_a_live_driver() -> None:
    driven = Driven()
    driven.probe()
    driven.schedule.disconnected(0.5)
    driven.probe()
    driven.schedule.disconnected(1.0)
    assert driven.schedule.due == 0.5 + IDLE
    driven.until(0.5 + DISCONNECT_COOLDOWN)
    driven.schedule.disconnected(0.6 + DISCONNECT_COOLDOWN)
    assert driven.schedule.due == 0.6 + DISCONNECT_COOLDOWN


# A dying process may close its connections before its listener, which accepts but never replies.
@pytest.mark.parametrize("found", [UNREACHABLE, FAILED, TIMED_OUT])
def test_closed_connections_are_not_ignored_after_one_of_a_dead_driver(found: ProbeStatus) -> None:
    driven = Driven()
    driven.probe()
    driven.schedule.disconnected(0.5)
    driven.status = found
    driven.probe()
    driven.status = READY
    driven.until(8.0)
    driven.schedule.disconnected(8.5)
    assert driven.schedule.due == 8.5


def test_closed_connections_are_not_ignored_after_one_of_a_replaced_driver() -> None:
    driven = Driven()
    driven.probe()
    driven.schedule.disconnected(0.5)
    driven.schedule.recreated(0.5)
    driven.probe()
    driven.schedule.disconnected(3.0)
    assert driven.schedule.due == 3.0


def test_a_new_socket_makes_a_probe_due_at_once() -> None:
    driven = Driven()
    driven.status = UNREACHABLE
    driven.probe()
    driven.schedule.recreated(0.2)
    assert driven.schedule.due == 0.2


def test_repeated_new_sockets_make_one_probe_a_second_due() -> None:
    driven = Driven()
    driven.probe()
    begins = []
    for number in range(100):
        driven.schedule.recreated(0.2 + number * 0.1)
        begins += driven.until(0.2 + number * 0.1)
    assert len(begins) == 10
    assert min(later - begun for begun, later in pairwise(begins)) >= SPACING - 1e-9


def test_a_new_socket_during_a_probe_makes_one_due_after_it() -> None:
    driven = Driven()
    driven.schedule.began(0.0)
    driven.schedule.recreated(0.5)
    driven.status = TIMED_OUT
    driven.finish(3.0)
    assert driven.schedule.due == 3.0
    driven.probe()
    assert driven.schedule.due > 3.1


def test_a_result_is_valid_until_the_next_one_is_overdue() -> None:
    driven = Driven(interval=10.0)
    driven.probe()
    assert driven.schedule.valid_until == 10.0 + T + SLACK
    driven.schedule.began(10.0)
    assert driven.schedule.valid_until == 10.0 + T + SLACK


def test_no_event_extends_the_validity_of_a_result() -> None:
    driven = Driven()
    driven.probe()
    due = driven.schedule.due
    for now in (due + 1, due + 2, due + 100):
        driven.ask(now)
        assert driven.schedule.due == due
    driven.schedule.began(due + 100)
    assert driven.schedule.valid_until == due + T + SLACK
