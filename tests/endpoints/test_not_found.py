import pytest

from livenessprobe.endpoints.not_found import NOT_FOUND, clean, not_found
from livenessprobe.server.request import Request

PATHS = {"/", "/healthz", "/metrics", "/a b"}


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("//healthz", b"", b"/healthz"),
        ("/x/../healthz", b"", b"/healthz"),
        ("/./healthz", b"verbose&x=//", b"/healthz?verbose&x=//"),
        ("/../../healthz", b"", b"/healthz"),
        ("//metrics", b"", b"/metrics"),
        ("//", b"", b"/"),
        ("/..", b"", b"/"),
        ("//a b", b"", b"/a%20b"),
    ],
)
def test_a_path_that_is_not_clean_is_redirected(path: str, query: bytes, location: bytes) -> None:
    answer = not_found(PATHS)(Request(path=path, query=query))
    assert answer.status == 307
    assert dict(answer.headers)[b"location"] == location


@pytest.mark.parametrize(
    "path", ["/healthz/", "//healthz/", "/Healthz", "healthz", "*", "", "/nothing", "/x/../nothing"]
)
def test_other_paths_are_not_found(path: str) -> None:
    assert not_found(PATHS)(Request(path=path)) is NOT_FOUND


def test_an_unknown_method_of_grpc_is_not_redirected() -> None:
    headers = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    call = Request(path="//x/y", method="POST", http_version="2", headers=headers)
    assert dict(not_found(PATHS)(call).trailers)[b"grpc-status"] == b"12"


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("/", "/"), ("//", "/"), ("/a//b/./c/..", "/a/b"), ("/a/", "/a/"), ("a//b", "a//b"), ("", "")],
)
def test_clean(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned
