from collections.abc import Iterator

import pytest
from hyperframe.frame import HeadersFrame, PingFrame
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.server import limits, registry
from livenessprobe.server.limits import AbuseError, Http1Input, Http2Input
from tests.server.harness import GET, H2_PREFACE, POST_CHUNKED, h2_request

PING = PingFrame(0, bytes(8)).serialize()
REQUEST = h2_request()


def take_all(unread: Http1Input | Http2Input) -> Iterator[bytes]:
    while chunk := unread.take():
        yield chunk


def split(data: bytes, *, http2: bool, read_bytes: int = limits.READ_BYTES) -> list[bytes]:
    """Return the chunks of what is received in such reads."""
    unread = Http2Input(b"") if http2 else Http1Input(b"", lambda: False)
    taken: list[bytes] = []
    for start in range(0, len(data), read_bytes):
        unread.feed(data[start : start + read_bytes])
        taken += take_all(unread)
    return taken


def frame(length: int, kind: int) -> bytes:
    return length.to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 1]) + bytes(length)


# HTTP/1


@pytest.mark.parametrize(
    "parts",
    [
        [GET],
        [GET, GET, GET],
        [GET, b"GET /half"],
        [POST_CHUNKED, b"2\r\nhi\r\n0\r\n\r\n", GET],
        [b"GET /healthz HTTP/1.1\nHost: x\n\n", GET],
        [b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n", b"\0\0\0"],
        [b"\xff" * 100],
    ],
)
@pytest.mark.parametrize("read_bytes", [1, 2, 3, 4, 5, 7, 11, 4096])
def test_a_chunk_ends_with_an_empty_line(parts: list[bytes], read_bytes: int) -> None:
    taken = split(b"".join(parts), http2=False, read_bytes=read_bytes)
    ends = {sum(map(len, taken[: n + 1])) for n in range(len(taken))}
    assert b"".join(taken) == b"".join(parts)
    assert ends >= {sum(map(len, parts[: n + 1])) for n in range(len(parts))}
    if read_bytes == 4096:
        assert taken == parts


def test_what_came_before_an_empty_line_does_not_count_for_the_next() -> None:
    unread = Http1Input(b"", lambda: False)
    taken: list[bytes] = []
    for received in b"a\r\n", b"\r\n\r\nb":
        unread.feed(received)
        taken += take_all(unread)
    assert taken == [b"a\r\n", b"\r\n", b"\r\nb"]


@pytest.mark.parametrize("blank", [b" ", b"\t"])
@pytest.mark.parametrize("read_bytes", [1, 63, 255, 256, 257, 4096])
def test_a_head_has_few_blanks_in_a_row(blank: bytes, read_bytes: int) -> None:
    few = GET.replace(b"Host: ", b"Host:" + blank * limits.BLANKS)
    many = few.replace(b"Host:", b"Host:" + blank)
    assert b"".join(split(few + few, http2=False, read_bytes=read_bytes)) == few + few
    with pytest.raises(AbuseError, match="blanks"):
        split(few + many, http2=False, read_bytes=read_bytes)


def test_a_body_is_no_head() -> None:
    body = b"a:" + b" " * 9_000 + b"\n" * 9_000
    unread = Http1Input(body, lambda: True)
    taken = list(take_all(unread))
    assert b"".join(taken) == body
    assert max(map(len, taken)) == limits.BODY_CHUNK_BYTES


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (GET, True),
        (POST_CHUNKED, True),
        (b"\r\n\r\n", True),
        (b"", False),
        (b"GE", False),
        (GET + GET, False),
        (GET + b"x", False),
        (b"PRI * HTTP/2.0\r\n\r\n", False),
        (H2_PREFACE, False),
    ],
)
def test_one_whole_request_is_seen(received: bytes, *, expected: bool) -> None:
    assert limits.is_one_head(received) is expected


def test_what_all_clients_may_send_at_once_is_little() -> None:
    assert limits.READ_BYTES * registry.CONNECTIONS <= 1 << 20


# HTTP/2


@pytest.mark.parametrize("frames", [[], [PING], [PING] * 20, [REQUEST, PING, REQUEST]])
def test_a_chunk_is_a_frame(frames: list[bytes]) -> None:
    sent = H2_PREFACE + b"".join(frames)
    assert split(sent, http2=True) == [H2_PREFACE, *frames]


@given(
    frames=st.lists(
        st.sampled_from([PING, REQUEST, frame(0, 0), frame(9, 0), frame(300, 0), frame(40, 250)]),
        max_size=40,
    ),
    read_bytes=st.integers(1, 700),
)
def test_what_is_received_is_passed_on_unchanged(frames: list[bytes], read_bytes: int) -> None:
    sent = H2_PREFACE + b"".join(frames)
    assert b"".join(split(sent, http2=True, read_bytes=read_bytes)) == sent


def test_the_head_of_a_frame_is_waited_for() -> None:
    unread = Http2Input(b"")
    unread.feed(H2_PREFACE + PING[:8])
    assert list(take_all(unread)) == [H2_PREFACE]
    assert unread.unread
    unread.feed(PING[8:])
    assert list(take_all(unread)) == [PING]
    assert not unread.unread


@given(st.binary())
def test_garbage_is_passed_on_or_refused(sent: bytes) -> None:
    for http2 in False, True:
        try:
            taken = b"".join(split(sent, http2=http2))
        except AbuseError:
            assert http2
        else:
            assert sent.startswith(taken)


def test_a_client_may_ask_so_often_that_its_headers_are_long_in_all() -> None:
    large = HeadersFrame(1, bytes(limits.FRAME_BYTES // 2)).serialize()
    begun, rest = HeadersFrame(1, b"").serialize(), frame(limits.FRAME_BYTES // 2, 9)
    data = H2_PREFACE + large * 3 + (begun + rest) * 3
    assert b"".join(split(data, http2=True)) == data


@pytest.mark.parametrize(
    "sent",
    [
        [frame(limits.FRAME_BYTES + 1, 0)],
        [frame(2**24 - 1, 250)],
        [HeadersFrame(1, bytes(limits.FRAME_BYTES)).serialize(), frame(1, 9)],
        [HeadersFrame(1, b"").serialize(), *[frame(limits.FRAME_BYTES // 2, 9)] * 2, frame(1, 9)],
    ],
)
def test_what_is_larger_than_agreed_is_refused_at_its_head(sent: list[bytes]) -> None:
    *good, bad = sent
    before = H2_PREFACE + b"".join(good)
    assert b"".join(split(before, http2=True)) == before
    with pytest.raises(AbuseError):
        split(before + bad[:9], http2=True)
