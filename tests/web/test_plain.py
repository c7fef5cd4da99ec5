"""Which requests are plain, and what becomes of them; h11 alone reads the answers."""

from email.utils import parsedate_to_datetime

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.web import plain, response
from livenessprobe.web.plain import Answered
from livenessprobe.web.request import Request
from livenessprobe.web.response import Response
from tests.web.harness import GET, H2_HELLO, H2C, POST, POST_CHUNKED, WEBSOCKET

OK = response.text(200, "ok")

KUBELET = (
    b"GET /healthz?x=%20 HTTP/1.1\r\nHost: 10.0.0.1:9808\r\nUser-Agent: kube-probe/1.34\r\n"
    b"Accept: */*\r\nConnection: close\r\n\r\n"
)


class Asked:
    """Answers always the same, and remembers the requests."""

    def __init__(self, answer: Response = OK) -> None:
        self.requests: list[Request] = []
        self._answer = answer

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self._answer


def answered(said: bytes, answer: Response = OK) -> Answered:
    result = plain.answer(said, Asked(answer))
    assert result is not None
    return result


def read(data: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """Return an answer, which has to be all that there is."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head, body = client.next_event(), b""
    assert isinstance(head, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", False)
    return head, body


def test_the_kubelet_s_request() -> None:
    asked = Asked()
    result = plain.answer(KUBELET, asked)
    [request] = asked.requests
    assert (request.path, request.query) == ("/healthz", b"x=%20")
    assert (request.method, request.http_version) == ("GET", "1.1")
    assert list(request.headers) == [
        (b"host", b"10.0.0.1:9808"),
        (b"user-agent", b"kube-probe/1.34"),
        (b"accept", b"*/*"),
        (b"connection", b"close"),
    ]
    assert result is not None
    assert result.path == "/healthz"
    assert (result.status, result.unread, result.is_last) == (200, b"", True)
    head, body = read(result.data)
    fields = dict(head.headers)
    assert parsedate_to_datetime(fields.pop(b"date").decode()).year >= 2025
    assert tuple(fields.items()) == (*OK.headers, (b"connection", b"close"))
    assert (head.status_code, head.reason, body) == (200, b"OK", b"ok")


@pytest.mark.parametrize(
    ("said", "is_last"),
    [
        (GET, False),
        (GET.replace(b"1.1", b"1.0"), True),
        (GET.replace(b"Host", b"Connection: close\r\nHost"), True),
        (GET.replace(b"Host", b"Connection: keep-alive\r\nHost"), False),
        (GET.replace(b"GET", b"X!"), False),
        (GET.replace(b"Host", b"Expect: 100-continue\r\nHost"), False),
        (GET.replace(b"Host", b"Content-Length: 0\r\nHost"), False),
        (POST_CHUNKED + b"0\r\n\r\n", False),
    ],
)
def test_the_connection_stays_as_the_client_wants(said: bytes, *, is_last: bool) -> None:
    result = answered(said)
    assert result.is_last is is_last
    assert read(result.data)[1] == b"ok"


def test_head_has_no_body() -> None:
    head, body = read(answered(GET.replace(b"GET", b"HEAD")).data, "HEAD")
    assert dict(head.headers)[b"content-length"] == b"2"
    assert body == b""


def test_an_answer_may_be_empty() -> None:
    assert read(answered(GET, response.text(500, "")).data)[1] == b""


@pytest.mark.parametrize("more", [GET, b"G", b"\r\n", b"\x00", b"x" * 5000])
def test_what_comes_after_it_is_kept(more: bytes) -> None:
    assert answered(GET + more).unread == more


NOT_PLAIN = {
    "nothing": b"",
    "half a request": GET[:-1],
    "an empty line before it": b"\r\n" + GET,
    "a body": POST + b"Content-Length: 1\r\n\r\nx",
    "a body to come": POST + b"Content-Length: 1\r\n\r\n",
    "chunks": POST_CHUNKED + b"1\r\nx\r\n0\r\n\r\n",
    "chunks to come": POST_CHUNKED,
    "HTTP/2": H2_HELLO,
    "an upgrade to HTTP/2": H2C,
    "a websocket": WEBSOCKET,
    "a tunnel": GET.replace(b"GET", b"CONNECT"),
    "a version to come": GET.replace(b"1.1", b"1.2"),
    "a version of old": b"GET /healthz\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET.replace(b"Host", b"Host: y\r\nHost"),
    "two lengths": GET.replace(b"Host", b"Content-Length: 0\r\nContent-Length: 1\r\nHost"),
    "many blanks": GET.replace(b"Host:", b"Host:" + b" \t" * 40),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain_is_not_answered(name: str) -> None:
    asked = Asked()
    assert plain.answer(NOT_PLAIN[name], asked) is None
    assert not asked.requests


@given(st.one_of(st.binary(), st.binary().map(GET.__add__), st.binary().map(GET[:-4].__add__)))
def test_whatever_is_said_it_is_plain_or_not(said: bytes) -> None:
    asked = Asked()
    result = plain.answer(said, asked)
    assert len(asked.requests) == (result is not None)
    if result is not None:
        assert said.endswith(result.unread)
        assert len(result.unread) < len(said)
