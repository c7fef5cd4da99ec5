"""Many clients, or many bytes of one: each limit holds, and whoever keeps to it is answered.

What can be counted is counted, in pieces, turns, requests and tasks, and not timed.
"""

import math
import resource
import socket
from collections import Counter
from contextlib import AsyncExitStack, ExitStack

import pytest
import trio
import trio.testing
from hyperframe.frame import (
    ContinuationFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from livenessprobe.health.verdict import Verdict
from livenessprobe.server import connection, protocols, registry
from livenessprobe.server.limits import LIST_BYTES, Http2Input
from livenessprobe.server.state import DRAIN, TIMEOUTS, State
from tests.server import harness
from tests.server.harness import (
    GET,
    H2_GET,
    H2_HELLO,
    H2_PREFACE,
    HEALTHY,
    Client,
    census,
    h2_request,
    leaving_nothing,
    serving,
)

H2_GET_HUGE = h2_request((H2_GET | {b":path": b"/huge"}).items())

PING = PingFrame(0, bytes(8)).serialize()
PING_ACK = PingFrame(0, bytes(8), flags=["ACK"]).serialize()
TOO_LARGE = {
    "CONTINUATION": HeadersFrame(1, b"").serialize()
    + ContinuationFrame(1, b"").serialize() * 5_000,
    "frame": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(1_000_000),
    "header block": HeadersFrame(1, b"").serialize()
    + ContinuationFrame(1, bytes(16_000)).serialize() * 60,
}


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.parametrize("begin", [H2_HELLO, GET + H2_HELLO])
async def test_what_is_too_large_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch, name: str, begin: bytes
) -> None:
    be_patient(monkeypatch)
    async with serving() as web, web.client(begin) as hostile, trio.open_nursery() as nursery:
        nursery.start_soon(hostile.rest)  # which ends only if the server closes the connection
        await hostile.send(TOO_LARGE[name])
        await web.assert_unharmed()


async def test_requests_that_are_reset_leave_no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rapid reset (CVE-2023-44487), by a client that lets no response be sent either."""
    be_patient(monkeypatch)
    times = 1_000
    no_window = H2_PREFACE + SettingsFrame(0, settings={4: 0}).serialize()
    resets = b"".join(
        h2_request(stream_id=n) + RstStreamFrame(n).serialize() for n in range(1, 2 * times, 2)
    )
    async with serving() as web, web.client(no_window + PING) as hostile:
        await receive_until(hostile, PING_ACK)
        async with leaving_nothing(), trio.open_nursery() as nursery:
            nursery.start_soon(hostile.send, resets + PING)
            await receive_until(hostile, PING_ACK)
        assert len(web.observed) == times


async def receive_until(client: Client, expected: bytes) -> None:
    received = b""
    while expected not in received:
        received += await client.stream.receive_some()


async def test_nothing_more_is_received_from_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    be_patient(monkeypatch)
    windows = {SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}
    http_2 = H2_PREFACE + SettingsFrame(0, settings=windows).serialize()
    http_2 += WindowUpdateFrame(0, 2**30).serialize() + H2_GET_HUGE
    http_2 += b"".join(h2_request(stream_id=number) for number in range(3, 2_001, 2))
    async with serving() as web, web.client(harness.GET_HUGE + GET * 1_000), web.client(http_2):
        await web.assert_unharmed()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(web.observed) < 1 + 2 * 30  # what one read of each has


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server wait for ever for a client, for all but its end."""
    for state in (State.IDLE, State.BUSY):
        monkeypatch.setitem(TIMEOUTS, state, math.inf)


