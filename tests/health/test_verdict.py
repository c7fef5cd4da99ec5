import pytest

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import NOTHING_KNOWN, YES, Question, Verdict, judge

QUESTIONS = list(Question)

ANSWERS = {
    #                        HEALTHZ LIVEZ  READYZ
    ProbeStatus.READY: (True, True, True),
    ProbeStatus.NOT_READY: (False, True, False),
    ProbeStatus.FAILED: (False, False, False),
    ProbeStatus.TIMED_OUT: (False, False, False),
    ProbeStatus.UNREACHABLE: (False, False, False),
}


def result(status: ProbeStatus, finished_at: float = 100.0) -> ProbeResult:
    return ProbeResult(
        status=status, message="why", grpc_status=None, latency=0.1, finished_at=finished_at
    )


@pytest.mark.parametrize("status", ProbeStatus)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_to_every_question_for_every_status(
    question: Question, status: ProbeStatus
) -> None:
    healthy = ANSWERS[status][QUESTIONS.index(question)]
    last = result(status)
    assert judge(question, last, now=101.5, valid_until=106.0) == Verdict(
        healthy=healthy, reason="ok" if healthy else "why", last=last, age=1.5
    )


def test_the_table_has_a_row_for_every_status() -> None:
    assert set(YES) == set(ProbeStatus)


@pytest.mark.parametrize("question", QUESTIONS)
def test_before_the_first_result_nothing_is_known(question: Question) -> None:
    assert judge(question, None, now=0.0, valid_until=6.0) is NOTHING_KNOWN
    assert judge(question, None, now=7.0, valid_until=6.0) is NOTHING_KNOWN
    assert Verdict(healthy=False, reason="no Probe() has finished yet") == NOTHING_KNOWN


@pytest.mark.parametrize("status", ProbeStatus)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_result_is_used_until_it_expires(question: Question, status: ProbeStatus) -> None:
    last = result(status, finished_at=100.0)
    late, early = (judge(question, last, now=now, valid_until=106.0) for now in (106.0, 100.0))
    assert (late.healthy, late.reason) == (early.healthy, early.reason)


@pytest.mark.parametrize("status", ProbeStatus)
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_expired_result_is_unhealthy_and_the_reason_is_the_prober(
    question: Question, status: ProbeStatus
) -> None:
    last = result(status, finished_at=100.0)
    assert judge(question, last, now=142.5, valid_until=106.0) == Verdict(
        healthy=False,
        reason="the last Probe() finished 42s ago, the next one should have by now: "
        "livenessprobe was stopped or starved, or its prober is stuck",
        last=last,
        age=42.5,
        is_expired=True,
    )
