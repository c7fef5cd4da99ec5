"""Checks the health endpoints and pages over HTTP, in every state of the driver."""

import json
import time
from statistics import median

import pytest

import livenessprobe
from livenessprobe.flags.config import OWN_PATHS
from livenessprobe.health.verdict import Question
from tests.e2e.conftest import StartSidecar
from tests.e2e.harness import DriverProcess, Sidecar

HTTP = "--http-endpoint=127.0.0.1:0"

# The status of /healthz, /livez and /readyz in each state.
STATES = {
    "ready": [200, 200, 200],
    "not-ready": [500, 200, 500],
    "error 9 on fire": [500, 500, 500],
    "hang": [500, 500, 500],
}

# Seconds; a driver that hangs would take three, and an idle machine takes a hundredth of this.
AT_ONCE = 0.25


@pytest.mark.parametrize(("state", "statuses"), STATES.items())
def test_livez_and_readyz_have_their_own_answers(
    driver: DriverProcess, start_sidecar: StartSidecar, state: str, statuses: list[int]
) -> None:
    driver.tell(state)
    sidecar = start_sidecar(HTTP)
    driver.wait_for_probes(3)
    answers = [sidecar.ask(path) for path in ("/healthz", "/livez", "/readyz")]
    assert [answer.status for answer in answers] == statuses
    verbose = [sidecar.ask(f"{path}?verbose") for path in ("/healthz", "/livez", "/readyz")]
    assert [answer.status for answer in verbose] == statuses


def test_verbose_lists_what_was_checked(driver: DriverProcess, start_sidecar: StartSidecar) -> None:
    driver.tell("not-ready")
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for(500, "not ready")
    sidecar.wait_for_name()
    lines = sidecar.ask("/livez?verbose").body.splitlines()
    assert lines[:3] == ["[+]csi-probe ok", "[+]socket ok", "[+]prober ok"]
    assert [line.partition(":")[0] for line in lines[3:5]] == ["result age", "Probe latency"]
    assert lines[5:] == ["driver name: fake.csi.example.com", "livez check passed"]
    assert sidecar.ask("/readyz?verbose").body.startswith(
        "[-]csi-probe failed: driver responded but is not ready\n"
    )


def test_the_pages_show_the_version_and_the_flags(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP, "--v=1")
    assert sidecar.ask("/statusz").body.startswith("livenessprobe statusz\n")
    status = json.loads(sidecar.ask("/statusz", accept="application/json").body)
    assert status["binaryVersion"] == livenessprobe.__version__
    assert {*OWN_PATHS, "/metrics"} <= set(status["paths"])
    assert "\nv=1\n" in sidecar.ask("/flagz").body
    flags = json.loads(sidecar.ask("/flagz", accept="application/json").body)["flags"]
    assert (flags["v"], flags["http-endpoint"]) == ("1", "127.0.0.1:0")


def test_every_path_is_answered(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    statuses = {path: sidecar.ask(path, accept="text/html").status for path in OWN_PATHS}
    assert {status for path, status in statuses.items() if "grpc" not in path} == {200, 500}
    assert {status for path, status in statuses.items() if "grpc" in path} == {405}


def test_a_probe_without_a_path_is_not_healthy(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    assert sidecar.ask("/", accept="*/*").status == 404  # as kubelet does


def test_a_browser_gets_the_status_page_and_its_data(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("error 9 on fire")
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for(500, "on fire")
    pages = [sidecar.ask(path, accept="text/html,*/*;q=0.8") for path in ("/", "/statusz")]
    assert [page.headers["content-type"] for page in pages] == ["text/html; charset=utf-8"] * 2
    assert len({len(page.body) for page in pages}) == 1
    shown = json.loads(sidecar.ask("/status.json").body)
    assert (shown["healthy"], shown["state"]) == (False, "failed")
    assert "on fire" in shown["reason"]


def test_no_answer_waits_for_a_hanging_driver(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("hang")
    sidecar = start_sidecar(HTTP, "--probe-timeout=3s")
    driver.wait_for_probes(1)
    questions = [f"/{question.value}?verbose" for question in Question]
    for path in [*sorted(OWN_PATHS), *questions, "/metrics"]:
        assert median(times(sidecar, path)) < AT_ONCE, path


def times(sidecar: Sidecar, path: str) -> list[float]:
    """Return how long each of ten requests takes, in seconds."""
    took = []
    for _ in range(10):
        started = time.monotonic()
        sidecar.ask(path)
        took.append(time.monotonic() - started)
    return took
