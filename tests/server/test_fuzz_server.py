"""Any bytes in any pieces, from several clients at once: each comes to its end, and harms nobody.

A bug of ours that one of them meets ends the server, and `serving` raises it.
"""

from itertools import pairwise

import pytest
import trio
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livenessprobe.server import connection
from tests.server.harness import (
    GET,
    GET_HUGE,
    H2_HELLO,
    H2_PREFACE,
    H2C,
    POST,
    POST_CHUNKED,
    WEBSOCKET,
    Client,
    Server,
    h2_request,
    serving,
)

BLOCK = h2_request()[9:]
HTTP_1 = [
    GET,
    GET_HUGE,
    POST + b"Content-Length: 5\r\n\r\n",
    POST_CHUNKED,
    b"2\r\nhi\r\n",
    b"0\r\n\r\n",
    b"hello",
    b"\r\n",
    WEBSOCKET,
    H2C,
    H2_HELLO,
]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Return a frame that is well formed, and may be out of place."""
    stream = draw(st.sampled_from([1, 3, 5, 5, 2]))
    flags = draw(st.sets(st.sampled_from(["END_HEADERS", "END_STREAM"])))
    return draw(
        st.sampled_from(
            [
                h2_request(stream_id=stream),
                HeadersFrame(stream, BLOCK, flags=flags).serialize(),
                ContinuationFrame(stream, BLOCK[:5], flags=flags & {"END_HEADERS"}).serialize(),
                DataFrame(stream, b"x" * 10, flags=flags & {"END_STREAM"}).serialize(),
                RstStreamFrame(stream).serialize(),
                PriorityFrame(stream, depends_on=stream - 1).serialize(),
                WindowUpdateFrame(draw(st.sampled_from([0, stream])), 2**30).serialize(),
                SettingsFrame(0, settings={draw(st.integers(1, 6)): 2**14}).serialize(),
                SettingsFrame(0, flags=["ACK"]).serialize(),
                PingFrame(0, bytes(8)).serialize(),
                GoAwayFrame(0).serialize(),
            ]
        )
    )


HTTP_2 = st.lists(frames(), max_size=12).map(lambda sent: H2_HELLO + b"".join(sent))
SENT = (
    st.binary(max_size=300)
    | st.lists(st.sampled_from(HTTP_1) | st.binary(max_size=20), max_size=5).map(b"".join)
    | HTTP_2
    | HTTP_2.map((H2C + H2_PREFACE).__add__)
)
EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 5), st.binary(max_size=5)), max_size=3
)
CUTS = st.lists(st.integers(1, 400), max_size=8)
ENDS = st.sampled_from([Client.close, Client.reset, Client.half_close])

CLIENTS = st.tuples(SENT, EDITS, CUTS, ENDS)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no connection last: some of these would, for as long as they may."""
    monkeypatch.setattr(connection, "DRAIN", 0.1)


async def play(web: Server, script: tuple) -> None:  # type: ignore[type-arg]
    sent, edits, cuts, end = script
    for start, length, inserted in edits:
        sent = sent[:start] + inserted + sent[start + length :]
    places = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    async with web.client() as client:
        for start, stop in pairwise(places):
            await client.send(sent[start:stop])
            await trio.testing.wait_all_tasks_blocked(0.001)
        await end(client)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scripts=st.lists(CLIENTS, min_size=1, max_size=4))
async def test_any_bytes_in_any_pieces(scripts: list[tuple]) -> None:  # type: ignore[type-arg]
    async with serving() as web:
        async with trio.open_nursery() as nursery:
            for script in scripts:
                nursery.start_soon(play, web, script)
            await web.assert_unharmed()
        await web.assert_unharmed()
        assert {status for _, status in web.observed} <= {200, 307, 404, 501}
