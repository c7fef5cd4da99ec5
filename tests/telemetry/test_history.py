import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.health.result import ProbeStatus
from livenessprobe.telemetry.history import FAILURES, MAX_CHANGES, SLOT, SPAN, Change, History
from tests.world import result

READY, NOT_READY, FAILED, TIMED_OUT, UNREACHABLE = ProbeStatus


def history(*statuses: ProbeStatus, period: float = 1.0) -> History:
    """Return the history of Probes with these statuses, one every `period` seconds."""
    made = History()
    for number, status in enumerate(statuses):
        made.observe(result(status, number * period))
    return made


def test_a_new_history_is_empty() -> None:
    empty = History()
    assert empty.probes == empty.consecutive_failures == 0
    assert empty.failures == dict.fromkeys((NOT_READY, FAILED, TIMED_OUT, UNREACHABLE), 0)
    assert empty.last_success is empty.last_change is None
    assert not empty.changes
    assert not empty.slots


def test_probes_and_failures_are_counted() -> None:
    counted = history(READY, FAILED, TIMED_OUT, TIMED_OUT, READY, UNREACHABLE, NOT_READY)
    assert counted.probes == 7
    assert counted.failures == {NOT_READY: 1, FAILED: 1, TIMED_OUT: 2, UNREACHABLE: 1}
    assert counted.consecutive_failures == 2
    assert counted.last_success == result(READY, 4)


@pytest.mark.parametrize("first", ProbeStatus)
def test_the_first_result_is_the_last_change_and_no_transition(first: ProbeStatus) -> None:
    begun = history(first, first)
    assert (begun.became_healthy, begun.became_unhealthy) == (0, 0)
    assert begun.last_change == result(first, 0)
    assert list(begun.changes) == [Change(result=result(first, 0))]


def test_only_transitions_of_health_are_counted_by_direction() -> None:
    changed = history(READY, FAILED, TIMED_OUT, READY, UNREACHABLE)
    assert (changed.became_healthy, changed.became_unhealthy) == (1, 2)
    assert changed.last_change == result(UNREACHABLE, 4)
    assert history(READY, FAILED, TIMED_OUT).last_change == result(FAILED, 1)


def test_every_change_of_state_is_kept_with_the_duration_of_the_state_before() -> None:
    changed = history(READY, READY, FAILED, TIMED_OUT, TIMED_OUT, TIMED_OUT, READY)
    assert list(changed.changes) == [
        Change(result=result(READY, 0)),
        Change(result=result(FAILED, 2), previous=READY, lasted=2),
        Change(result=result(TIMED_OUT, 3), previous=FAILED, lasted=1),
        Change(result=result(READY, 6), previous=TIMED_OUT, lasted=3),
    ]


def test_a_slot_summarises_the_probes_of_its_seconds() -> None:
    made = History()
    made.observe(result(READY, 19.9, latency=0.5))
    made.observe(result(TIMED_OUT, 20.0, latency=3.0))
    made.observe(result(FAILED, 29.9, latency=0.1))
    made.observe(result(READY, 75.0, latency=0.2))
    slots = [(s.start, s.probes, s.failures, s.slowest, s.worst) for s in made.slots]
    assert slots == [
        (10, 1, 0, 0.5, READY),
        (20, 2, 2, 3.0, TIMED_OUT),
        (70, 1, 0, 0.2, READY),
    ]


@given(st.lists(st.sampled_from(ProbeStatus), max_size=30))
def test_slots_and_totals_add_up(statuses: list[ProbeStatus]) -> None:
    summed = history(*statuses)
    assert sum(slot.probes for slot in summed.slots) == summed.probes == len(statuses)
    failures = sum(status in FAILURES for status in statuses)
    assert sum(slot.failures for slot in summed.slots) == failures
    assert sum(summed.failures.values()) == failures
    assert abs(summed.became_healthy - summed.became_unhealthy) <= 1


def test_the_history_uses_little_memory() -> None:
    message = "\N{SNOWMAN}" * 1024  # the longest message, two bytes for each character
    made = History()
    for number in range(40_000):  # ten a second for more than an hour
        status = FAILED if number % 2 else READY
        made.observe(result(status, number / 10, message=f"{number}{message}"))
    assert len(made.changes) == MAX_CHANGES
    assert len(made.slots) == SPAN / SLOT
    assert len(pickle.dumps(made)) < 300_000
