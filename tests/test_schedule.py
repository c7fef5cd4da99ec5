from hypothesis import given
from hypothesis import strategies as st

from livenessprobe import schedule

seconds = st.floats(min_value=0.1, max_value=1e6)


def test_quick_probes_start_one_interval_apart() -> None:
    assert schedule.next_start(started_at=10.0, finished_at=10.2, interval=1.0) == 11.0


def test_a_probe_that_outlasts_the_interval_is_followed_at_once() -> None:
    assert schedule.next_start(started_at=10.0, finished_at=13.5, interval=1.0) == 13.5


@given(started_at=seconds, took=seconds, interval=seconds)
def test_probes_never_overlap_and_never_come_faster_than_the_interval(
    started_at: float, took: float, interval: float
) -> None:
    finished_at = started_at + took
    start = schedule.next_start(started_at=started_at, finished_at=finished_at, interval=interval)
    assert start >= finished_at
    assert start >= started_at + interval


@given(started_at=seconds, took=seconds, interval=seconds, probe_timeout=seconds)
def test_no_result_outgrows_its_maximum_age_while_the_next_probe_keeps_its_deadline(
    started_at: float, took: float, interval: float, probe_timeout: float
) -> None:
    finished_at = started_at + min(took, probe_timeout)
    start = schedule.next_start(started_at=started_at, finished_at=finished_at, interval=interval)
    oldest = start + probe_timeout - finished_at
    assert oldest < schedule.max_age(interval=interval, probe_timeout=probe_timeout)
