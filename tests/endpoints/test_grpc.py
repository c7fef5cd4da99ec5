"""gRPC's rules for one call, each as a request and its response."""

import struct
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated.grpc.health.v1 import HealthCheckRequest
from livenessprobe.endpoints import grpc
from livenessprobe.server.request import BODY_BYTES, Request
from livenessprobe.server.response import Response
from tests.endpoints.call import HEADERS, framed

OK, UNIMPLEMENTED, RESOURCE_EXHAUSTED, INTERNAL = b"0", b"12", b"8", b"13"


def echo(request: HealthCheckRequest) -> grpc.Reply:
    return grpc.Reply(message=request, metadata=((b"a", b"b"),))


ENDPOINT = grpc.unary(HealthCheckRequest, echo)

CALL = Request(
    path="/",
    method="POST",
    http_version="2",
    headers=tuple(HEADERS.items()),
    body=framed(bytes(HealthCheckRequest(service="x"))),
)


def call(
    body: bytes = CALL.body,
    method: str = "POST",
    http_version: str = "2",
    **headers: str,
) -> Response:
    """Call with other header fields: "_" stands for "-", and "" leaves one out."""
    fields = HEADERS | {
        name.replace("_", "-").encode(): value.encode() for name, value in headers.items()
    }
    request = Request(
        path="/",
        method=method,
        http_version=http_version,
        headers=[field for field in fields.items() if field[1]],
        body=body,
    )
    return ENDPOINT(request)


def status(response: Response) -> bytes:
    """Return the gRPC status, of a response in gRPC's form."""
    assert response.status == 200
    assert dict(response.headers)[b"content-type"] == b"application/grpc"
    return dict(response.trailers)[b"grpc-status"]


def test_a_call_gets_one_message_and_metadata_and_the_status_after_them() -> None:
    assert ENDPOINT(CALL) == Response(
        status=200,
        headers=(
            (b"content-type", b"application/grpc"),
            (b"grpc-accept-encoding", b"identity"),
            (b"a", b"b"),
        ),
        body=b"\0\0\0\0\x03\x0a\x01x",
        trailers=((b"grpc-status", b"0"),),
    )


def test_a_failed_call_gets_no_message() -> None:
    assert call(b"") == Response(
        status=200,
        headers=((b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity")),
        body=b"",
        trailers=((b"grpc-status", b"13"), (b"grpc-message", b"a call without a message")),
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;x=y",
        "application/grpc+proto ; charset=utf-8",
        "Application/GRPC",
    ],
)
def test_content_types_of_grpc(content_type: str) -> None:
    assert status(call(content_type=content_type)) == OK


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/json",
        "application/grpc+json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpcx",
        "application/grpc, text/plain",
        ";",
    ],
)
def test_other_content_types(content_type: str) -> None:
    assert call(content_type=content_type).status == 415


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "post", ""])
def test_other_methods_than_post(method: str) -> None:
    response = call(method=method)
    assert response.status == 405
    assert (b"allow", b"POST") in response.headers


@pytest.mark.parametrize("http_version", ["1.0", "1.1"])
def test_http_1(http_version: str) -> None:
    assert call(http_version=http_version).status == 505


@pytest.mark.parametrize("te", ["", "gzip", "trailers, gzip"])
def test_a_client_that_takes_no_trailers(te: str) -> None:
    assert call(te=te).status == 400


@pytest.mark.parametrize(
    "response", [call(method="GET"), call(http_version="1.1"), call(content_type=""), call(te="")]
)
def test_what_is_no_call_gets_an_answer_that_every_client_can_take(response: Response) -> None:
    assert response.trailers == ()
    assert b"gRPC call" in response.body or response.body == b"gRPC needs HTTP/2\n"


def test_a_deadline_changes_nothing() -> None:
    assert status(call(grpc_timeout="1n")) == OK


@pytest.mark.parametrize(
    ("flag", "encoding", "expected"),
    [
        (0, "", OK),
        (0, "identity", OK),
        (0, "gzip", OK),  # a small message goes uncompressed though its client can compress
        (1, "gzip", UNIMPLEMENTED),
        (1, "x", UNIMPLEMENTED),
        (1, "", INTERNAL),
        (1, "identity", INTERNAL),
        (2, "gzip", INTERNAL),
        (255, "", INTERNAL),
    ],
)
def test_compression(flag: int, encoding: str, expected: bytes) -> None:
    response = call(bytes([flag]) + CALL.body[1:], grpc_encoding=encoding)
    assert status(response) == expected
    assert (b"grpc-accept-encoding", b"identity") in response.headers


LONGEST = bytes(HealthCheckRequest(service="x" * (grpc.MAX_MESSAGE_BYTES - 3)))

