from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from livenessprobe import klog
from livenessprobe.health.errors import DriverUnreachableError
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import NOTHING_KNOWN, Question
from livenessprobe.probing.prober import Prober
from tests.scripted_probe import answering, raising

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.probing.probe import Probe


async def results_within(seconds: float, probe: Probe) -> list[ProbeResult]:
    """Probe once a second for so many seconds; return the results."""
    results: list[ProbeResult] = []
    prober = Prober(probe, results.append, interval=1.0, probe_timeout=3.0)
    with trio.move_on_after(seconds):
        await prober.run()
    return results


async def test_probes_start_one_interval_apart(autojump_clock: trio.testing.MockClock) -> None:
    # Every second from 0 s on, so ten times within 9.5 s.
    start = trio.current_time()
    results = await results_within(9.5, answering(ready=True, after=0.1))
    assert [result.finished_at - start for result in results] == pytest.approx(
        [0.1, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.1, 8.1, 9.1]
    )


async def test_a_hanging_driver_is_probed_again_right_after_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Deadlines at 3, 6 and 9 s; the Probe that started at 9 s has not ended.
    results = await results_within(9.5, answering(ready=True, after=60.0))
    assert [result.status for result in results] == [ProbeStatus.TIMED_OUT] * 3


async def test_never_more_than_one_probe_is_in_flight(
    autojump_clock: trio.testing.MockClock,
) -> None:
    in_flight = most_in_flight = 0

    async def probe(_: float) -> bool:
        nonlocal in_flight, most_in_flight
        in_flight += 1
        most_in_flight = max(most_in_flight, in_flight)
        try:
            await trio.sleep(2.5)
        finally:
            in_flight -= 1
        return True

    results = await results_within(20.0, probe)
    assert len(results) == 7  # at 2.5, 5, ... 17.5 s; the one that would end at 20 s is cancelled
    assert most_in_flight == 1
    assert in_flight == 0


async def test_a_bug_in_a_probe_ends_the_prober(autojump_clock: trio.testing.MockClock) -> None:
    async def probe(_: float) -> bool:
        raise KeyError("our own")

    with pytest.raises(KeyError):
        await results_within(1.0, probe)


class Running:
    """A prober in auto mode, with a driver whose next reply is `outcome`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.outcome: Probe = answering(ready=True)
        self.starts: list[float] = []
        self.results: list[ProbeResult] = []
        self._start = trio.current_time()
        self.prober = Prober(self._probe, self.results.append, interval=None, probe_timeout=3.0)
        nursery.start_soon(self.prober.run)

    async def _probe(self, timeout: float) -> bool:  # noqa: ASYNC109 - as the driver's
        self.starts.append(trio.current_time() - self._start)
        return await self.outcome(timeout)


async def test_before_the_first_result_the_answer_is_that_nothing_is_known(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    assert Running(nursery).prober.handle_request(Question.HEALTHZ) is NOTHING_KNOWN


async def test_a_request_gets_the_last_result_and_starts_a_probe(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    running = Running(nursery)
    await trio.sleep(4.0)
    verdict = running.prober.handle_request(Question.HEALTHZ)
    assert verdict.healthy
    assert verdict.age == pytest.approx(4.0)
    await trio.sleep(0.1)
    assert running.starts == pytest.approx([0.0, 4.0])
    assert running.prober.handle_request(Question.HEALTHZ).age == pytest.approx(0.1)


@pytest.mark.parametrize("event", [Prober.disconnected, Prober.recreated])
async def test_an_event_starts_a_probe_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, event: Callable[[Prober], None]
) -> None:
    running = Running(nursery)
    await trio.sleep(0.5)
    running.outcome = raising(DriverUnreachableError("gone"))
    event(running.prober)
    await trio.sleep(0.1)
    assert running.starts == pytest.approx([0.0, 0.5])
    assert running.prober.handle_request(Question.HEALTHZ).reason == "gone"


async def test_events_during_a_probe_start_no_further_probe(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    running = Running(nursery)
    running.outcome = answering(ready=True, after=0.5)
    await trio.sleep(0.25)
    running.prober.disconnected()
    running.prober.handle_request(Question.HEALTHZ)
    await trio.sleep(5.0)
    assert running.starts == [0.0]


async def test_after_a_stall_the_last_result_has_expired_and_this_is_logged(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    capsys: pytest.CaptureFixture[str],
) -> None:
    klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
    running = Running(nursery)
    await trio.sleep(1.0)
    autojump_clock.jump(60.0)
    for _ in range(3):  # before any other task has run
        verdict = running.prober.handle_request(Question.HEALTHZ)
        assert not verdict.healthy
        assert "finished 61s ago, the next one should have by now" in verdict.reason
    await trio.sleep(0.1)
    assert running.prober.handle_request(Question.HEALTHZ).healthy
    assert running.starts == pytest.approx([0.0, 61.0])
    lines = capsys.readouterr().err.splitlines()
    assert ["Health check failed" in line for line in lines] == [True, False]
    assert ["No Probe finished for long" in line for line in lines] == [False, True]
    assert running.prober.missed_deadlines == 1
    assert running.prober.lag == pytest.approx(51.0)  # the next one was due at 10 s


async def test_a_long_stall_counts_as_one_missed_deadline_and_a_short_one_as_none(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    running = Running(nursery)
    for stall, missed in (1.0, 0), (60.0, 1):
        await trio.sleep(1.0)
        running.outcome = answering(ready=True, after=10.0)
        running.prober.disconnected()
        await trio.sleep(0.1)
        running.outcome = answering(ready=True)
        autojump_clock.jump(3.0 + stall)
        await trio.sleep(1.0)
        assert running.prober.missed_deadlines == missed


async def test_reading_the_verdict_changes_nothing(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    running = Running(nursery)
    running.outcome = raising(DriverUnreachableError("gone"))
    await trio.sleep(0.5)
    due = running.prober.schedule.due
    now = trio.current_time()
    assert running.prober.current_verdict(Question.HEALTHZ, now).reason == "gone"
    assert running.prober.schedule.due == due
    assert not list(running.prober.schedule.callers)


async def test_a_probe_that_times_out_during_a_stall_is_discarded(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    capsys: pytest.CaptureFixture[str],
) -> None:
    klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
    running = Running(nursery)
    running.outcome = answering(ready=True, after=10.0)  # the stall is longer
    await trio.sleep(0.1)
    running.outcome = answering(ready=True)
    autojump_clock.jump(60.0)
    await trio.sleep(1.0)
    assert [result.status for result in running.results] == [ProbeStatus.READY]
    assert running.starts == pytest.approx([0.0, 60.1])
    assert running.prober.missed_deadlines == 0  # there was no earlier result that could expire
    assert running.prober.lag == pytest.approx(0.0)  # the next one began at once
    assert (
        "Discarded a Probe that ended after its deadline: livenessprobe was stopped"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(("period", "lines"), [(2.0, 1), (3.0, 0)])
async def test_a_period_shorter_than_the_timeout_is_logged_once(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    capsys: pytest.CaptureFixture[str],
    period: float,
    lines: int,
) -> None:
    klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
    running = Running(nursery)
    for number in range(5):
        running.prober.handle_request(Question.HEALTHZ)
        if number == 1:  # two requests may be a coincidence
            assert capsys.readouterr().err == ""
        await trio.sleep(period)
    logged = capsys.readouterr().err.splitlines()
    assert [line.count('period="2s" probe_timeout="3s"') for line in logged] == [1] * lines
