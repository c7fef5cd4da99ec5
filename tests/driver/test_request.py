"""What a driver gets to see, beside what grpc-go 1.82 sends, recorded on a UNIX socket.

A difference has its reason in its test's name.
"""

from contextlib import closing
from pathlib import Path

import pytest
import trio
from hpack import Decoder

from livenessprobe.driver import Driver
from tests.driver import peer
from tests.driver.peer import (
    END_HEADERS,
    END_STREAM,
    PATIENCE,
    VALID,
    answer,
    listening,
    until_closed,
)

PREFACE = bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a")

GRPC_GO = bytes.fromhex(
    # The preface and SETTINGS, which are empty.
    "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000"
    # The acknowledgement of the server's SETTINGS, HEADERS and DATA.
    "000000040100000000"
    "00005201040000000183864590608832fdc2be490b524c9f4c6bb0f1974186a0e41d139d095f8b1d75d0620d263d4c4d"
    "65647a8a9acac8b4c7602bbc25c140027465864d833505b11f40899acac8b24d494f6a7f8613ef89b13d6f"
    "0000050001000000010000000000"
)
"""The first bytes that a server gets from grpc-go for a Probe with a timeout of 3 s."""

Frame = tuple[int, int, int, bytes]


def frames(sent: bytes) -> list[Frame]:
    """Return kind, flags, stream and payload of each frame behind the preface."""
    assert sent.startswith(PREFACE)
    found, rest = [], sent.removeprefix(PREFACE)
    while rest:
        size, kind, flags = int.from_bytes(rest[:3], "big"), rest[3], rest[4]
        stream, end = int.from_bytes(rest[5:9], "big"), 9 + size
        found.append((kind, flags, stream, rest[9:end]))
        rest = rest[end:]
    return found


def request(sent: bytes) -> list[Frame]:
    return [frame for frame in frames(sent) if frame[2]]


def fields(sent: bytes) -> list[tuple[str, str]]:
    [block] = [payload for kind, *_, payload in frames(sent) if kind == peer.HEADERS]
    return [(str(name), str(value)) for name, value in Decoder().decode(block)]


async def sent_to_a_driver(path: Path, seconds: float = 3.0) -> tuple[bytes, bytes]:
    """Return what a driver gets from a Probe until it answers, and from then to the end."""
    before = after = b""

    async def script(stream: trio.SocketStream) -> None:
        nonlocal before, after
        while peer.END_OF_REQUEST not in before:
            before += await stream.receive_some()
        await stream.send_all(VALID)
        while received := await stream.receive_some():
            after += received

    async with listening(path, script):
        with closing(Driver(str(path))) as driver:
            await driver.probe(seconds)
        with trio.fail_after(PATIENCE):
            while not after:  # noqa: ASYNC110 - the peer's end tells no event
                await trio.sleep(0.001)
    return before, after


async def test_settings_are_empty_and_so_no_window_is_opened(csi_socket: Path) -> None:
    before, _ = await sent_to_a_driver(csi_socket)
    settings = (peer.SETTINGS, 0, 0, b"")
    assert frames(before)[0] == frames(GRPC_GO)[0] == settings
    assert before[: len(PREFACE) + 9] == GRPC_GO[: len(PREFACE) + 9]


async def test_the_request_is_a_frame_of_headers_and_one_of_data(csi_socket: Path) -> None:
    before, _ = await sent_to_a_driver(csi_socket)
    assert [frame[:3] for frame in request(before)] == [
        (peer.HEADERS, END_HEADERS, 1),
        (peer.DATA, END_STREAM, 1),
    ]
    assert [frame[:3] for frame in request(GRPC_GO)] == [frame[:3] for frame in request(before)]
    assert request(before)[1] == request(GRPC_GO)[1]


