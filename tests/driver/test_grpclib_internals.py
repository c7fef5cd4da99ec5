"""Peers that hang up, that break HTTP/2, that stretch it, that never stop, that speak gibberish."""

import asyncio
import resource
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from livenessprobe.driver import grpclib_internals
from livenessprobe.driver.dial import dial
from livenessprobe.driver.grpclib_internals import (
    MAX_READ_BYTES,
    MAX_RECEIVED_BYTES,
    _Connection,
)
from livenessprobe.driver.h2_internals import MAX_FRAMES, MAX_HEADER_LIST_BYTES, _Decoder, _Encoder
from livenessprobe.driver.reply import MAX_MESSAGE_BYTES
from livenessprobe.health.errors import DeadlineExceededError, DriverError, RPCError
from tests.driver import peer
from tests.driver.peer import (
    OK_200,
    PATIENCE,
    PREFACE,
    READY,
    STATUS_0,
    VALID,
    answer,
    data,
    failure,
    fields,
    frame,
    headers,
    integer,
    message,
    probe,
    uint,
)

HUNG_UP = "the driver closed the connection before it answered"
NOT_HTTP_2 = "the driver does not speak HTTP/2"
NOT_BY_THE_BOOK = "the driver breaks the HTTP/2 protocol"

PING = frame(peer.PING, bytes(8), stream=0)
HUGE_FRAME = b"\xff\xff\xff" + bytes(5) + b"\1"
REQUEST_HEADERS = fields((":method", "GET"), (":path", "/"), (":scheme", "http"))


def setting(identifier: int, value: int) -> bytes:
    return uint(2, identifier) + uint(4, value)


def settings_frame(*values: bytes) -> bytes:
    return frame(peer.SETTINGS, b"".join(values), stream=0)


def goaway(last_stream: int, code: int) -> bytes:
    return frame(peer.GOAWAY, uint(4, last_stream, code) + b"stopping", stream=0)


def goodbye(code: int) -> str:
    return f"the driver ends the connection (GOAWAY, error code {code})"


def reset(code: int, stream: int = 1) -> bytes:
    return frame(peer.RST_STREAM, uint(4, code), stream=stream)


def with_body(*frames: bytes) -> bytes:
    return PREFACE + OK_200 + b"".join(frames) + STATUS_0


def batched(body: bytes, size: int = 16_000) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


BY_THE_BOOK = {
    "no window at all": settings_frame(setting(4, 0)) + OK_200 + READY + STATUS_0,
    "no stream at all": settings_frame(setting(3, 0)) + OK_200 + READY + STATUS_0,
    "unknown setting": settings_frame(setting(0x4242, 1)) + OK_200 + READY + STATUS_0,
    "unknown frames": PREFACE + frame(0x42, b"?") + frame(0x42, b"?", stream=0) + VALID,
    "100 Continue": PREFACE + headers((":status", "100")) + VALID,
    "103 Early Hints": PREFACE + 3 * headers((":status", "103"), ("link", "</>")) + VALID,
    "ALTSVC": PREFACE + frame(0xA, uint(2, 1) + b"ah2=x", stream=0) + VALID,
    "PING": PREFACE + PING + VALID,
    "PING ACK": PREFACE + frame(peer.PING, bytes(8), flags=peer.ACK, stream=0) + VALID,
    "PRIORITY": PREFACE + frame(peer.PRIORITY, uint(4, 0) + b"\5") + VALID,
    "WINDOW_UPDATE": PREFACE + frame(peer.WINDOW_UPDATE, uint(4, 1)) + VALID,
    "CONTINUATION": (
        PREFACE
        + frame(peer.HEADERS, fields((":status", "200")))
        + frame(
            peer.CONTINUATION,
            fields(("content-type", "application/grpc")),
            flags=peer.END_HEADERS,
        )
        + READY
        + STATUS_0
    ),
    "padding": with_body(frame(peer.DATA, b"\3" + message() + bytes(3), flags=peer.PADDED)),
    "nothing but padding": with_body(frame(peer.DATA, b"\3" + bytes(3), flags=peer.PADDED), READY),
    "empty DATA first": with_body(data(), READY),
    "empty DATA in between": with_body(data(b"\0\0\0\0\4"), data(), data(b"\x0a\2\x08\1")),
    "empty DATA last": with_body(READY, data()),
    "DATA byte by byte": with_body(*(data(bytes([byte])) for byte in message(b"\x0a\2\x08\1"))),
    "RST_STREAM behind it": VALID + reset(0),
    "GOAWAY behind it": VALID + goaway(1, 0),
    "a rude GOAWAY and a PING behind it": VALID + goaway(0, 2) + PING,
}


