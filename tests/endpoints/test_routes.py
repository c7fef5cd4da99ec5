import pytest

from livenessprobe import flags
from livenessprobe.endpoints.routes import routes
from livenessprobe.flags.config import OWN_PATHS
from livenessprobe.health.verdict import NOTHING_KNOWN, Question, Verdict
from livenessprobe.server import response
from livenessprobe.server.asgi import Routes
from livenessprobe.server.request import Request
from tests.world import World

METRICS = response.text(200, "a 1\n")


class Callers:
    """Notes who asks what."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def __call__(self, question: Question) -> Verdict:
        self.asked.append(question)
        return NOTHING_KNOWN


@pytest.fixture
def callers() -> Callers:
    return Callers()


def table(callers: Callers, *argv: str) -> dict[str, Routes]:
    return dict(routes(flags.parse(argv), callers, World(), lambda _: METRICS, started_at=0.0))


def test_metrics_have_an_address_of_their_own_or_share_one_or_are_not_served(
    callers: Callers,
) -> None:
    assert set(table(callers)[":9808"]) == OWN_PATHS
    apart = table(callers, "--metrics-address=:9", "--metrics-path=/m")
    assert {address: "/m" in paths for address, paths in apart.items()} == {
        ":9808": False,
        ":9": True,
    }
    assert set(apart[":9"]) == {"/m"}
    shared = table(callers, "--http-endpoint=:8")
    assert list(shared) == [":8"]
    assert set(shared[":8"]) >= OWN_PATHS | {"/metrics"}


@pytest.mark.parametrize("accept", [b"*/*", b"text/html", b"application/json"])
def test_nobody_who_only_looks_on_counts_as_a_caller(callers: Callers, accept: bytes) -> None:
    own = table(callers, "--http-endpoint=:8")[":8"]
    for path in OWN_PATHS | {"/metrics"}:
        own[path](Request(path=path, headers=[(b"accept", accept)]))
    assert sorted(question.value for question in callers.asked) == ["healthz", "livez", "readyz"]


def test_what_is_long_is_not_answered_over_http_2(callers: Callers) -> None:
    own = table(callers, "--http-endpoint=:8")[":8"]
    refused = {
        path for path in own if own[path](Request(path=path, http_version="2")).status == 505
    }
    assert refused == {"/", "/status.json", "/statusz", "/flagz", "/metrics"}


def test_pages_for_people_are_shown_under_own_names_only(callers: Callers) -> None:
    own = table(callers)[":9808"]
    statuses = {
        path: own[path](
            Request(path=path, headers=[(b"host", b"evil.example"), (b"accept", b"text/html")])
        ).status
        for path in OWN_PATHS
        if not path.startswith("/grpc.")
    }
    # A manifest may have a kubelet send any Host, so the questions take any.
    assert statuses == {
        **dict.fromkeys(["/", "/status.json", "/statusz", "/flagz"], 403),
        **dict.fromkeys(["/healthz", "/livez", "/readyz"], 500),
    }