class Turns(trio.abc.Instrument):
    """Counts the turns in which every task runs that can."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's
        self.count += 1


async def test_others_run_between_two_pieces_whatever_floods_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    floods = 60
    turns = Turns()
    later_pieces: Counter[int] = Counter()  # in each turn: those that had to wait for another

    class Watched(Http2Input):
        is_first = True

        def feed(self, data: bytes) -> None:
            super().feed(data)
            self.is_first = True

        def take(self) -> bytes:
            chunk = super().take()
            if chunk and not self.is_first:
                later_pieces[turns.count] += 1
            self.is_first = False
            return chunk

    monkeypatch.setattr(connection, "Http2Input", Watched)
    be_patient(monkeypatch)
    async with serving() as web, AsyncExitStack() as clients:
        trio.lowlevel.add_instrument(turns)
        clients.callback(trio.lowlevel.remove_instrument, turns)
        for _ in range(floods):
            await clients.enter_async_context(web.client(H2_HELLO + PING * 190))
        while later_pieces.total() < floods:
            await trio.lowlevel.checkpoint()
        before = later_pieces.total()
        await web.assert_unharmed()
        assert later_pieces.total() - before < floods  # so it has not been in a queue with them
        while later_pieces.total() < floods * 20:
            await trio.lowlevel.checkpoint()
        assert set(later_pieces.values()) == {1}


async def test_a_header_block_that_unpacks_to_a_large_list_is_refused() -> None:
    """An HPACK bomb: a field is sent once, and each byte after it stands for it once more."""
    bomb = h2_request([*H2_GET.items(), *[(b"x", b"y" * 4_000)] * 3])
    assert len(bomb) < LIST_BYTES < 3 * 4_000
    async with serving() as web, web.client(H2_HELLO + bomb) as hostile:
        received = await hostile.rest()
        enhance_your_calm = GoAwayFrame(0, error_code=11)
        assert received.endswith(enhance_your_calm.serialize())
        announced = SettingsFrame(0, settings={SettingsFrame.MAX_HEADER_LIST_SIZE: LIST_BYTES})
        assert announced.serialize_body() in received
        assert web.observed == []


async def test_an_http_2_client_has_few_requests_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    be_patient(monkeypatch)
    answered = 0

    def judge() -> Verdict:
        nonlocal answered
        answered += 1
        return HEALTHY

    no_window = H2_PREFACE + SettingsFrame(0, settings={4: 0}).serialize()
    numbers = range(1, 2 * protocols.STREAMS, 2)
    requests = b"".join(h2_request(stream_id=number) for number in numbers)
    async with serving(judge) as web, web.client(no_window + requests) as hostile:
        await hostile.send(PING)
        await receive_until(hostile, PING_ACK)
        await trio.testing.wait_all_tasks_blocked()  # of the requests, each has a task
        assert answered == protocols.STREAMS
        await hostile.send(h2_request(stream_id=numbers[-1] + 2))
        await hostile.rest()
        assert answered == protocols.STREAMS


async def test_a_connection_in_use_is_not_closed_after_a_thousand_requests() -> None:
    times = 1_100
    async with serving() as web, web.client() as client:
        for _ in range(times // 100):
            await client.send(GET * 100)
            for _ in range(100):
                assert (await client.answer()).body == b"ok"


def test_no_state_lasts() -> None:
    assert 0 < DRAIN < 1
    assert all(0 < TIMEOUTS[state] <= 60 for state in State if state is not State.CLOSED)


async def test_others_run_between_the_requests_of_those_who_keep_their_connections() -> None:
    clients, turns = 20, Turns()
    answered_in: Counter[int] = Counter()

    def judge() -> Verdict:
        answered_in[turns.count] += 1
        return HEALTHY

    async def ask_once_more(connected: list[socket.socket]) -> None:
        before = answered_in.total()
        for client in connected:  # without a turn of the server's in between
            client.sendall(GET)
        while answered_in.total() < before + clients:
            await trio.lowlevel.checkpoint()

    async with serving(judge) as web:
        trio.lowlevel.add_instrument(turns)
        with ExitStack() as stack:
            stack.callback(trio.lowlevel.remove_instrument, turns)
            connected = [
                stack.enter_context(socket.create_connection(web.address)) for _ in range(clients)
            ]
            await ask_once_more(connected)
            answered_in.clear()
            await ask_once_more(connected)
    assert set(answered_in.values()) == {1}


async def test_a_silent_connection_costs_a_descriptor_and_a_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    be_patient(monkeypatch)
    async with serving() as web:
        files, tasks = census()
        async with web.client():
            # The client's, and after TCP_DEFER_ACCEPT ours.
            while census()[0] < files + 2:  # noqa: ASYNC110 - no event tells of it
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked()
            assert census() == (files + 2, tasks + 1)


async def test_the_idlest_is_who_has_been_silent_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONNECTIONS", 2)
    be_patient(monkeypatch)
    async with serving() as web, web.client() as first, web.client() as second:
        for client in first, second, first:
            await client.send(GET)
            await client.answer()
        await web.assert_unharmed()
        assert await second.rest() == b""
        await first.send(GET)
        assert (await first.answer()).body == b"ok"


async def test_who_is_gone_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONNECTIONS", 2)
    async with serving() as web, web.client(GET) as client:
        await client.answer()
        for _ in range(5):
            async with leaving_nothing():
                await web.assert_unharmed()
        await client.send(GET)
        assert (await client.answer()).body == b"ok"


@pytest.mark.parametrize("said", [b"", b"GE", GET, H2_HELLO])
async def test_at_the_limit_a_new_connection_comes_in(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    be_patient(monkeypatch)
    monkeypatch.setattr(registry, "CONNECTIONS", 3)
    sent, closed = trio.open_memory_channel[None](20)

    async def tell_its_end(client: Client) -> None:
        await client.rest()
        sent.send_nowait(None)

    async with serving() as web, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for _ in range(20):
            client = await stack.enter_async_context(web.client(said))
            nursery.start_soon(tell_its_end, client)
        for _ in range(20 - 3):
            await closed.receive()
        for _ in range(5):
            await web.assert_unharmed()
        nursery.cancel_scope.cancel()


async def test_without_descriptors_the_idlest_connection_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving() as web, web.client(GET) as idle, web.client() as other:
        await idle.answer()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            await other.send(GET)
            await idle.rest()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert (await other.answer()).body == b"ok"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