@pytest.mark.parametrize("hang_up", [True, False])
@pytest.mark.parametrize("chunk", BY_THE_BOOK.values(), ids=BY_THE_BOOK)
async def test_all_that_http_2_allows(csi_socket: Path, chunk: bytes, *, hang_up: bool) -> None:
    assert await probe(csi_socket, answer(chunk, hang_up=hang_up)) is True


async def test_a_reply_byte_by_byte(csi_socket: Path) -> None:
    async def script(stream: trio.SocketStream) -> None:
        for byte in VALID:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.0005)
        await peer.until_closed(stream)

    assert await probe(csi_socket, script) is True


async def test_limits_that_are_there_before_the_request(csi_socket: Path) -> None:
    limits = settings_frame(setting(3, 0), setting(4, 0))

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(limits)
        await answer(VALID)(stream)

    assert await probe(csi_socket, script) is True


@pytest.mark.parametrize("size", [4096, 0, 100])
def test_headers_in_a_table_of_the_size_that_the_driver_asks_for(size: int) -> None:
    said = [(b":path", b"/csi.v1.Identity/Probe"), (b"grpc-timeout", b"3999m")]
    for _ in range(2):
        encoder, decoder = _Encoder(), Decoder()
        encoder.header_table_size = decoder.max_allowed_table_size = size
        for _ in range(2):
            assert decoder.decode(encoder.encode(said), raw=True) == said


GIBBERISH = {
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "no preface": OK_200 + READY + STATUS_0,
}


@pytest.mark.parametrize("hang_up", [True, False])
@pytest.mark.parametrize("chunk", GIBBERISH.values(), ids=GIBBERISH)
async def test_another_protocol(csi_socket: Path, chunk: bytes, *, hang_up: bool) -> None:
    assert await failure(csi_socket, chunk, hang_up=hang_up) == (
        "Unavailable",
        f"{csi_socket}: {NOT_HTTP_2}",
    )


BREACHES = {
    "a block that is no HPACK": frame(peer.HEADERS, b"\xff" * 8, flags=peer.END_HEADERS),
    "an index beyond the table": frame(peer.HEADERS, b"\xbf", flags=peer.END_HEADERS),
    "headers for another stream": headers((":status", "200"), stream=3),
    "DATA for another stream": data(b"?", stream=3),
    "DATA before headers": READY,
    "headers twice": OK_200 + OK_200,
    "trailers without an end": OK_200 + READY + headers(("grpc-status", "0")),
    "something behind the end": OK_200 + READY + STATUS_0 + STATUS_0,
    "CONTINUATION of nothing": frame(peer.CONTINUATION),
    "a broken header block": frame(peer.HEADERS, fields((":status", "200"))) + READY,
    "more padding than DATA": OK_200 + frame(peer.DATA, b"\xff?", flags=peer.PADDED),
    "half a setting": settings_frame(b"\0\4\0"),
    "frames of no size": settings_frame(setting(5, 0)),
    "too large a window": settings_frame(setting(4, 2**32 - 1)),
    "too large an update": frame(peer.WINDOW_UPDATE, uint(4, 2**31 - 1)),
    "too large an update for all": frame(peer.WINDOW_UPDATE, uint(4, 2**31 - 1), stream=0),
    "an update by nothing": frame(peer.WINDOW_UPDATE, uint(4, 0), stream=0),
    "half a PING": frame(peer.PING, bytes(4), stream=0),
    "a stream that depends on itself": frame(peer.PRIORITY, uint(4, 1) + b"\5"),
}