async def test_the_fields_and_their_order(csi_socket: Path) -> None:
    before, _ = await sent_to_a_driver(csi_socket)
    assert [name for name, _ in fields(before)] == [name for name, _ in fields(GRPC_GO)]
    differ = {"user-agent", "grpc-timeout"}
    assert [field for field in fields(before) if field[0] not in differ] == [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/csi.v1.Identity/Probe"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    assert set(fields(GRPC_GO)) - set(fields(before)) == {
        ("user-agent", "grpc-go/1.82.0"),
        ("grpc-timeout", "2992528u"),
    }


async def test_the_user_agent_is_our_librarys_since_it_is_for_people_to_read(
    csi_socket: Path,
) -> None:
    before, _ = await sent_to_a_driver(csi_socket)
    assert dict(fields(before))["user-agent"].startswith("grpc-python-grpclib/")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "2000m"), (3.0, "4000m"), (10.0, "11000m"), (10.9, "12000m"), (600.0, "601000m")],
)
async def test_the_timeout_is_longer_since_the_driver_must_not_end_a_call_before_us(
    csi_socket: Path, seconds: float, text: str
) -> None:
    before, _ = await sent_to_a_driver(csi_socket, seconds)
    assert dict(fields(before))["grpc-timeout"] == text


async def test_the_request_does_not_wait_for_the_servers_settings_since_http_2_does_not(
    csi_socket: Path,
) -> None:
    """So the acknowledgement comes behind it; grpc-go waits, and gives up after a second."""
    before, after = await sent_to_a_driver(csi_socket)
    acknowledgement = (peer.SETTINGS, peer.ACK, 0, b"")
    assert acknowledgement not in frames(before)
    assert acknowledgement in frames(GRPC_GO)
    assert frames(PREFACE + after) == [acknowledgement]


async def test_no_ping_and_no_goaway_since_closing_says_it_all(csi_socket: Path) -> None:
    """grpc-go sends WINDOW_UPDATE and PING for its estimate of the bandwidth, then GOAWAY."""
    _, after = await sent_to_a_driver(csi_socket)
    assert {kind for kind, *_ in frames(PREFACE + after)} == {peer.SETTINGS}


async def test_a_call_that_takes_too_long_is_cancelled(csi_socket: Path) -> None:
    sent = b""
    closed = trio.Event()
    too_long = trio.CancelScope()

    async def script(stream: trio.SocketStream) -> None:
        nonlocal sent
        while received := await stream.receive_some():
            sent += received
            if peer.END_OF_REQUEST in sent:
                too_long.cancel()
        closed.set()

    async with listening(csi_socket, script):
        with closing(Driver(str(csi_socket))) as driver, too_long:
            await driver.probe(PATIENCE)
        with trio.fail_after(PATIENCE):
            await closed.wait()
    assert frames(sent)[-1] == (peer.RST_STREAM, 0, 1, peer.uint(4, 8))


async def test_the_second_request_on_a_connection_is_encoded_for_a_decoder_that_had_the_first(
    csi_socket: Path,
) -> None:
    sent = b""
    name = peer.message(b"\x0a\4name")

    async def script(stream: trio.SocketStream) -> None:
        nonlocal sent
        await answer(VALID, hang_up=True)(stream)
        while peer.data(peer.message(), end=True, stream=3) not in sent:
            sent += await stream.receive_some()
        await stream.send_all(
            peer.headers((":status", "200"), ("content-type", "application/grpc"), stream=3)
            + peer.data(name, stream=3)
            + peer.headers(("grpc-status", "0"), end=True, stream=3)
        )
        await until_closed(stream)

    first, _ = await sent_to_a_driver(csi_socket)
    async with listening(csi_socket, script):
        with closing(Driver(str(csi_socket))) as driver:
            await driver.probe(3.0)
            assert await driver.get_name(3.0) == "name"
    decoder = Decoder()
    decoder.decode(next(payload for kind, *_, payload in frames(first) if kind == peer.HEADERS))
    [block] = [payload for kind, *_, payload in frames(PREFACE + sent) if kind == peer.HEADERS]
    paths = [str(value) for name, value in decoder.decode(block) if str(name) == ":path"]
    assert paths == ["/csi.v1.Identity/GetPluginInfo"]
