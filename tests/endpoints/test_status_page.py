import json
import re
from typing import Any

import pytest

from livenessprobe import __version__
from livenessprobe.endpoints import status_page
from livenessprobe.health.result import ProbeStatus
from livenessprobe.server.request import Request
from livenessprobe.telemetry.history import SLOT, SPAN
from tests.world import EPOCH, PROBE_TIMEOUT, World

READY, NOT_READY, FAILED, TIMED_OUT, UNREACHABLE = ProbeStatus


@pytest.fixture
def world() -> World:
    return World(driver_name="fake.csi", now=100.0)


def data(world: World, socket_path: str = "/csi/csi.sock") -> Any:
    endpoint = status_page.data(
        world, started_at=90.0, socket_path=socket_path, flags={"csi-address": socket_path}
    )
    answer = endpoint(Request(path="/status.json"))
    assert answer.status == 200
    assert (b"content-type", b"application/json") in answer.headers
    assert (b"cache-control", b"no-store") in answer.headers
    return json.loads(answer.body.decode())


# The page


def test_the_page_may_run_its_own_script_ask_for_its_data_and_nothing_else() -> None:
    page = status_page.page(Request(path="/"))
    assert page.status == 200
    headers = dict(page.headers)
    assert headers[b"content-type"] == b"text/html; charset=utf-8"
    directives = dict(
        directive.split(" ", 1)
        for directive in headers[b"content-security-policy"].decode().split("; ")
    )
    nonces = re.findall('<(?:script|style) nonce="(.*?)">', page.body.decode())
    assert len(nonces) == 2
    assert len(nonces[0]) == 32
    assert directives == {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonces[0]}'",
        "style-src": f"'nonce-{nonces[1]}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_what_may_run_cannot_be_known_beforehand() -> None:
    first, second = (dict(status_page.page(Request(path="/")).headers) for _ in range(2))
    assert first[b"content-security-policy"] != second[b"content-security-policy"]
    assert first[b"cache-control"] == b"no-store"


def test_who_gets_the_page_depends_on_accept() -> None:
    assert (b"vary", b"accept") in status_page.page(Request(path="/")).headers


# The data


def test_before_the_first_probe(world: World) -> None:
    world.driver_name = None
    shown = data(world)
    assert shown == {
        "now": EPOCH + 100,
        "version": __version__,
        "started": EPOCH + 90,
        "uptime": 10.0,
        "driver": None,
        "socket": "/csi/csi.sock",
        "healthy": False,
        "state": "unknown",
        "reason": "no Probe() has finished yet",
        "age": None,
        "latency": None,
        "since": None,
        "schedule": {
            "mode": "auto",
            "interval": None,
            "due_in": 0.0,
            "in_flight": False,
            "timeout": PROBE_TIMEOUT,
        },
        "callers": [],
        "totals": {
            "probes": 0,
            "consecutive_failures": 0,
            "failures": {"not ready": 0, "failed": 0, "timed out": 0, "unreachable": 0},
            "transitions": {"healthy": 0, "unhealthy": 0},
        },
        "slots": [],
        "transitions": [],
        "flags": {"csi-address": "/csi/csi.sock"},
    }


def test_a_driver_that_fails_after_it_was_healthy(world: World) -> None:
    world.observe(READY, 100.0, latency=0.25)
    world.observe(FAILED, 112.0, latency=0.5, message="no disk")
    world.now = 113.0
    shown = data(world)
    assert (shown["healthy"], shown["state"], shown["reason"]) == (False, "failed", "no disk")
    assert (shown["driver"], shown["age"], shown["latency"]) == ("fake.csi", 1.0, 0.5)
    assert shown["since"] == 1.0
    assert shown["totals"] == {
        "probes": 2,
        "consecutive_failures": 1,
        "failures": {"not ready": 0, "failed": 1, "timed out": 0, "unreachable": 0},
        "transitions": {"healthy": 0, "unhealthy": 1},
    }
    assert shown["slots"] == [[13.0, 1, 0, 0.25, "ready"], [3.0, 1, 1, 0.5, "failed"]]
    assert shown["transitions"] == [
        {"ago": 13.0, "from": None, "to": "ready", "reason": "ok", "lasted": None},
        {"ago": 1.0, "from": "ready", "to": "failed", "reason": "no disk", "lasted": 12.0},
    ]


def test_a_result_too_old(world: World) -> None:
    world.observe(READY, 100.0)
    world.now = 1000.0
    shown = data(world)
    assert (shown["healthy"], shown["state"], shown["age"]) == (False, "unknown", 900.0)
    assert "stuck" in shown["reason"]


def test_the_schedule_and_the_callers(world: World) -> None:
    world.observe(READY, 100.0, latency=0.5)
    for number in range(3):
        world.schedule.record_request(101.0 + 5 * number, healthy=True)
    world.now = 112.0
    shown = data(world)
    assert shown["callers"] == [{"period": 5, "expected_in": 4.0}]
    assert shown["schedule"]["due_in"] == world.schedule.due - 112.0
    assert shown["schedule"]["interval"] == world.schedule.next_interval
    world.schedule.began(112.0)
    assert data(world)["schedule"]["in_flight"]


def test_a_fixed_interval() -> None:
    assert data(World(interval=5.0))["schedule"]["mode"] == "fixed"


def test_what_is_older_than_the_hour_is_not_shown(world: World) -> None:
    world.observe(READY, 100.0)
    world.observe(READY, 100.0 + SPAN + SLOT)
    assert [slot[0] for slot in data(world)["slots"]] == [0.0]


def test_of_long_words_about_a_change_it_shows_the_beginning(world: World) -> None:
    world.observe(FAILED, 100.0, message="x" * 1000)
    shown = data(world)
    assert shown["reason"] == "x" * 1000
    assert shown["transitions"][0]["reason"] == "x" * status_page.MAX_REASON


def test_any_bytes_are_json(world: World) -> None:
    world.driver_name = '</script>"\\\x00\u2028\ud800'
    shown = data(world, "/csi/\udcff")
    assert shown["driver"] == '</script>"\\\x00\u2028\N{REPLACEMENT CHARACTER}'
    assert shown["socket"] == "/csi/\N{REPLACEMENT CHARACTER}"
