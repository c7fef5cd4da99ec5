from collections.abc import Iterator

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
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
    with pytest.raises(AbuseError, match="blanks") as caught:
        split(few + many, http2=False, read_bytes=read_bytes)
    assert caught.value.status == 400


@pytest.mark.parametrize("read_bytes", [1, 63, 4096])
def test_a_head_has_few_lines(read_bytes: int) -> None:
    few = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (limits.HEAD_LINES - 2)
    assert b"".join(split((few + b"\r\n") * 2, http2=False, read_bytes=read_bytes))
    with pytest.raises(AbuseError, match="lines") as caught:
        split(few + b"X: y\r\n\r\n", http2=False, read_bytes=read_bytes)
    assert caught.value.status == 431


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


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], []),
        ([PING], [PING]),
        ([PING] * limits.CHUNK_FRAMES, [PING * limits.CHUNK_FRAMES]),
        ([PING] * (limits.CHUNK_FRAMES + 1), [PING * limits.CHUNK_FRAMES, PING]),
        ([REQUEST, REQUEST], [REQUEST, REQUEST]),
        ([PING, REQUEST, PING, REQUEST], [PING + REQUEST + PING, REQUEST]),
    ],
)
def test_a_chunk_has_few_frames_and_one_request(sent: list[bytes], expected: list[bytes]) -> None:
    first, *rest = expected or [b""]
    assert split(H2_PREFACE + b"".join(sent), http2=True) == [H2_PREFACE + first, *rest]


@settings(deadline=None)
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
    assert unread
    unread.feed(PING[8:])
    assert list(take_all(unread)) == [PING]
    assert not unread


@settings(deadline=None)
@given(st.binary())
def test_garbage_is_passed_on_or_refused(sent: bytes) -> None:
    for http2 in False, True:
        try:
            taken = b"".join(split(sent, http2=http2))
        except AbuseError:
            assert http2
        else:
            assert sent.startswith(taken)


NO_REQUESTS: dict[str, Frame] = {
    "PING": PingFrame(0, bytes(8)),
    "PING, acknowledged": PingFrame(0, bytes(8), flags=["ACK"]),
    "SETTINGS": SettingsFrame(0),
    "WINDOW_UPDATE": WindowUpdateFrame(0, 1),
    "PRIORITY": PriorityFrame(1, depends_on=0),
    "DATA without any": DataFrame(1, b""),
    "DATA of a byte": DataFrame(1, b"x"),
    "CONTINUATION": ContinuationFrame(1, b""),
}


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_frames_that_are_not_requests_are_paid_for(name: str) -> None:
    data = H2_PREFACE + NO_REQUESTS[name].serialize() * limits.BUDGET
    assert b"".join(split(data, http2=True)) == data
    with pytest.raises(AbuseError, match="not requests"):
        split(data + PING, http2=True)


def test_a_request_adds_to_the_budget() -> None:
    spent = H2_PREFACE + PING * limits.BUDGET
    data = spent + REQUEST + PING * limits.REQUEST_INCOME
    assert b"".join(split(data, http2=True)) == data
    with pytest.raises(AbuseError, match="not requests"):
        split(data + PING, http2=True)


def test_a_response_adds_to_the_budget() -> None:
    unread = Http2Input(H2_PREFACE + PING * limits.BUDGET)
    list(take_all(unread))
    unread.sent(2 * limits.BYTES_PER_FRAME)
    unread.feed(PING * 2)
    list(take_all(unread))
    unread.feed(PING)
    with pytest.raises(AbuseError, match="not requests"):
        unread.take()


def test_a_long_body_is_no_abuse() -> None:
    part = frame(limits.BYTES_PER_FRAME, 0)
    data = H2_PREFACE + REQUEST + part * (limits.BUDGET + limits.REQUEST_INCOME + 1)
    assert b"".join(split(data, http2=True)) == data


def test_no_more_is_saved_up_than_at_the_start() -> None:
    saved = H2_PREFACE + REQUEST * 100
    with pytest.raises(AbuseError, match="not requests"):
        split(saved + PING * (limits.BUDGET + 1), http2=True)


def test_a_client_may_ask_so_often_that_its_headers_are_long_in_all() -> None:
    large = HeadersFrame(1, bytes(limits.BLOCK_BYTES // 2)).serialize()
    begun, rest = HeadersFrame(1, b"").serialize(), frame(limits.BLOCK_BYTES // 2, 9)
    data = H2_PREFACE + large * 3 + (begun + rest) * 3
    assert b"".join(split(data, http2=True)) == data


def test_requests_may_be_given_up_some_times() -> None:
    given_up = REQUEST + RstStreamFrame(1).serialize()
    data = H2_PREFACE + given_up * 90
    assert b"".join(split(data, http2=True)) == data
    with pytest.raises(AbuseError, match="not requests"):
        split(data + given_up * 20, http2=True)


@pytest.mark.parametrize(
    "sent",
    [
        [frame(limits.FRAME_BYTES + 1, 0)],
        [frame(2**24 - 1, 250)],
        [HeadersFrame(1, bytes(limits.BLOCK_BYTES)).serialize(), frame(1, 9)],
        [HeadersFrame(1, b"").serialize(), *[frame(limits.BLOCK_BYTES // 2, 9)] * 2, frame(1, 9)],
    ],
)
def test_what_is_larger_than_agreed_is_refused_at_its_head(sent: list[bytes]) -> None:
    *good, bad = sent
    before = H2_PREFACE + b"".join(good)
    assert b"".join(split(before, http2=True)) == before
    with pytest.raises(AbuseError):
        split(before + bad[:9], http2=True)
