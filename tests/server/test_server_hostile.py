"""What a client may do to its own connection, and must not do to anybody else's.

Whatever it is: others are answered meanwhile and afterwards, the server is alive (`serving` hears
of it if not), and once the client has gone nothing of its connection is left (`serving` again).
"""

from collections.abc import Awaitable, Callable

import pytest
import trio
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from livenessprobe.server import connection
from livenessprobe.server.state import TIMEOUTS, State
from tests.server.harness import (
    GET,
    GET_HUGE,
    H2_GET,
    H2_HELLO,
    H2_PREFACE,
    H2C,
    HUGE,
    KEYLESS_WEBSOCKET,
    POST,
    POST_CHUNKED,
    UPGRADE,
    WEBSOCKET,
    Client,
    Server,
    h2_request,
    serving,
)

H2_RESET = RstStreamFrame(1).serialize()
H2_OPEN = HeadersFrame(1, h2_request()[9:], flags=["END_HEADERS"]).serialize()


def h2_get(**changes: bytes) -> bytes:
    """Return a request whose pseudo header fields are changed, or left out if empty."""
    fields = H2_GET | {b":" + name.encode(): value for name, value in changes.items()}
    return h2_request((name, value) for name, value in fields.items() if value)


HTTP_1 = {
    "empty lines": b"\r\n" * 1_000,
    "NUL": bytes(1_000),
    "garbage": bytes(range(256)) * 300,
    "no HTTP": b"HELO there\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/9.9": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET.replace(b"Host", b"Host: y\r\nHost"),
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "non-ASCII path": GET.replace(b"/h", b"/\xff\xc3\xa9h"),
    "header line without a colon": GET.replace(b"Host", b"Hos\r\nHost"),
    "folded header": GET.replace(b"Host", b"X: y\r\n\tz\r\nHost"),
    "header too large": GET.replace(b"Host", b"X: " + b"y" * 1_000_000 + b"\r\nHost"),
    "header without an end": b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 1_000_000,
    "too many headers": GET.replace(b"Host", b"X: y\r\n" * 100_000 + b"Host"),
    "path too long": GET.replace(b"/healthz", b"/" + b"x" * 1_000_000),
    "path without an end": b"GET /" + b"x" * 1_000_000,
    "method too long": b"G" * 1_000_000,
    "half a request": GET[:30],
    "half a body": POST + b"Content-Length: 5\r\n\r\nhe",
    "length not a number": POST + b"Content-Length: five\r\n\r\nhello",
    "length below 0": POST + b"Content-Length: -1\r\n\r\n",
    "length enormous": POST + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    "lengths that differ": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "chunked and a length": POST
    + b"Content-Length: 5\r\n"
    + POST_CHUNKED[len(POST) :]
    + b"0\r\n\r\n"
    + GET,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked, not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked in disguise": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": POST_CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "chunk not a number": POST_CHUNKED + b"zz\r\n",
    "chunk enormous": POST_CHUNKED + b"f" * 100 + b"\r\n",
    "chunk without an end": POST_CHUNKED + b"1;" + b"x" * 1_000_000,
    "chunk longer than said": POST_CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n",
    "chunk trailer without an end": POST_CHUNKED + b"0\r\nX: " + b"y" * 1_000_000,
    "body where none is expected": GET + b"hello",
    "bad request after a good one": GET + b"\xff\r\n\r\n",
    "2000 requests at once": GET * 2_000,
    "tunnel, then bytes": GET.replace(b"GET", b"CONNECT") + b"\x00" * 1_000,
    "response instead of a request": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "answer not read": GET_HUGE,
    "answer not read, and more chunks than it can queue": POST_CHUNKED.replace(b"healthz", b"huge")
    + b"1\r\nx\r\n" * 10_000,
    "websocket and a frame": WEBSOCKET + b"\x81\x80\x00\x00\x00\x00",
    "websocket and a request": WEBSOCKET + GET,
    "websocket without a key": KEYLESS_WEBSOCKET,
    "websocket without a key and a byte": KEYLESS_WEBSOCKET + b"\x00",
    "websocket of version 12": WEBSOCKET.replace(b"13", b"12"),
    "websocket in HTTP/1.0": WEBSOCKET.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "websocket with subprotocols": WEBSOCKET.replace(
        b"Sec-", b"Sec-WebSocket-Protocol: \xff,\r\nSec-", 1
    ),
    "h2c with bad settings": H2C.replace(b"h2c", b"h2c\r\nHTTP2-Settings: \xff?"),
    "h2c with settings out of range": H2C.replace(b"h2c", b"h2c\r\nHTTP2-Settings: AAQAgAAA"),
    "h2c and then garbage": H2C + b"\xff" * 100,
    "h2c with a body": UPGRADE + b"h2c\r\nContent-Length: 5\r\n\r\nhello",
    "h2c of a tunnel": H2C.replace(b"GET", b"CONNECT"),
}