@pytest.mark.parametrize("chunk", BREACHES.values(), ids=BREACHES)
async def test_a_breach_of_http_2(csi_socket: Path, chunk: bytes) -> None:
    status, text = await failure(csi_socket, PREFACE, chunk)
    assert status == "Unavailable"
    assert text.startswith(f"{csi_socket}: {NOT_BY_THE_BOOK}: ")


UNWANTED = {
    "a request": frame(peer.HEADERS, REQUEST_HEADERS, flags=peer.END_HEADERS, stream=2),
    "a push": (
        frame(peer.PUSH_PROMISE, uint(4, 2) + REQUEST_HEADERS, flags=peer.END_HEADERS)
        + headers((":status", "404"), stream=2)
        + data(b"?", end=True, stream=2)
    ),
}


@pytest.mark.parametrize("chunk", UNWANTED.values(), ids=UNWANTED)
async def test_what_a_grpc_server_does_not_do_is_ignored(csi_socket: Path, chunk: bytes) -> None:
    """As grpc-go does."""
    assert await probe(csi_socket, answer(PREFACE + chunk + VALID)) is True


RESETS = [
    (0, "Internal", "NO_ERROR"),
    (1, "Internal", "PROTOCOL_ERROR"),
    (2, "Internal", "INTERNAL_ERROR"),
    (3, "ResourceExhausted", "FLOW_CONTROL_ERROR"),
    (4, "Internal", "SETTINGS_TIMEOUT"),
    (5, "Internal", "STREAM_CLOSED"),
    (6, "Internal", "FRAME_SIZE_ERROR"),
    (7, "Unavailable", "REFUSED_STREAM"),
    (8, "Canceled", "CANCEL"),
    (9, "Internal", "COMPRESSION_ERROR"),
    (10, "Internal", "CONNECT_ERROR"),
    (11, "ResourceExhausted", "ENHANCE_YOUR_CALM"),
    (12, "PermissionDenied", "INADEQUATE_SECURITY"),
    (13, "Internal", "HTTP_1_1_REQUIRED"),
    (99, "Unknown", "unknown error code 0x63"),
]


@pytest.mark.parametrize(("code", "status", "name"), RESETS, ids=[name for *_, name in RESETS])
async def test_a_reset(csi_socket: Path, code: int, status: str, name: str) -> None:
    for start in PREFACE, PREFACE + OK_200, PREFACE + OK_200 + READY:
        assert await failure(csi_socket, start, reset(code)) == (
            status,
            f"stream terminated by RST_STREAM with error code: {name}",
        )


UNPROCESSED = {"refused": reset(7), "GOAWAY": goaway(0, 0)}


