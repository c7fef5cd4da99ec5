"""Checks stalls of the process and steps of the wall clock."""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from tests.e2e import stepped
from tests.e2e.conftest import StartSidecar
from tests.e2e.harness import TIMEOUT, DriverProcess, Response, Sidecar

# The timeout is one that a healthy driver keeps on a busy machine too.
INTERVAL, PROBE_TIMEOUT = 0.1, 1.5
FLAGS = ("--http-endpoint=127.0.0.1:0", "--probe-interval=100ms", "--probe-timeout=1500ms")

# Seconds; short ones are within a Probe's timeout, long ones exceed it and `prober.LATENESS`.
SHORT_STALLS = (0.0, 0.1, 0.5)
LONG_STALLS = (PROBE_TIMEOUT + 0.3, PROBE_TIMEOUT + 0.5)

# See schedule.valid_until. A stall may delay a reply that the driver has sent before it.
BOUND = INTERVAL + PROBE_TIMEOUT + 2.0 + max(LONG_STALLS)

EXPIRED = "the next one should have by now"


def stalls(
    sidecar: Sidecar, lengths: Sequence[float], seconds: float
) -> Iterator[tuple[float, Response]]:
    """Stop the process repeatedly; yield the time and the answer of a request after each stall."""
    chance = random.Random(5)  # noqa: S311 - not for secrets
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sidecar.send_signal(SIGSTOP)
        time.sleep(chance.choice(lengths))
        sidecar.send_signal(SIGCONT)
        time.sleep(chance.uniform(0.0, 0.3))  # so that the next stall may be during a Probe
        asked_at = time.monotonic()
        yield asked_at, sidecar.ask()


def test_stalls_do_not_make_a_healthy_driver_fail(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("delay 0.2")  # there is always a Probe in flight
    sidecar = start_sidecar(*FLAGS)
    sidecar.wait_for(200, "ok")
    bodies = [answer.body for _, answer in stalls(sidecar, SHORT_STALLS + LONG_STALLS, 8.0)]
    assert [body for body in bodies if body != "ok" and EXPIRED not in body] == []
    assert "ok" in bodies
    sidecar.wait_for(200, "ok")
    failed = [line for line in sidecar.log.splitlines() if "Health check failed" in line]
    assert [line for line in failed if "DeadlineExceeded" in line] == []
    assert driver.counts.max_in_flight == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"), [("hang", "DeadlineExceeded"), ("error 13 broken", "broken")]
)
def test_stalls_hide_no_failure_beyond_the_bound(
    driver: DriverProcess, start_sidecar: StartSidecar, behaviour: str, reason: str
) -> None:
    sidecar = start_sidecar(*FLAGS)
    sidecar.wait_for(200, "ok")
    driver.tell(behaviour)
    failed_at = time.monotonic()
    answers = list(stalls(sidecar, LONG_STALLS, BOUND + 1.5))
    assert [at for at, answer in answers if answer.body == "ok" and at > failed_at + BOUND] == []
    bodies = {answer.body for _, answer in answers}
    assert [body for body in bodies if not any(x in body for x in ("ok", EXPIRED, reason))] == []
    sidecar.wait_for(500, reason)
    driver.tell("ready")
    sidecar.wait_for(200, "ok")


def test_steps_of_the_wall_clock_change_no_verdict(driver: DriverProcess, tmp_path: Path) -> None:
    flags = (f"--csi-address={driver.socket}", *FLAGS)
    command = (sys.executable, stepped.__file__)
    with Sidecar(*flags, log=tmp_path / "log", command=command) as sidecar:
        sidecar.wait_for_listeners(1)
        sidecar.wait_for(200, "ok")
        driver.wait_for_probes(10)
        answers = [sidecar.ask() for _ in range(10)]
        assert {answer.status for answer in answers} == {200}
        assert max(int(answer.headers["age"]) for answer in answers) < TIMEOUT
        assert len({answer.headers["date"] for answer in answers}) > 1
        up = sidecar.ask("/statusz").body
        assert "Up: 0 hr 00 min" in up
        driver.tell("error 13 broken")
        sidecar.wait_for(500, "broken")
        driver.tell("hang")
        sidecar.wait_for(500, "DeadlineExceeded")
        driver.tell("ready")
        sidecar.wait_for(200, "ok")
        days = {line[1:5] for line in sidecar.log.splitlines()}
        assert len(days) > 1