BODIES = {
    "the empty message": (framed(b""), OK),
    "the longest message": (framed(LONGEST), OK),
    "one byte more": (framed(LONGEST + b"\0"), RESOURCE_EXHAUSTED),
    "the longest length, and nothing of it": (b"\0\xff\xff\xff\xff", RESOURCE_EXHAUSTED),
    "no message": (b"", INTERNAL),
    "half a prefix": (b"\0\0\0\0", INTERNAL),
    "half a message": (CALL.body[:-1], INTERNAL),
    "a message and a byte": (CALL.body + b"\0", INTERNAL),
    "two messages": (CALL.body * 2, INTERNAL),
    "two empty messages": (framed(b"") * 2, INTERNAL),
    "a field cut short": (framed(b"\x0a"), INTERNAL),
    "a field of another type": (framed(b"\x08\x01"), INTERNAL),
    "a name that is not UTF-8": (framed(b"\x0a\x01\xff"), INTERNAL),
    "a name that is a surrogate": (framed(b"\x0a\x03\xed\xa0\x80"), INTERNAL),
    "a field that nobody knows": (framed(CALL.body[5:] + b"\x10\x01"), OK),
    "text": (b"GET / HTTP/1.1", RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str) -> None:
    body, expected = BODIES[name]
    assert status(call(body)) == expected


def test_the_longest_message_is_collected() -> None:
    assert len(framed(LONGEST)) < BODY_BYTES


PREFIXED = st.builds(
    lambda flag, length, data: struct.pack(">BI", flag, length) + data,
    st.sampled_from([0, 0, 0, 1, 2, 255]),
    st.integers(0, 40) | st.integers(0, 2**32 - 1),
    st.binary(max_size=40),
)
MESSAGES = st.binary(max_size=24).map(framed)
NAMES = st.text().map(lambda name: framed(bytes(HealthCheckRequest(service=name))))


@given(
    body=st.binary(max_size=BODY_BYTES) | PREFIXED | MESSAGES | NAMES,
    encoding=st.sampled_from(["", "gzip", "\xff", "%", "\n"]),
)
def test_no_body_is_more_than_a_call_that_fails(body: bytes, encoding: str) -> None:
    response = call(body, grpc_encoding=encoding)
    assert status(response) in {OK, UNIMPLEMENTED, RESOURCE_EXHAUSTED, INTERNAL}
    assert bool(response.body) is (status(response) == OK)
    assert all(0x20 <= byte < 0x7F for field in response.trailers for byte in field[1])


HEADER_VALUES = st.binary(max_size=40) | st.sampled_from(
    [b"application/grpc", b"application/grpc+proto;", b"trailers", b"gzip"]
)


@given(
    path=st.text(),
    method=st.sampled_from(["POST", "POST", "GET", "\xff"]),
    http_version=st.sampled_from(["2", "2", "1.1", "3"]),
    names=st.lists(st.sampled_from([b"content-type", b"te", b"grpc-encoding"]), max_size=4),
    data=st.data(),
)
def test_no_request_raises(
    path: str, method: str, http_version: str, names: list[bytes], data: st.DataObject
) -> None:
    headers = [(name, data.draw(HEADER_VALUES)) for name in names]
    request = Request(path=path, method=method, http_version=http_version, headers=headers)
    for response in ENDPOINT(request), grpc.unimplemented(request):
        assert response.status in {200, 400, 405, 415, 505}
        assert bool(response.trailers) is (response.status == 200)
    assert isinstance(grpc.is_call(request), bool)


def test_only_a_post_can_be_a_call() -> None:
    get, post = (
        Request(path="/", method=method, headers=CALL.headers) for method in ("GET", "POST")
    )
    assert (grpc.is_call(get), grpc.is_call(post)) == (False, True)


def test_a_method_that_there_is_not_is_named() -> None:
    request = Request(path="/a/\u00e9\n", method="POST", http_version="2", headers=CALL.headers)
    assert grpc.unimplemented(request).trailers == (
        (b"grpc-status", b"12"),
        (b"grpc-message", b"unknown method /a/%C3%A9%0A"),
    )


@pytest.mark.parametrize(
    ("words", "encoded"),
    [
        ("", b""),
        (" plain ~ text, \"'\\", b" plain ~ text, \"'\\"),
        ("100%", b"100%25"),
        ("a\r\nb\0\x7f", b"a%0D%0Ab%00%7F"),
        ("é✗", b"%C3%A9%E2%9C%97"),
        ("\udcff", b"?"),
        ("x" * 1025, b"x" * 1024),
        ("x" + "é" * 1000, b"x" + b"%C3%A9" * 511),
    ],
)
def test_words_are_percent_encoded_and_cut(words: str, encoded: bytes) -> None:
    assert grpc.percent_encode(words) == encoded


@given(st.text())
def test_percent_encoded_words_can_be_read_again(words: str) -> None:
    read = unquote(grpc.percent_encode(words).decode("ascii"), errors="strict")
    assert words.encode(errors="replace").decode().startswith(read)
