"""Whatever a driver says on the held connection, in whatever pieces: one end, and no exception."""

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import pairwise

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from livenessprobe.driver.grpclib_internals import IdleConnection
from livenessprobe.driver.h2_internals import ClientConnection
from livenessprobe.driver.held_connection import MAX_IDLE_BYTES, HeldConnection
from tests.driver import peer
from tests.driver.peer import ACK, OK_200, PATIENCE, READY, STATUS_0, VALID, data, frame, uint

PING = frame(peer.PING, bytes(8), stream=0)
GOAWAY = frame(peer.GOAWAY, uint(4, 1, 0), stream=0)
HARMLESS = [
    PING,
    frame(peer.PING, bytes(8), flags=ACK, stream=0),
    frame(peer.SETTINGS, stream=0),
    frame(peer.WINDOW_UPDATE, uint(4, 1), stream=0),
    frame(0x42, b"?"),
]
FRAMES = [*HARMLESS, GOAWAY, OK_200, READY, STATUS_0, data(b"?", stream=3), frame(peer.RST_STREAM)]


@st.composite
def sayings(draw: st.DrawFn) -> bytes:
    """Frames of which some are out of place, changed, cut or doubled, or no frames at all."""
    said = b"".join(draw(st.lists(st.sampled_from(FRAMES) | st.binary(max_size=20), max_size=6)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(said)))
        end = min(len(said), start + draw(st.sampled_from([0, 1, 9])))
        said = said[:start] + draw(st.binary(max_size=2)) + said[end:]
    return said * draw(st.sampled_from([1, 1, 1, 100]))


CUTS = st.lists(st.integers(0, 200))


REQUEST = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/x",
    "content-type": "application/grpc",
    "user-agent": "x",
    "te": "trailers",
}


def after_a_probe(sock: socket.socket) -> HeldConnection:
    """Return the connection as it is when it has had its one call, and its reply."""
    http2 = ClientConnection()
    http2.initiate_connection()
    http2.send_headers(1, list(REQUEST.items()), end_stream=True)
    http2.receive_data(VALID)
    http2.data_to_send()
    connection = HeldConnection()
    connection.hold(IdleConnection(sock=sock, http2=http2))
    return connection


async def reports_end(pieces: Iterator[bytes]) -> bool:
    """Return whether the end is reported, if a driver sends these pieces and closes."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the socket's own way
    reported = False

    async def listen() -> None:
        nonlocal reported
        await held.wait_disconnected()
        reported = True

    with theirs, closing(after_a_probe(ours)) as held, trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            for piece in pieces:
                with suppress(BrokenPipeError):  # it has had enough
                    theirs.send(piece)
                await trio.testing.wait_all_tasks_blocked()
            theirs.shutdown(socket.SHUT_WR)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    return reported


@settings(max_examples=200)
@given(said=sayings(), cuts=CUTS)
def test_it_ends_in_the_same_way_however_it_is_cut(said: bytes, cuts: list[int]) -> None:
    said = said[: 2 * MAX_IDLE_BYTES]
    places = [0, *sorted(cut for cut in cuts if cut < len(said)), len(said)]
    whole = trio.run(reports_end, iter([said]))
    assert trio.run(reports_end, (said[i:j] for i, j in pairwise(places))) is whole


@settings(max_examples=30)
@given(said=sayings())
def test_and_byte_by_byte(said: bytes) -> None:
    said = said[:200]  # the kernel keeps no more pieces for us once we do not read
    whole = trio.run(reports_end, iter([said]))
    assert trio.run(reports_end, (bytes([byte]) for byte in said)) is whole


@settings(max_examples=50)
@given(
    before=st.lists(st.sampled_from(HARMLESS), max_size=20),
    after=sayings() | st.binary(min_size=9),
)
def test_a_goodbye_is_told_whatever_follows_it(before: list[bytes], after: bytes) -> None:
    assert trio.run(reports_end, iter([b"".join(before) + GOAWAY + after])) is True


@settings(max_examples=50)
@given(said=st.lists(st.sampled_from(HARMLESS), max_size=20))
def test_what_http_2_allows_does_not_hide_the_end(said: list[bytes]) -> None:
    assert trio.run(reports_end, iter(said)) is True
