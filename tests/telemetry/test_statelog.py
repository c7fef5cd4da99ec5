"""Checks the log lines for series of Probes, as an operator reads them."""

import io
import re
from collections.abc import Iterator

import pytest

from livenessprobe import klog
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.telemetry.statelog import StateLog

# A field of every line.
AT = 'socket="/csi.sock"'


class History:
    """Logs results one second apart, and returns the lines without klog's header."""

    def __init__(self, verbosity: int = 0, driver_name: str | None = "fake.csi") -> None:
        self._stream = io.StringIO()
        klog.configure(stream=self._stream, logging_format="text", verbosity=verbosity)
        self._log = StateLog("/csi.sock", lambda: driver_name)
        self._now = 100.0

    def add(self, status: ProbeStatus, message: str = "", grpc_status: str = "OK") -> None:
        self._log.observe(
            ProbeResult(
                status=status,
                message=message,
                grpc_status=grpc_status,
                latency=0.002,
                finished_at=self._now,
            )
        )
        self._now += 1.0

    @property
    def lines(self) -> list[str]:
        return [
            re.sub(r"^([IWE])[^]]*]", r"\1", line) for line in self._stream.getvalue().splitlines()
        ]


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    yield
    klog.configure(stream=io.StringIO(), logging_format="text", verbosity=0)


def test_the_first_result_is_a_change() -> None:
    history = History()
    history.add(ProbeStatus.READY)
    assert history.lines == [
        f'I "Health check succeeded" driver="fake.csi" {AT} state="ready" latency="0.002s"'
    ]


def test_a_change_has_the_reason_the_previous_state_and_its_duration() -> None:
    history = History()
    for _ in range(5):
        history.add(ProbeStatus.READY)
    history.add(ProbeStatus.FAILED, "backend down", "Internal")
    history.add(ProbeStatus.READY)
    assert history.lines[1:] == [
        (
            f'E "Health check failed" err="backend down" driver="fake.csi" {AT} state="failed" '
            'latency="0.002s" previous="ready" lasted="5.000s"'
        ),
        (
            f'I "Health check succeeded" driver="fake.csi" {AT} state="ready" latency="0.002s" '
            'previous="failed" lasted="1.000s" unhealthy="1.000s"'
        ),
    ]


def test_the_unhealthy_time_spans_all_kinds_of_failure() -> None:
    history = History()
    history.add(ProbeStatus.READY)
    history.add(ProbeStatus.TIMED_OUT, "no answer", "DeadlineExceeded")
    history.add(ProbeStatus.UNREACHABLE, "refused")
    history.add(ProbeStatus.NOT_READY, "not ready")
    history.add(ProbeStatus.READY)
    history.add(ProbeStatus.FAILED, "down", "Internal")
    unhealthy = [re.findall(r'unhealthy="(.*?)"', line) for line in history.lines]
    assert unhealthy == [[], [], ["1.000s"], ["2.000s"], ["3.000s"], []]


def test_a_driver_that_stays_healthy_has_no_further_lines() -> None:
    history = History()
    for _ in range(1000):
        history.add(ProbeStatus.READY)
    assert len(history.lines) == 1


def test_a_lasting_failure_is_logged_once_a_minute() -> None:
    # The change, then at 60 s and 120 s: three lines in 150 s.
    history = History()
    for _ in range(150):
        history.add(ProbeStatus.UNREACHABLE, "no such file")
    still = (
        'E "Health check still failing" err="no such file" driver="fake.csi" '
        f'{AT} state="unreachable" latency="0.002s" unhealthy='
    )
    assert history.lines[1:] == [still + '"60.000s"', still + '"120.000s"']


def test_the_reason_why_a_driver_is_unreachable_is_part_of_the_state() -> None:
    history = History()
    history.add(ProbeStatus.UNREACHABLE, "connection refused")
    history.add(ProbeStatus.UNREACHABLE, "no such file")
    assert len(history.lines) == 2


def test_a_different_message_of_the_same_failure_is_no_change() -> None:
    history = History()
    for attempt in range(50):
        history.add(ProbeStatus.FAILED, f"request {attempt} failed", "Internal")
    assert len(history.lines) == 1


def test_a_different_grpc_status_is_a_change() -> None:
    history = History()
    history.add(ProbeStatus.FAILED, "down", "Internal")
    history.add(ProbeStatus.FAILED, "down", "Unavailable")
    assert len(history.lines) == 2


def test_at_level_5_every_probe_has_a_line() -> None:
    history = History(verbosity=5)
    for _ in range(3):
        history.add(ProbeStatus.READY)
    line = f'I "Probe finished" driver="fake.csi" {AT} state="ready" latency="0.002s"'
    assert history.lines.count(line) == 3


def test_at_level_5_the_line_has_the_reason() -> None:
    history = History(verbosity=5)
    history.add(ProbeStatus.FAILED, "first", "Internal")
    history.add(ProbeStatus.FAILED, "second", "Internal")
    assert history.lines[-1] == (
        f'I "Probe finished" err="second" driver="fake.csi" {AT} state="failed" latency="0.002s"'
    )


def test_an_unknown_driver_name_is_omitted() -> None:
    history = History(driver_name=None)
    history.add(ProbeStatus.READY)
    assert history.lines == [f'I "Health check succeeded" {AT} state="ready" latency="0.002s"']