@pytest.mark.parametrize("chunk", UNPROCESSED.values(), ids=UNPROCESSED)
@pytest.mark.parametrize("times", [1, 2])
async def test_a_call_that_the_driver_has_not_begun_with_is_made_once_more(
    csi_socket: Path, chunk: bytes, times: int
) -> None:
    """As grpc-go does."""
    asked = 0

    async def script(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        await answer(PREFACE + chunk if asked <= times else VALID)(stream)

    if times == 1:
        assert await probe(csi_socket, script) is True
        assert asked == 2
    else:
        with pytest.raises(RPCError, match="code = Unavailable"):
            await probe(csi_socket, script)


STAGES = {
    "before the reply": 1,
    "after the headers": 2,
    "after the message": 3,
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("code", [0, 11, 99])
async def test_a_goaway_that_gives_the_call_up(csi_socket: Path, stage: int, code: int) -> None:
    said = [PREFACE, OK_200, READY][:stage]
    assert await failure(csi_socket, *said, goaway(0, code)) == (
        "Unavailable",
        f"{csi_socket}: {goodbye(code)}",
    )


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("last_stream", [1, 2**31 - 1])
async def test_a_goaway_that_lets_the_call_go_on(
    csi_socket: Path, stage: int, last_stream: int
) -> None:
    said = [PREFACE, OK_200, READY, STATUS_0]
    said[stage:stage] = [goaway(last_stream, 0), PING]
    assert await probe(csi_socket, answer(*said)) is True
    # A driver that closes at once must have sent all of it by then: our answer to its PING fails.
    for hang_up in False, True:
        assert await probe(csi_socket, answer(b"".join(said), hang_up=hang_up)) is True


async def test_a_second_goaway_may_take_back_what_the_first_has_promised(csi_socket: Path) -> None:
    said = PREFACE + goaway(2**31 - 1, 0) + PING + goaway(0, 2)
    assert await failure(csi_socket, said) == ("Unavailable", f"{csi_socket}: {goodbye(0)}")


async def test_a_goaway_is_why_the_connection_ends(csi_socket: Path) -> None:
    assert await failure(csi_socket, PREFACE, goaway(1, 2), hang_up=True) == (
        "Unavailable",
        f"{csi_socket}: {goodbye(2)}",
    )


async def test_silence_after_a_goaway_runs_into_the_deadline(csi_socket: Path) -> None:
    with pytest.raises(DeadlineExceededError):
        await probe(csi_socket, answer(PREFACE, goaway(1, 0)), seconds=0.3)


async def test_a_goaway_before_the_request(csi_socket: Path) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(PREFACE + goaway(0, 11))
        await peer.until_closed(stream)

    with pytest.raises(RPCError, match="GOAWAY, error code 11"):
        await probe(csi_socket, script)


async def test_an_error_that_is_there_outlives_the_connection(csi_socket: Path) -> None:
    error = headers(("grpc-status", "9"), ("grpc-message", "stopping"), end=True)
    for last in reset(0), goaway(1, 0):
        assert await failure(csi_socket, PREFACE + OK_200 + error + last, hang_up=True) == (
            "FailedPrecondition",
            "stopping",
        )


async def test_hanging_up_after_each_byte(csi_socket: Path) -> None:
    for size in range(len(VALID)):
        assert await failure(csi_socket, VALID[:size], hang_up=True) == (
            "Unavailable",
            f"{csi_socket}: {HUNG_UP}",
        )
    assert await probe(csi_socket, answer(VALID, hang_up=True)) is True


async def test_hanging_up_without_a_status(csi_socket: Path) -> None:
    said = PREFACE + OK_200 + data(message(), end=True)
    assert await failure(csi_socket, said, hang_up=True) == (
        "Internal",
        "server closed the stream without sending trailers",
    )


async def hang_up_at_once(stream: trio.SocketStream) -> None:
    pass


async def test_hanging_up_at_once(csi_socket: Path) -> None:
    for _ in range(20):
        with pytest.raises(RPCError, match=HUNG_UP):
            await probe(csi_socket, hang_up_at_once)


async def test_hanging_up_before_the_first_write(
    csi_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dial_and_lose(path: str) -> socket.socket:
        monkeypatch.undo()  # once
        sock = await dial(path)
        await asyncio.get_running_loop().sock_recv(sock, 1)
        return sock

    monkeypatch.setattr(grpclib_internals, "dial", dial_and_lose)
    with pytest.raises(RPCError, match=HUNG_UP):
        await probe(csi_socket, hang_up_at_once)


async def test_only_so_much_is_read(csi_socket: Path) -> None:
    piece = frame(0x42, bytes(16_000))
    sent = 0

    async def script(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.send_all(PREFACE)
        while True:
            await stream.send_all(piece)
            sent += len(piece)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RPCError) as caught:
        await probe(csi_socket, script, seconds=60.0)
    assert str(caught.value) == (
        f"rpc error: code = ResourceExhausted desc = {csi_socket}: livenessprobe takes at most "
        f"{MAX_RECEIVED_BYTES} bytes for a reply, frames and all"
    )
    assert sent < 2 * MAX_RECEIVED_BYTES
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < 2 * MAX_RECEIVED_BYTES


def header_block(block: bytes) -> bytes:
    """Return the frames of one header block, each as large as HTTP/2 has them by default."""
    parts = list(batched(block, 16_384))
    kinds = [peer.HEADERS] + [peer.CONTINUATION] * (len(parts) - 1)
    ends = [0] * (len(parts) - 1) + [peer.END_HEADERS]
    frames = zip(kinds, parts, ends, strict=True)
    return b"".join(frame(kind, part, flags=end) for kind, part, end in frames)


START = fields((":status", "200"), ("content-type", "application/grpc"))


def one_value(size: int) -> bytes:
    """Return a header block of one field beside the usual, whose list has `size` bytes."""
    length = size - list_size(START_FIELDS) - 32 - 1
    return START + b"\0\1x" + integer(length, 7) + bytes(length)


START_FIELDS = [(":status", "200"), ("content-type", "application/grpc")]


def list_size(pairs: list[tuple[str, str]]) -> int:
    return sum(32 + len(name) + len(value) for name, value in pairs)


def many_fields(size: int) -> bytes:
    """Return the same of fields as short as can be."""
    count = (size - list_size(START_FIELDS)) // (32 + 2)
    return START + count * b"\0\1x\1y"


BLOCKS = {"one value": one_value, "short fields": many_fields}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
async def test_1_mib_of_headers(csi_socket: Path, block: Callable[[int], bytes]) -> None:
    large = header_block(block(MAX_HEADER_LIST_BYTES))
    assert await probe(csi_socket, answer(PREFACE, large, READY + STATUS_0)) is True


def seconds_to_decode(count: int) -> float:
    block = START + count * b"\0\1x\1y"
    started_at = time.process_time()
    _Decoder(2**30).decode(block)
    return time.process_time() - started_at


def test_the_time_for_headers_grows_as_they_do() -> None:
    # Sixteen times as many fields; what grew with their square would take 256 times as long.
    least = min(seconds_to_decode(3_000) for _ in range(3))
    assert min(seconds_to_decode(48_000) for _ in range(3)) < 64 * least


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
async def test_more_headers_than_that(csi_socket: Path, block: Callable[[int], bytes]) -> None:
    large = header_block(block(MAX_HEADER_LIST_BYTES + 100))
    assert await failure(csi_socket, PREFACE, large, READY + STATUS_0) == (
        "ResourceExhausted",
        f"{csi_socket}: livenessprobe takes at most {MAX_HEADER_LIST_BYTES} bytes of headers",
    )


async def test_table_size_updates_are_no_more_than_two(csi_socket: Path) -> None:
    """They are no fields, so no limit of the header list counts them, and each takes its time."""
    fitting, endless = 2 * b"\x20" + START, 1_000_000 * b"\x20" + START
    said = header_block(fitting), READY, STATUS_0
    assert await probe(csi_socket, answer(PREFACE, *said)) is True
    status, text = await failure(csi_socket, PREFACE, header_block(endless))
    assert status == "Unavailable"
    assert text.startswith(f"{csi_socket}: {NOT_BY_THE_BOOK}: ")


async def test_an_endless_header_block(csi_socket: Path) -> None:
    start = frame(peer.HEADERS, START)
    assert await failure(csi_socket, PREFACE, start, 100 * frame(peer.CONTINUATION)) == (
        "ResourceExhausted",
        f"{csi_socket}: livenessprobe takes at most {MAX_HEADER_LIST_BYTES} bytes of headers",
    )


async def test_headers_that_unfold(csi_socket: Path) -> None:
    """A name of 4 KB in the table, and one byte for each time that it comes."""
    block = START + b"\x40\1a" + integer(3000, 7) + bytes(3000) + 400 * b"\xbe"
    status, _ = await failure(csi_socket, PREFACE, header_block(block))
    assert status == "ResourceExhausted"


async def test_a_long_error_text_is_kept_with_its_status(csi_socket: Path) -> None:
    text = b"x" * 100_000
    block = fields(("grpc-status", "9"), ("grpc-message", text))
    trailers = header_block(block).replace(
        bytes([peer.HEADERS, 0]), bytes([peer.HEADERS, peer.END_STREAM]), 1
    )
    assert await failure(csi_socket, PREFACE, OK_200, trailers) == (
        "FailedPrecondition",
        "x" * 1024,
    )


@pytest.mark.parametrize("size", [1024, 16_000])
async def test_a_message_of_4_mib_through_a_window_of_64_kib(csi_socket: Path, size: int) -> None:
    """The driver keeps to the window, as the client's SETTINGS have it, which are empty."""
    unknown_field = b"\x12" + varint(MAX_MESSAGE_BYTES - 5)
    body = message(unknown_field + bytes(MAX_MESSAGE_BYTES - 5))
    assert len(body) == MAX_MESSAGE_BYTES + 5

    async def script(stream: trio.SocketStream) -> None:
        await peer.read_request(stream)
        await stream.send_all(PREFACE + OK_200)
        windows = {0: 65_535, 1: 65_535}
        received = b""
        for part in batched(body, size):
            while min(windows.values()) < len(part):
                received += await stream.receive_some()
                while len(received) >= 9 + int.from_bytes(received[:3], "big"):
                    length, kind = int.from_bytes(received[:3], "big"), received[3]
                    if kind == peer.WINDOW_UPDATE:
                        number = int.from_bytes(received[5:9], "big")
                        windows[number] += int.from_bytes(received[9:13], "big")
                    received = received[9 + length :]
            for number in windows:
                windows[number] -= len(part)
            await stream.send_all(data(part))
        await stream.send_all(STATUS_0)
        await peer.until_closed(stream)

    assert await probe(csi_socket, script) is True


def varint(value: int) -> bytes:
    """A protobuf number of four bytes."""
    return bytes([value >> shift & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21)])


CONTINUED = frame(peer.HEADERS, fields((":status", "103"))) + 50 * frame(peer.CONTINUATION)
LARGEST = data(b"\0" + uint(4, MAX_MESSAGE_BYTES))

FLOODS = {
    "SETTINGS": (b"", settings_frame()),
    "PING": (b"", PING),
    "WINDOW_UPDATE": (b"", frame(peer.WINDOW_UPDATE, uint(4, 1), stream=0)),
    "informational responses": (b"", headers((":status", "103"))),
    "CONTINUATION": (b"", CONTINUED + frame(peer.CONTINUATION, flags=peer.END_HEADERS)),
    "unknown frames": (b"", frame(0x42)),
    "empty DATA": (OK_200, data()),
    "empty DATA with padding": (OK_200, frame(peer.DATA, b"\0", flags=peer.PADDED)),
    "DATA of one byte": (OK_200 + LARGEST, data(b"x")),
}


def flood(start: bytes, piece: bytes) -> peer.Script:
    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(PREFACE + start)
        pieces = piece * 1000
        while True:
            await stream.send_all(pieces)

    return script


@pytest.mark.parametrize(("start", "piece"), FLOODS.values(), ids=FLOODS)
async def test_only_so_many_frames_are_received(
    csi_socket: Path, start: bytes, piece: bytes
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RPCError) as caught:
            await probe(csi_socket, flood(start, piece))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(caught.value) == (
        f"rpc error: code = ResourceExhausted desc = {csi_socket}: livenessprobe takes at most "
        f"{MAX_FRAMES} frames for a reply"
    )
    assert peak < 16 * 2**20


@pytest.mark.parametrize(("start", "piece"), FLOODS.values(), ids=FLOODS)
async def test_a_flood_of_small_frames_cannot_outlast_the_deadline(
    csi_socket: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, piece: bytes
) -> None:
    read: list[int] = []
    data_received = _Connection.data_received

    def count_and_receive(self: _Connection, data: bytes) -> None:
        read.append(len(data))
        data_received(self, data)

    monkeypatch.setattr(_Connection, "data_received", count_and_receive)
    started_at = trio.current_time()
    with pytest.raises(RPCError) as caught:
        await probe(csi_socket, flood(start, piece), seconds=0.3)
    assert caught.value.grpc_status in {"DeadlineExceeded", "ResourceExhausted"}
    assert trio.current_time() - started_at < PATIENCE
    assert max(read) <= MAX_READ_BYTES


async def accept_and_never_read(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def trickle(stream: trio.SocketStream) -> None:
    for byte in PREFACE + 100 * PING:
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.01)


SILENT = {
    "reads nothing": accept_and_never_read,
    "reads and says nothing": answer(),
    "says next to nothing": trickle,
    "announces a frame that is too large": answer(PREFACE, HUGE_FRAME),
}


@pytest.mark.parametrize("script", SILENT.values(), ids=SILENT)
async def test_no_answer(csi_socket: Path, script: peer.Script) -> None:
    with pytest.raises(DeadlineExceededError, match="context deadline exceeded"):
        await probe(csi_socket, script, seconds=0.3)


async def test_a_frame_that_is_too_large(csi_socket: Path) -> None:
    status, _ = await failure(csi_socket, PREFACE, HUGE_FRAME, bytes(2 * MAX_RECEIVED_BYTES))
    assert status == "ResourceExhausted"  # h2 waits for its end


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arbitrary") / "csi.sock"


def probe_bytes(path: Path, said: bytes) -> bool | DriverError:
    """Probe a driver that says this and hangs up."""
    try:
        return trio.run(partial(probe, path, answer(said, hang_up=True)))
    except DriverError as error:
        return error


@settings(max_examples=50)
@given(said=st.binary(max_size=200))
def test_whatever_a_peer_says_is_an_error(path: Path, said: bytes) -> None:
    for start in b"", PREFACE, PREFACE + OK_200:
        assert isinstance(probe_bytes(path, start + said), RPCError)


ERROR = headers(("grpc-status", "9"), end=True)
REPLY_FRAMES = {OK_200, READY, peer.NOT_READY, STATUS_0, ERROR}
OTHER_FRAMES = {
    settings_frame(),
    PING,
    frame(peer.WINDOW_UPDATE, uint(4, 1)),
    headers((":status", "103")),
    data(),
    reset(0),
    goaway(1, 0),
}


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """What makes up an answer, in some order, and other frames anywhere."""
    reply = draw(
        st.permutations([OK_200, draw(st.sampled_from([READY, peer.NOT_READY])), STATUS_0])
    )
    for other in draw(st.lists(st.sampled_from([*REPLY_FRAMES, *OTHER_FRAMES]), max_size=3)):
        reply.insert(draw(st.integers(0, len(reply))), other)
    return reply


@settings(max_examples=100)
@given(frames=conversations())
def test_an_answer_is_headers_then_a_message_then_a_status(path: Path, frames: list[bytes]) -> None:
    result = probe_bytes(path, PREFACE + b"".join(frames))
    if isinstance(result, bool):
        reply = [piece for piece in frames if piece in REPLY_FRAMES]
        assert reply[:3] == [OK_200, READY if result else peer.NOT_READY, STATUS_0]
    else:
        assert isinstance(result, RPCError)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A valid exchange in which up to three places were changed, cut out or doubled."""
    said = VALID
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(said)))
        end = min(len(said), start + draw(st.sampled_from([0, 1, 1, 9])))
        instead = draw(st.binary(max_size=2) | st.just(2 * said[start:end]))
        said = said[:start] + instead + said[end:]
    return said


@settings(max_examples=100)
@given(said=mutations())
def test_a_valid_exchange_with_mistakes(path: Path, said: bytes) -> None:
    assert isinstance(probe_bytes(path, said), bool | RPCError)
