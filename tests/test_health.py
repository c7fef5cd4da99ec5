import pytest

from livenessprobe.health import HEALTHY, NOTHING_KNOWN, Verdict, judge
from livenessprobe.result import ProbeResult, ProbeStatus

HEALTHY_STATUSES = {ProbeStatus.READY}


def result(status: ProbeStatus, finished_at: float = 100.0) -> ProbeResult:
    return ProbeResult(
        status=status, message="why", grpc_status=None, latency=0.1, finished_at=finished_at
    )


@pytest.mark.parametrize("status", ProbeStatus)
def test_only_a_ready_driver_is_healthy(status: ProbeStatus) -> None:
    verdict = judge(result(status), now=101.0, max_age=6.0)
    expected = HEALTHY if status in HEALTHY_STATUSES else Verdict(healthy=False, reason="why")
    assert verdict == expected


def test_before_the_first_result_nothing_is_known() -> None:
    assert judge(None, now=0.0, max_age=6.0) is NOTHING_KNOWN
    assert not NOTHING_KNOWN.healthy
    assert NOTHING_KNOWN.reason == "no Probe() has finished yet"


@pytest.mark.parametrize("status", ProbeStatus)
def test_a_result_counts_up_to_its_maximum_age(status: ProbeStatus) -> None:
    last = result(status, finished_at=100.0)
    assert judge(last, now=106.0, max_age=6.0) == judge(last, now=100.0, max_age=6.0)


@pytest.mark.parametrize("status", ProbeStatus)
def test_an_older_result_says_only_that_the_prober_is_stuck(status: ProbeStatus) -> None:
    verdict = judge(result(status, finished_at=100.0), now=142.5, max_age=6.0)
    assert not verdict.healthy
    assert verdict.reason == (
        "the last Probe() finished 42s ago, more than the 6s that the schedule allows: "
        "livenessprobe was stopped or starved, or its prober is stuck"
    )
