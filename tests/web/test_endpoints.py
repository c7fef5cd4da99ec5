import gzip
from collections.abc import Callable

import pytest

from livenessprobe.health import NOTHING_KNOWN, Verdict
from livenessprobe.result import ProbeResult, ProbeStatus
from livenessprobe.web import endpoints, response
from livenessprobe.web.request import Request
from livenessprobe.web.response import Response

LAST = ProbeResult(
    status=ProbeStatus.READY, message="", grpc_status="OK", latency=0.002, finished_at=100.0
)
OK = response.text(200, "ok")
HEALTHY = Verdict(healthy=True, reason="ok", last=LAST, age=0.2)
HEALTHZ = Request(path="/healthz")


def health(ask: Callable[[], Verdict]) -> endpoints.Endpoint:
    return endpoints.health("healthz", ask, lambda: "fake.csi")


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


def scrape(*headers: tuple[bytes, bytes]) -> Response:
    endpoint = endpoints.metrics(lambda: ("text/x", b"a 1\n" * 99), lambda: ("open/x", b"# EOF\n"))
    return endpoint(Request(path="/metrics", headers=headers))


def test_metrics_are_text() -> None:
    answer = scrape((b"accept", b"text/plain;version=0.0.4, application/openmetrics-text;q=0"))
    assert answer.status == 200
    assert (b"content-type", b"text/x") in answer.headers
    assert (b"vary", b"accept, accept-encoding") in answer.headers
    assert answer.body == b"a 1\n" * 99


def test_metrics_are_openmetrics_for_whoever_accepts_that() -> None:
    accept = b"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = scrape((b"accept", accept))
    assert (b"content-type", b"open/x") in answer.headers
    assert answer.body == b"# EOF\n"


def test_what_is_long_is_not_shown_over_http_2() -> None:
    endpoint = endpoints.over_http_1(lambda _: OK)
    assert endpoint(Request(path="/")) is OK
    assert endpoint(Request(path="/", http_version="2")).status == 505


def test_metrics_are_compressed_for_whoever_accepts_that() -> None:
    answer = scrape((b"accept-encoding", b"deflate, gzip;q=1.0"))
    headers = dict(answer.headers)
    assert headers[b"content-encoding"] == b"gzip"
    assert int(headers[b"content-length"]) == len(answer.body) < 99
    assert gzip.decompress(answer.body) == b"a 1\n" * 99
    assert b"content-encoding" not in dict(scrape().headers)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/healthz", True),
        ("/healthz/", False),
        ("//healthz", False),
        ("/Healthz", False),
        ("healthz", False),
        ("/", False),
        ("", False),
    ],
)
def test_a_path_is_found_as_it_is_or_not_at_all(path: str, *, found: bool) -> None:
    answer = endpoints.answer({"/healthz": lambda _: OK}, Request(path=path))
    assert answer == (OK if found else response.text(404, "404 page not found\n"))
