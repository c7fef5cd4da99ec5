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

from livenessprobe.web import accept, pieces
from livenessprobe.web.pieces import FloodError, Pieces
from tests.web.harness import GET, H2_PREFACE, POST_CHUNKED, h2_request

PING = PingFrame(0, bytes(8)).serialize()
REQUEST = h2_request()


def take_all(unread: Pieces, *, http2: bool) -> Iterator[bytes]:
    while piece := unread.take(http2=http2):
        yield piece


def split(data: bytes, *, http2: bool, read_bytes: int = pieces.READ_BYTES) -> list[bytes]:
    """Return the pieces of what is received in such reads."""
    unread = Pieces()
    taken: list[bytes] = []
    for start in range(0, len(data), read_bytes):
        unread.feed(data[start : start + read_bytes])
        taken += take_all(unread, http2=http2)
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
def test_a_piece_ends_with_an_empty_line(parts: list[bytes], read_bytes: int) -> None:
    taken = split(b"".join(parts), http2=False, read_bytes=read_bytes)
    ends = {sum(map(len, taken[: n + 1])) for n in range(len(taken))}
    assert b"".join(taken) == b"".join(parts)
    assert ends >= {sum(map(len, parts[: n + 1])) for n in range(len(parts))}
    if read_bytes == 4096:
        assert taken == parts


def test_what_came_before_an_empty_line_does_not_count_for_the_next() -> None:
    unread = Pieces()
    taken: list[bytes] = []
    for received in b"a\r\n", b"\r\n\r\nb":
        unread.feed(received)
        taken += take_all(unread, http2=False)
    assert taken == [b"a\r\n", b"\r\n", b"\r\nb"]


@pytest.mark.parametrize("blank", [b" ", b"\t"])
@pytest.mark.parametrize("read_bytes", [1, 63, 64, 65, 4096])
def test_a_header_field_begins_with_few_blanks(blank: bytes, read_bytes: int) -> None:
    few = GET.replace(b"Host: ", b"Host:" + blank * pieces.MAX_BLANKS)
    many = few.replace(b"Host:", b"Host:" + blank)
    assert b"".join(split(few + few, http2=False, read_bytes=read_bytes)) == few + few
    with pytest.raises(FloodError, match="blanks"):
        split(few + many, http2=False, read_bytes=read_bytes)


def test_what_all_clients_may_send_at_once_is_little() -> None:
    assert pieces.READ_BYTES * accept.CONNECTIONS <= 1 << 20


# HTTP/2


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], []),
        ([PING], [PING]),
        ([PING] * pieces.FRAMES, [PING * pieces.FRAMES]),
        ([PING] * (pieces.FRAMES + 1), [PING * pieces.FRAMES, PING]),
        ([REQUEST, REQUEST], [REQUEST, REQUEST]),
        ([PING, REQUEST, PING], [PING + REQUEST, PING]),
    ],
)
@pytest.mark.parametrize("preface", [H2_PREFACE, H2_PREFACE[-6:]])
def test_a_piece_has_few_frames_and_one_request(
    preface: bytes, sent: list[bytes], expected: list[bytes]
) -> None:
    first, *rest = expected or [b""]
    assert split(preface + b"".join(sent), http2=True) == [preface + first, *rest]


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
    unread = Pieces()
    unread.feed(H2_PREFACE + PING[:8])
    assert list(take_all(unread, http2=True)) == [H2_PREFACE]
    assert unread
    unread.feed(PING[8:])
    assert list(take_all(unread, http2=True)) == [PING]
    assert not unread


@settings(deadline=None)
@given(st.binary())
def test_garbage_is_passed_on_or_refused(sent: bytes) -> None:
    for http2 in False, True:
        try:
            taken = b"".join(split(sent, http2=http2))
        except FloodError:
            assert http2
        else:
            assert sent.startswith(taken)


ASKS_NOTHING: dict[str, Frame] = {
    "PING": PingFrame(0, bytes(8)),
    "PING, acknowledged": PingFrame(0, bytes(8), flags=["ACK"]),
    "SETTINGS": SettingsFrame(0),
    "WINDOW_UPDATE": WindowUpdateFrame(0, 1),
    "PRIORITY": PriorityFrame(1, depends_on=0),
    "DATA without any": DataFrame(1, b""),
    "DATA of a byte": DataFrame(1, b"x"),
    "CONTINUATION": ContinuationFrame(1, b""),
}


@pytest.mark.parametrize("name", ASKS_NOTHING)
def test_frames_that_ask_nothing_are_counted(name: str) -> None:
    data = H2_PREFACE + ASKS_NOTHING[name].serialize() * pieces.FREE_FRAMES
    assert b"".join(split(data, http2=True)) == data
    with pytest.raises(FloodError, match="ask nothing"):
        split(data + PING, http2=True)


def test_a_request_brings_more_of_them() -> None:
    data = H2_PREFACE + REQUEST + PING * (pieces.FREE_FRAMES + pieces.FRAMES_PER_REQUEST)
    assert b"".join(split(data, http2=True)) == data
    with pytest.raises(FloodError, match="ask nothing"):
        split(data + PING, http2=True)


def test_an_answer_brings_more_of_them() -> None:
    unread = Pieces()
    unread.sent(2 * pieces.BYTES_PER_FRAME)
    unread.feed(H2_PREFACE + PING * (pieces.FREE_FRAMES + 2))
    list(take_all(unread, http2=True))
    unread.feed(PING)
    with pytest.raises(FloodError, match="ask nothing"):
        unread.take(http2=True)


def test_a_long_body_is_no_flood() -> None:
    part = frame(pieces.BYTES_PER_FRAME, 0)
    data = H2_PREFACE + REQUEST + part * (pieces.FREE_FRAMES + pieces.FRAMES_PER_REQUEST + 1)
    assert b"".join(split(data, http2=True)) == data


def test_a_client_may_ask_so_often_that_its_headers_are_long_in_all() -> None:
    large = HeadersFrame(1, bytes(pieces.BLOCK_BYTES // 2)).serialize()
    begun, rest = HeadersFrame(1, b"").serialize(), frame(pieces.BLOCK_BYTES // 2, 9)
    data = H2_PREFACE + large * 3 + (begun + rest) * 3
    assert b"".join(split(data, http2=True)) == data


def test_requests_may_be_given_up_some_times() -> None:
    given_up = REQUEST + RstStreamFrame(1).serialize()
    data = H2_PREFACE + given_up * pieces.RESETS
    assert b"".join(split(data, http2=True)) == data
    with pytest.raises(FloodError, match="given up"):
        split(data + given_up, http2=True)


@pytest.mark.parametrize(
    "sent",
    [
        [frame(pieces.FRAME_BYTES + 1, 0)],
        [frame(2**24 - 1, 250)],
        [HeadersFrame(1, bytes(pieces.BLOCK_BYTES)).serialize(), frame(1, 9)],
        [HeadersFrame(1, b"").serialize(), *[frame(pieces.BLOCK_BYTES // 2, 9)] * 2, frame(1, 9)],
    ],
)
def test_what_is_larger_than_agreed_is_refused_at_its_head(sent: list[bytes]) -> None:
    *good, bad = sent
    before = H2_PREFACE + b"".join(good)
    assert b"".join(split(before, http2=True)) == before
    with pytest.raises(FloodError):
        split(before + bad[:9], http2=True)
