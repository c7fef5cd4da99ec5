from collections.abc import Callable

import pytest

from livenessprobe.endpoints import health as health_endpoint
from livenessprobe.endpoints.health import OK
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import NOTHING_KNOWN, Verdict
from livenessprobe.server.asgi import Endpoint
from livenessprobe.server.request import Request

LAST = ProbeResult(
    status=ProbeStatus.READY, message="", grpc_status="OK", latency=0.002, finished_at=100.0
)
HEALTHY = Verdict(healthy=True, reason="ok", last=LAST, age=0.2)
HEALTHZ = Request(path="/healthz")


def health(ask: Callable[[], Verdict]) -> Endpoint:
    return health_endpoint.health("healthz", ask, lambda: "fake.csi")


@pytest.mark.parametrize(
    ("verdict", "status", "body"),
    [
        (HEALTHY, 200, b"ok"),
        (NOTHING_KNOWN, 500, b"no Probe() has finished yet"),
        (Verdict(healthy=False, reason="disque cassé ✗"), 500, "disque cassé ✗".encode()),
        (Verdict(healthy=False, reason=""), 500, b""),
        (Verdict(healthy=False, reason="two\nlines\x1b[2J\0"), 500, b"two\nlines\\x1b[2J\\x00"),
    ],
)
def test_a_health_question_is_answered_by_ok_or_why_not(
    verdict: Verdict, status: int, body: bytes
) -> None:
    answer = health(lambda: verdict)(HEALTHZ)
    assert (answer.status, answer.body) == (status, body)


def test_the_references_answer_of_ok_has_these_headers_and_a_date() -> None:
    assert OK.headers == (
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"2"),
    )


@pytest.mark.parametrize("age", [0.0, 0.999, 1.0, 59.9])
def test_an_answer_tells_how_many_whole_seconds_old_it_is(age: float) -> None:
    answer = health(lambda: Verdict(healthy=True, reason="ok", last=LAST, age=age))(HEALTHZ)
    assert answer.headers == (*OK.headers, (b"age", str(int(age)).encode()))


def test_no_age_is_told_if_there_is_nothing_to_be_old() -> None:
    answer = health(lambda: NOTHING_KNOWN)(HEALTHZ)
    assert b"age" not in dict(answer.headers)


def test_the_driver_is_judged_anew_each_time() -> None:
    verdicts = iter([HEALTHY, NOTHING_KNOWN])
    endpoint = health(lambda: next(verdicts))
    assert [endpoint(HEALTHZ).status, endpoint(HEALTHZ).status] == [200, 500]


@pytest.mark.parametrize(("verdict", "status"), [(HEALTHY, 200), (NOTHING_KNOWN, 500)])
def test_verbose_lists_the_checks_with_the_same_status(verdict: Verdict, status: int) -> None:
    answer = health(lambda: verdict)(Request(path="/healthz", query=b"verbose"))
    assert answer.status == status
    assert b"csi-probe" in answer.body
    assert b"driver name: fake.csi\nhealthz check " in answer.body
