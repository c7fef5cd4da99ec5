import pytest

from livenessprobe.health import NOTHING_KNOWN, Verdict, judge
from livenessprobe.result import ProbeResult, ProbeStatus

HEALTHY_STATUSES = {ProbeStatus.READY}


def result(status: ProbeStatus, finished_at: float = 100.0) -> ProbeResult:
    return ProbeResult(
        status=status, message="why", grpc_status=None, latency=0.1, finished_at=finished_at
    )


@pytest.mark.parametrize("status", ProbeStatus)
def test_only_a_ready_driver_is_healthy(status: ProbeStatus) -> None:
    verdict = judge(result(status), now=101.5, valid_until=106.0)
    healthy = status in HEALTHY_STATUSES
    assert verdict == Verdict(healthy=healthy, reason="ok" if healthy else "why", age=1.5)


def test_before_the_first_result_nothing_is_known() -> None:
    assert judge(None, now=0.0, valid_until=6.0) is NOTHING_KNOWN
    assert judge(None, now=7.0, valid_until=6.0) is NOTHING_KNOWN
    assert Verdict(healthy=False, reason="no Probe() has finished yet") == NOTHING_KNOWN


@pytest.mark.parametrize("status", ProbeStatus)
def test_a_result_counts_until_its_time_is_over(status: ProbeStatus) -> None:
    last = result(status, finished_at=100.0)
    late, early = (judge(last, now=now, valid_until=106.0) for now in (106.0, 100.0))
    assert (late.healthy, late.reason) == (early.healthy, early.reason)


@pytest.mark.parametrize("status", ProbeStatus)
def test_an_older_result_says_only_that_the_prober_is_stuck(status: ProbeStatus) -> None:
    verdict = judge(result(status, finished_at=100.0), now=142.5, valid_until=106.0)
    assert verdict == Verdict(
        healthy=False,
        reason="the last Probe() finished 42s ago, the next one should have by now: "
        "livenessprobe was stopped or starved, or its prober is stuck",
        age=42.5,
    )
