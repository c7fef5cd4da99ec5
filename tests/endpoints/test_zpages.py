import json
import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe import __version__
from livenessprobe.endpoints import zpages
from livenessprobe.server.request import Request
from livenessprobe.server.response import Response
from tests.world import World

WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility "
    "guarantees and is for debugging purposes only."
)
PLAIN = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")


def statusz(accept: bytes = b"", uptime: float = 0.0) -> Response:
    endpoint = zpages.statusz(
        World(now=23.9 + uptime), started_at=23.9, paths=["/statusz", "/healthz", "/flagz"]
    )
    return endpoint(Request(path="/statusz", headers=[(b"accept", accept)]))


def flagz(accept: bytes = b"") -> Response:
    endpoint = zpages.flagz({"v": "5", "csi-address": "/csi/csi.sock", "http-endpoint": ""})
    return endpoint(Request(path="/flagz", headers=[(b"accept", accept)]))


@pytest.mark.parametrize("accept", [b"", b"*/*", b"text/plain", b"text/html,*/*;q=0.8"])
def test_statusz_is_text_for_people(accept: bytes) -> None:
    page = statusz(accept, uptime=16.9)
    assert page.status == 200
    assert PLAIN in page.headers
    assert page.body.decode().splitlines() == [
        "livenessprobe statusz",
        WARNING,
        "",
        "Started: Wed Oct 16 21:03:43 UTC 2024",
        "Up: 0 hr 00 min 16 sec",
        f"Python version: {platform.python_version()}",
        f"Binary version: {__version__}",
        "Paths: /flagz /healthz /statusz",
    ]


@pytest.mark.parametrize(
    ("uptime", "shown"),
    [
        (59.9, "0 hr 00 min 59 sec"),
        (60, "0 hr 01 min 00 sec"),
        (3599, "0 hr 59 min 59 sec"),
        (90_061, "25 hr 01 min 01 sec"),
    ],
)
def test_uptime_is_told_in_hours_minutes_and_seconds(uptime: float, shown: str) -> None:
    assert f"Up: {shown}\n" in statusz(uptime=uptime).body.decode()


@pytest.mark.parametrize(
    "accept", [b"application/json", b"Application/JSON;v=v1alpha1;g=config.k8s.io;as=Statusz"]
)
def test_statusz_is_json_for_whoever_accepts_that(accept: bytes) -> None:
    page = statusz(accept, uptime=856.2)
    assert JSON in page.headers
    assert json.loads(page.body) == {
        "kind": "Statusz",
        "apiVersion": "config.k8s.io/v1alpha1",
        "metadata": {"name": "livenessprobe"},
        "startTime": "2024-10-16T21:03:43Z",
        "uptimeSeconds": 856,
        "pythonVersion": platform.python_version(),
        "binaryVersion": __version__,
        "paths": ["/flagz", "/healthz", "/statusz"],
    }


def test_flagz_lists_every_flag_in_order() -> None:
    assert flagz().body.decode().splitlines() == [
        "livenessprobe flagz",
        WARNING,
        "",
        "csi-address=/csi/csi.sock",
        "http-endpoint=",
        "v=5",
    ]


def test_flagz_is_json_too() -> None:
    assert json.loads(flagz(b"application/json").body) == {
        "kind": "Flagz",
        "apiVersion": "config.k8s.io/v1alpha1",
        "metadata": {"name": "livenessprobe"},
        "flags": {"csi-address": "/csi/csi.sock", "http-endpoint": "", "v": "5"},
    }


def test_json_can_be_read_strictly_whatever_bytes_a_flag_has() -> None:
    endpoint = zpages.flagz({"csi-address": "/\udcff"})
    page = endpoint(Request(path="/flagz", headers=[(b"accept", b"application/json")]))
    assert json.loads(page.body.decode())["flags"] == {"csi-address": "/\N{REPLACEMENT CHARACTER}"}


def test_a_flag_cannot_forge_a_line() -> None:
    page = zpages.flagz({"csi-address": "/csi\nv=9"})(Request(path="/flagz"))
    assert page.body.decode().splitlines()[3:] == ["csi-address=/csi\\nv=9"]


@given(st.binary())
def test_whatever_a_client_accepts_it_gets_one_of_the_two(accept: bytes) -> None:
    for page in statusz(accept), flagz(accept):
        assert page.status == 200
        assert PLAIN in page.headers or JSON in page.headers
