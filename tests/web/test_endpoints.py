import pytest

from livenessprobe.health import NOTHING_KNOWN, Verdict
from livenessprobe.web import endpoints, response
from livenessprobe.web.request import Request

OK = response.text(200, "ok")
HEALTHZ = Request(path="/healthz")
HEALTHY = Verdict(healthy=True, reason="ok", age=0.2)


@pytest.mark.parametrize(
    ("verdict", "status", "body"),
    [
        (HEALTHY, 200, b"ok"),
        (NOTHING_KNOWN, 500, b"no Probe() has finished yet"),
        (Verdict(healthy=False, reason="disque cassé ✗"), 500, "disque cassé ✗".encode()),
        (Verdict(healthy=False, reason=""), 500, b""),
    ],
)
def test_healthz_says_ok_or_why_not(verdict: Verdict, status: int, body: bytes) -> None:
    answer = endpoints.healthz(lambda: verdict)(HEALTHZ)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("age", [0.0, 0.999, 1.0, 59.9])
def test_healthz_tells_how_many_whole_seconds_old_its_answer_is(age: float) -> None:
    answer = endpoints.healthz(lambda: Verdict(healthy=True, reason="ok", age=age))(HEALTHZ)
    assert answer.headers == (*OK.headers, (b"age", str(int(age)).encode()))


def test_healthz_tells_no_age_if_there_is_nothing_to_be_old() -> None:
    answer = endpoints.healthz(lambda: NOTHING_KNOWN)(HEALTHZ)
    assert b"age" not in dict(answer.headers)


def test_healthz_judges_anew_each_time() -> None:
    verdicts = iter([HEALTHY, NOTHING_KNOWN])
    endpoint = endpoints.healthz(lambda: next(verdicts))
    assert [endpoint(HEALTHZ).status, endpoint(HEALTHZ).status] == [200, 500]


def test_metrics_shows_what_is_rendered() -> None:
    answer = endpoints.metrics("text/x", lambda: b"a 1\n")(Request(path="/metrics"))
    assert answer == response.make(200, "text/x", b"a 1\n")


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
def test_a_path_is_found_as_it_is_or_not_at_all(path: str, found: bool) -> None:  # noqa: FBT001 - a column
    answer = endpoints.answer({"/healthz": lambda _: OK}, Request(path=path))
    assert answer == (OK if found else response.text(404, "404 page not found\n"))
