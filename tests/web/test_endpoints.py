import pytest

from livenessprobe.health import HEALTHY, NOTHING_KNOWN, Verdict
from livenessprobe.web import endpoints, response

OK = response.text(200, "ok")


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
    answer = endpoints.healthz(lambda: verdict)()
    assert (answer.status, answer.body) == (status, body)


def test_healthz_judges_anew_each_time() -> None:
    verdicts = iter([HEALTHY, NOTHING_KNOWN])
    endpoint = endpoints.healthz(lambda: next(verdicts))
    assert [endpoint().status, endpoint().status] == [200, 500]


def test_metrics_shows_what_is_rendered() -> None:
    answer = endpoints.metrics("text/x", lambda: b"a 1\n")()
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
    answer = endpoints.answer({"/healthz": lambda: OK}, path)
    assert answer == (OK if found else response.text(404, "404 page not found\n"))