HTTP_2 = {
    "not the preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    "half the preface": H2_PREFACE[:-3],
    "garbage": H2_PREFACE + b"\xff" * 100,
    "hello": H2_HELLO,
    "frame too large": H2_HELLO + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(50_000),
    "unknown frame": H2_HELLO + b"\x00\x00\x01\xfa\x00\x00\x00\x00\x01x" + h2_request(),
    "settings too short": H2_PREFACE + b"\x00\x00\x01\x04\x00\x00\x00\x00\x00\x00",
    "settings out of range": H2_PREFACE + SettingsFrame(0, settings={4: 2**31, 5: 1}).serialize(),
    "settings 1000 times": H2_HELLO + SettingsFrame(0).serialize() * 1_000,
    "no window": H2_PREFACE + SettingsFrame(0, settings={4: 0}).serialize() + h2_request(),
    "ping 1000 times": H2_HELLO + PingFrame(0, bytes(8)).serialize() * 1_000,
    "window of no increment": H2_HELLO + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + bytes(4),
    "window overflow": H2_HELLO + WindowUpdateFrame(0, 2**31 - 1).serialize() * 2,
    "window of no stream": H2_HELLO + WindowUpdateFrame(7, 1).serialize(),
    "data on no stream": H2_HELLO + DataFrame(1, b"x").serialize(),
    "data after the end": H2_HELLO + h2_request() + DataFrame(1, b"x").serialize(),
    "data after an answer": H2_HELLO + H2_OPEN + DataFrame(1, b"x").serialize() * 50,
    "data more than the window": H2_HELLO + H2_OPEN + DataFrame(1, bytes(16_000)).serialize() * 9,
    "padding longer than its frame": H2_HELLO + b"\x00\x00\x02\x00\x08\x00\x00\x00\x01\xff\x00",
    "continuation of nothing": H2_HELLO + ContinuationFrame(1, b"").serialize(),
    "continuation that does not come": H2_HELLO + HeadersFrame(1, b"").serialize() + h2_request(),
    "continuation 1000 times": H2_HELLO
    + HeadersFrame(1, b"").serialize()
    + ContinuationFrame(1, b"").serialize() * 1_000,
    "header block not HPACK": H2_HELLO
    + HeadersFrame(1, b"\xff" * 50, flags=["END_HEADERS"]).serialize(),
    "no header": H2_HELLO + h2_request(()),
    "no method": H2_HELLO + h2_get(method=b""),
    "no path": H2_HELLO + h2_get(path=b""),
    "no path of a websocket": H2_HELLO + h2_get(method=b"CONNECT", path=b"", protocol=b"websocket"),
    "non-ASCII path": H2_HELLO + h2_get(path="/é".encode()),
    "non-ASCII method": H2_HELLO + h2_get(method=b"\xff"),
    "tunnel": H2_HELLO + h2_request([(b":method", b"CONNECT"), (b":authority", b"x:1")]),
    "websocket": H2_HELLO + h2_get(method=b"CONNECT", protocol=b"websocket"),
    "header in capitals": H2_HELLO + h2_request([*H2_GET.items(), (b"X", b"y")]),
    "connection header": H2_HELLO + h2_request([*H2_GET.items(), (b"connection", b"close")]),
    "pseudo header last": H2_HELLO + h2_request([(b"x", b"y"), *H2_GET.items()]),
    "unknown pseudo header": H2_HELLO + h2_get(x=b"y"),
    "header list too large": H2_HELLO
    + h2_request([*H2_GET.items(), *[(b"x" * 60, b"y" * 60)] * 5_000]),
    "stream of the server": H2_HELLO + h2_request(stream_id=2),
    "stream number too low": H2_HELLO + h2_request(stream_id=5) + h2_request(stream_id=3),
    "stream opened twice": H2_HELLO + h2_request() * 2,
    "500 streams at once": H2_HELLO + b"".join(h2_request(stream_id=n) for n in range(1, 1_001, 2)),
    "rapid reset": H2_HELLO
    + b"".join(h2_request(stream_id=n) + RstStreamFrame(n).serialize() for n in range(1, 1_001, 2)),
    "reset of no stream": H2_HELLO + H2_RESET,
    "reset while the answer is not read": H2_HELLO + h2_get(path=b"/huge") + H2_RESET,
    "answer not read": H2_HELLO + h2_get(path=b"/huge"),
    "priority of itself": H2_HELLO + PriorityFrame(1, depends_on=1).serialize() + h2_request(),
    "priority of no stream": H2_HELLO
    + PriorityFrame(9, depends_on=7).serialize()
    + WindowUpdateFrame(9, 1).serialize()
    + h2_request(),
    "priority 2000 times": H2_HELLO
    + b"".join(PriorityFrame(n, depends_on=0).serialize() for n in range(1, 4_001, 2)),
    "push from a client": H2_HELLO + PushPromiseFrame(1, 2, b"", flags=["END_HEADERS"]).serialize(),
    "goodbye": H2_HELLO + GoAwayFrame(0).serialize() + h2_request(),
    "goodbye while the answer is not read": H2_HELLO
    + h2_get(path=b"/huge")
    + GoAwayFrame(0).serialize(),
    "HTTP/1 in the middle": H2_HELLO + GET,
}

