import gzip

import pytest

from livenessprobe.endpoints.metrics import metrics
from livenessprobe.server.request import Request
from livenessprobe.server.response import Response


def scrape(*headers: tuple[bytes, bytes]) -> Response:
    endpoint = metrics("text/x", lambda: b"a 1\n" * 99)
    return endpoint(Request(path="/metrics", headers=headers))


@pytest.mark.parametrize("accept", [b"*/*", b"application/openmetrics-text;version=1.0.0", b""])
def test_metrics_have_one_format_whatever_is_accepted(accept: bytes) -> None:
    answer = scrape((b"accept", accept))
    assert answer.status == 200
    assert (b"content-type", b"text/x") in answer.headers
    assert (b"vary", b"accept-encoding") in answer.headers
    assert (b"x-content-type-options", b"nosniff") in answer.headers  # a driver chose its name
    assert answer.body == b"a 1\n" * 99


def test_metrics_are_compressed_for_whoever_accepts_that() -> None:
    answer = scrape((b"accept-encoding", b"deflate, gzip;q=1.0"))
    headers = dict(answer.headers)
    assert headers[b"content-encoding"] == b"gzip"
    assert int(headers[b"content-length"]) == len(answer.body) < 99
    assert gzip.decompress(answer.body) == b"a 1\n" * 99
    assert b"content-encoding" not in dict(scrape().headers)
