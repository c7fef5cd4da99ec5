"""Checks `check`: its calls, its timeout and its output. tests/e2e has the installed command."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from livenessprobe.check import RENDER, CheckResult, check
from livenessprobe.flags import CheckConfig
from livenessprobe.health.result import ProbeResult, ProbeStatus
from tests.csi_driver import (
    DRIVER_NAME,
    HANG,
    NOT_READY,
    READY,
    READY_ABSENT,
    Behaviour,
    CsiDriver,
    error,
    named,
)
from tests.driver import peer

if TYPE_CHECKING:
    from pathlib import Path

# Far longer than any reply here takes, on a busy machine too.
LONG = 15.0
# The shortest timeout that the flag allows.
SHORT = 0.1

DEADLINE = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"


def config(socket: Path, probe_timeout: float = LONG) -> CheckConfig:
    return CheckConfig(socket_path=str(socket), probe_timeout=probe_timeout, output="text")


@pytest.mark.parametrize(
    ("probe", "status", "message"),
    [
        (READY, ProbeStatus.READY, ""),
        (READY_ABSENT, ProbeStatus.READY, ""),
        (NOT_READY, ProbeStatus.NOT_READY, "driver responded but is not ready"),
        (error(9, "bad"), ProbeStatus.FAILED, "rpc error: code = FailedPrecondition desc = bad"),
    ],
)
async def test_a_driver_that_replies_has_the_verdict_of_healthz_and_its_name(
    csi_driver: CsiDriver, csi_socket: Path, probe: Behaviour, status: ProbeStatus, message: str
) -> None:
    csi_driver.probe = probe
    answer = await check(config(csi_socket))
    assert (answer.result.status, answer.result.message) == (status, message)
    assert answer.healthy is (status is ProbeStatus.READY)
    assert (answer.driver_name, answer.driver_name_error) == (DRIVER_NAME, None)
    assert (csi_driver.counts.probes, csi_driver.counts.plugin_infos) == (1, 1)


@pytest.mark.parametrize(
    ("plugin_info", "why"),
    [
        (error(12, "no"), "rpc error: code = Unimplemented desc = no"),
        (named(""), "the driver's name has 0 characters"),
    ],
)
async def test_the_verdict_does_not_need_the_name(
    csi_driver: CsiDriver, csi_socket: Path, plugin_info: Behaviour, why: str
) -> None:
    csi_driver.plugin_info = plugin_info
    answer = await check(config(csi_socket))
    assert answer.healthy
    assert answer.driver_name is None
    assert answer.driver_name_error is not None
    assert why in answer.driver_name_error


async def test_the_name_has_the_rest_of_the_timeout(
    csi_driver: CsiDriver, csi_socket: Path
) -> None:
    csi_driver.probe = Behaviour(delay=1.0)
    csi_driver.plugin_info = HANG
    started = trio.current_time()
    answer = await check(config(csi_socket, probe_timeout=2.0))
    took = trio.current_time() - started
    assert answer.healthy
    assert answer.result.latency < 2
    assert answer.driver_name_error == DEADLINE
    # It would be 3 s if the name had a timeout of its own.
    assert 2 <= took < 2.8


async def test_the_name_of_a_hanging_driver_is_not_requested(
    csi_driver: CsiDriver, csi_socket: Path
) -> None:
    csi_driver.probe = HANG
    answer = await check(config(csi_socket, probe_timeout=SHORT))
    assert answer.result.status is ProbeStatus.TIMED_OUT
    assert (answer.driver_name, answer.driver_name_error) == (None, DEADLINE)
    assert csi_driver.counts.plugin_infos == 0


async def test_both_calls_share_one_connection(
    csi_socket: Path,
) -> None:
    served = 0

    async def serve(listener: trio.socket.SocketType) -> None:
        nonlocal served
        while True:
            connection, _ = await listener.accept()
            served += 1
            with suppress(trio.BrokenResourceError):
                await both_calls(trio.SocketStream(connection))

    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(csi_socket)
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener)
            answer = await check(config(csi_socket))
            nursery.cancel_scope.cancel()
    assert answer.healthy
    assert answer.driver_name == "name"
    assert served == 1


async def both_calls(stream: trio.SocketStream) -> None:
    async with stream:
        await peer.answer(peer.VALID, hang_up=True)(stream)
        request = b""
        while peer.data(peer.message(), end=True, stream=3) not in request:
            request += await stream.receive_some()
        await stream.send_all(
            peer.headers((":status", "200"), ("content-type", "application/grpc"), stream=3)
            + peer.data(peer.message(b"\x0a\4name"), stream=3)
            + peer.headers(("grpc-status", "0"), end=True, stream=3)
        )
        await peer.until_closed(stream)


async def test_a_missing_driver_is_unreachable(csi_socket: Path) -> None:
    answer = await check(config(csi_socket))
    assert answer.result.status is ProbeStatus.UNREACHABLE
    assert answer.result.message.startswith(f"{csi_socket}: no such file")
    assert not answer.healthy


READY_ANSWER = CheckResult(
    socket_path="/csi/csi.sock",
    result=ProbeResult(
        status=ProbeStatus.READY,
        message="",
        grpc_status="OK",
        latency=0.0021437,
        finished_at=7.0,
    ),
    driver_name=DRIVER_NAME,
    driver_name_error=None,
)
NAMELESS = replace(READY_ANSWER, driver_name=None, driver_name_error="rpc error: no")


def bad(status: ProbeStatus, message: str, grpc_status: str | None, latency: float) -> ProbeResult:
    return ProbeResult(
        status=status, message=message, grpc_status=grpc_status, latency=latency, finished_at=7.0
    )


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (READY_ANSWER, ["ready: fake.csi.example.com answered in 2.1 ms"]),
        (
            NAMELESS,
            ["ready: /csi/csi.sock answered in 2.1 ms", "its name is unknown: rpc error: no"],
        ),
        (
            replace(
                READY_ANSWER, result=bad(ProbeStatus.NOT_READY, "not yet", "OK", latency=0.001)
            ),
            [
                "not healthy: not yet",
                "not ready after 1.0 ms: fake.csi.example.com at /csi/csi.sock",
            ],
        ),
        (
            replace(
                READY_ANSWER,
                result=bad(ProbeStatus.FAILED, "rpc error: bad", "Internal", latency=1),
            ),
            [
                "not healthy: rpc error: bad",
                "failed after 1000.0 ms: fake.csi.example.com at /csi/csi.sock",
            ],
        ),
        (
            replace(
                NAMELESS, result=bad(ProbeStatus.TIMED_OUT, DEADLINE, "DeadlineExceeded", latency=3)
            ),
            [f"not healthy: {DEADLINE}", "timed out after 3000.0 ms: /csi/csi.sock"],
        ),
        (
            replace(NAMELESS, result=bad(ProbeStatus.UNREACHABLE, "no file", None, latency=0)),
            ["not healthy: no file", "unreachable after 0.0 ms: /csi/csi.sock"],
        ),
    ],
    ids=lambda value: value.result.status.value if isinstance(value, CheckResult) else "",
)
def test_the_text_has_the_verdict_first_and_at_most_two_lines(
    answer: CheckResult, lines: list[str]
) -> None:
    assert RENDER["text"](answer).splitlines() == lines


def test_the_json_is_one_object_with_base_units() -> None:
    line = RENDER["json"](READY_ANSWER)
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "healthy": True,
        "state": "ready",
        "reason": "",
        "grpc_status": "OK",
        "latency_seconds": 0.002144,
        "driver_name": "fake.csi.example.com",
        "driver_name_error": None,
        "socket": "/csi/csi.sock",
    }


def test_the_json_always_has_the_same_keys() -> None:
    failed = replace(NAMELESS, result=bad(ProbeStatus.UNREACHABLE, "no file", None, latency=3))
    assert json.loads(RENDER["json"](failed)) == {
        "healthy": False,
        "state": "unreachable",
        "reason": "no file",
        "grpc_status": None,
        "latency_seconds": 3,
        "driver_name": None,
        "driver_name_error": "rpc error: no",
        "socket": "/csi/csi.sock",
    }


# An escape sequence, a forged line, a C1 control, a change of the writing direction, a lone
# surrogate, and a byte that is not UTF-8 as Python decodes it.
HOSTILE = "\x1b[2J\nready: \x9b \u202e \ud800 \udcff"
HOSTILE_ANSWERS = [
    replace(NAMELESS, socket_path=HOSTILE, driver_name_error=HOSTILE),
    replace(READY_ANSWER, driver_name=HOSTILE),
    replace(
        READY_ANSWER,
        driver_name=HOSTILE,
        socket_path=HOSTILE,
        result=bad(ProbeStatus.FAILED, HOSTILE, "Internal", latency=0),
    ),
]


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS)
def test_untrusted_text_is_escaped_in_the_text(answer: CheckResult) -> None:
    lines = RENDER["text"](answer).split("\n")
    assert len(lines) <= 3
    assert "".join(lines).isprintable()
    assert r"\x1b[2J\nready: \u009b \u202e \ud800 \xff" in lines[0] + lines[1]


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS)
def test_untrusted_text_is_valid_in_the_json(answer: CheckResult) -> None:
    line = RENDER["json"](answer)
    assert line[:-1].isprintable()
    assert line.isascii()
    for value in json.loads(line).values():
        assert str(value).encode().decode() == str(value)