HOSTILE = {f"HTTP/1: {name}": sent for name, sent in HTTP_1.items()} | {
    f"HTTP/2: {name}": sent for name, sent in HTTP_2.items()
}

# How a hostile client ends: it waits for the server to, or does so itself.
ENDS = (Client.rest, Client.close, Client.reset, Client.half_close)

# What is found by chance starts from what is right.
REQUESTS = [
    GET,
    POST + b"Content-Length: 5\r\n\r\nhello",
    POST_CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
    WEBSOCKET,
    H2C,
    H2_HELLO + h2_request(),
    H2_HELLO + H2_OPEN + DataFrame(1, b"x", flags=["END_STREAM"]).serialize(),
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no connection last: some of these would, for as long as they may.

    The harmless ones have as long to be answered, behind 2,000 requests on a busy machine.
    """
    for state in (State.IDLE, State.BUSY):
        monkeypatch.setitem(TIMEOUTS, state, 1.0)
    monkeypatch.setitem(TIMEOUTS, State.ENDING, 0.1)
    monkeypatch.setattr(connection, "DRAIN", 0.1)


async def attack(web: Server, sent: bytes, end: Callable[[Client], Awaitable[object]]) -> None:
    async with web.client() as hostile:
        with trio.move_on_after(0.1):  # the server may read no more
            await hostile.send(sent)
        await web.assert_unharmed()
        await end(hostile)
    await web.assert_unharmed()


async def test_a_websocket_upgrade_and_one_byte_more_ends_its_connection_only() -> None:
    async with serving() as web, web.client(GET_HUGE) as other:
        await attack(web, WEBSOCKET + b"\x00", Client.rest)
        assert len((await other.answer()).body) == HUGE


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_client_harms_nobody_else(name: str) -> None:
    async with serving() as web, trio.open_nursery() as nursery:
        for end in ENDS:
            nursery.start_soon(attack, web, HOSTILE[name], end)


@pytest.mark.parametrize("request_bytes", REQUESTS)
@pytest.mark.parametrize("end", [Client.close, Client.reset])
async def test_a_request_may_break_off_after_any_byte(
    request_bytes: bytes, end: Callable[[Client], Awaitable[object]]
) -> None:
    async with serving() as web:
        for length in range(len(request_bytes) + 1):
            async with web.client(request_bytes[:length]) as client:
                await end(client)
        await web.assert_unharmed()


@settings(max_examples=50)
@given(sent=st.binary())
async def test_any_bytes_at_all(sent: bytes) -> None:
    async with serving() as web:
        await attack(web, sent, Client.close)


@settings(max_examples=150)
@given(
    requests=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3).map(b"".join),
    edits=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 5), st.binary(max_size=5))),
)
async def test_any_change_of_a_request(
    requests: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    for start, length, inserted in edits:
        requests = requests[:start] + inserted + requests[start + length :]
    async with serving() as web:
        await attack(web, requests, Client.half_close)
