import gzip

from livenessprobe.endpoints.metrics import metrics
from livenessprobe.server.request import Request
from livenessprobe.server.response import Response


def scrape(*headers: tuple[bytes, bytes]) -> Response:
    endpoint = metrics(lambda: ("text/x", b"a 1\n" * 99), lambda: ("open/x", b"# EOF\n"))
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


def test_metrics_are_compressed_for_whoever_accepts_that() -> None:
    answer = scrape((b"accept-encoding", b"deflate, gzip;q=1.0"))
    headers = dict(answer.headers)
    assert headers[b"content-encoding"] == b"gzip"
    assert int(headers[b"content-length"]) == len(answer.body) < 99
    assert gzip.decompress(answer.body) == b"a 1\n" * 99
    assert b"content-encoding" not in dict(scrape().headers)
