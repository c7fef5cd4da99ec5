"""Checks the invariants of prober, schedule and verdict, as the driver and its callers see them.

The prober is the real one. Its clock advances only in `wait`, where every task runs at its time,
and in `stall`, where no task runs: the process is stopped or starved, or the host suspended. The
expected behaviour follows from the calls that the driver has seen, not from the schedule.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from livenessprobe.health.errors import DeadlineExceededError, DriverUnreachableError, RPCError
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question
from livenessprobe.probing.callers import MAX_PERIOD
from livenessprobe.probing.prober import LATENESS, Prober
from livenessprobe.probing.schedule import IDLE, SLACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from livenessprobe.health.errors import DriverError

INTERVALS = st.sampled_from([None, None, None, 0.5, 10.0, 3600.0])
TIMEOUTS = st.sampled_from([0.1, 1.0, 3.0, 30.0])
LATENCIES = st.sampled_from([0.0, 0.002, 0.002, 0.3, 1.7, 1e9])
STUCK = st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.5, 5.0, 100.0])
"""Seconds for which a Probe cannot be cancelled, as in a file system that hangs."""
QUESTIONS = st.lists(st.sampled_from(Question), min_size=1, unique=True)
GAPS = st.lists(st.floats(0.0, 2.0), max_size=20) | st.just([0.05] * 60)

ERRORS: dict[ProbeStatus, DriverError] = {
    ProbeStatus.FAILED: RPCError("FailedPrecondition", "not healthy"),
    ProbeStatus.UNREACHABLE: DriverUnreachableError("gone"),
    ProbeStatus.TIMED_OUT: DeadlineExceededError(),
}

# The statuses that answer each question by yes, independently of the program's table.
YES = {
    Question.HEALTHZ: {ProbeStatus.READY},
    Question.LIVEZ: {ProbeStatus.READY, ProbeStatus.NOT_READY},
    Question.READYZ: {ProbeStatus.READY},
}

SPACING = 1.0
"""Seconds between two Probes, and between two unhealthy answers from different results."""

ROUNDING = 1e-6
"""Seconds of rounding error: times are sums, and the clock's are large numbers."""


class ProberMachine(RuleBasedStateMachine):
    """Driver, callers and host of one prober."""

    def __init__(self, clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
        super().__init__()
        self.clock = clock
        self.nursery = nursery
        self.scope, self.ended = trio.CancelScope(), trio.Event()
        self.status, self.latency, self.stuck = ProbeStatus.READY, 0.002, 0.0
        self.began: list[float] = []  # every Probe
        self.in_flight = False
        self.last: tuple[ProbeStatus, float] | None = (
            None  # status and end of the last that was not discarded
        )
        self.published: list[ProbeResult] = []
        self.first_unhealthy: dict[
            Question, float
        ] = {}  # first unhealthy answers from the last result
        self.lost = 0.0  # seconds of stalls and discarded Probes since `last`
        self.all_tasks_have_run = True  # whether all tasks have run since the clock advanced
        self.out_of_turn = 0  # Probes that came too soon after the one before
        self.may_be_out_of_turn = 0  # started by other events than time and requests
        self.wrong: list[str] = []

    @initialize(interval=INTERVALS, timeout=TIMEOUTS)
    def begin(self, interval: float | None, timeout: float) -> None:
        self.interval, self.timeout = interval, timeout
        trio.from_thread.run(self.nursery.start, self.run_prober)

    def teardown(self) -> None:
        trio.from_thread.run(self.end)

    async def end(self) -> None:
        self.scope.cancel()
        self.clock.autojump_threshold = 0  # its Probe may be stuck
        await self.ended.wait()
        self.clock.autojump_threshold = inf

    async def run_prober(self, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            self.prober = Prober(
                self.probe, self.publish, interval=self.interval, probe_timeout=self.timeout
            )
            task_status.started()
            await self.prober.run()
        self.ended.set()

    # The driver

    async def probe(self, timeout: float) -> bool:  # noqa: ASYNC109 - as the driver's
        self.note_begin(timeout)
        how = ProbeStatus.TIMED_OUT
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.stuck)
            await trio.sleep(self.latency)
            how = self.status
        finally:
            self.note_end(how)
        if error := ERRORS.get(how):
            raise error
        return how is ProbeStatus.READY

    def note_begin(self, timeout: float) -> None:
        if self.in_flight or timeout != self.timeout:
            self.wrong.append(f"a Probe with {timeout} s, in flight: {self.in_flight}")
        now = trio.current_time()
        spacing = min(SPACING, self.interval or SPACING)
        if self.began and now - self.began[-1] < spacing - ROUNDING:
            self.out_of_turn += 1
        self.began.append(now)
        self.in_flight = True

    def note_end(self, how: ProbeStatus) -> None:
        now = trio.current_time()
        late = self.overtime(now)
        self.in_flight = False
        if how is ProbeStatus.TIMED_OUT and late > LATENESS:
            self.may_be_out_of_turn += 2  # the repeated one, and the next one on schedule
            self.lost += now - self.began[-1]
        else:
            self.last = how, now
            self.first_unhealthy.clear()
            self.lost = 0.0

    def publish(self, result: ProbeResult) -> None:
        if self.last != (result.status, result.finished_at):
            self.wrong.append(f"{result} after {self.last}")
        self.published.append(result)

    @invariant()
    def nothing_has_gone_wrong(self) -> None:
        assert self.wrong == []

    @invariant()
    def probes_keep_their_spacing(self) -> None:
        assert self.out_of_turn <= self.may_be_out_of_turn

    @rule(
        status=st.sampled_from(list(ProbeStatus)),
        latency=LATENCIES,
        stuck=STUCK,
        questions=QUESTIONS,
        gaps=GAPS,
    )
    def driver_becomes(
        self,
        status: ProbeStatus,
        latency: float,
        stuck: float,
        questions: list[Question],
        gaps: list[float],
    ) -> None:
        self.status, self.latency, self.stuck = status, latency, stuck
        in_trio(self.ask_apart, questions, gaps)

    @rule(event=st.sampled_from([Prober.disconnected, Prober.recreated]))
    def report(self, event: Callable[[Prober], object]) -> None:
        # `recreated` may count twice: it may be reported again during the Probe that follows.
        self.may_be_out_of_turn += 1 if event is Prober.disconnected else 2
        in_trio(self.let_pass, 0.0, partial(event, self.prober))

    # The host

    @rule(seconds=st.floats(min_value=0.001, max_value=400.0))
    def wait(self, seconds: float) -> None:
        in_trio(self.let_pass, seconds)

    async def let_pass(self, seconds: float, do: Callable[[], None] = lambda: None) -> None:
        """Advance the clock, let all tasks run, call `do`, and let all tasks run again."""
        self.clock.autojump_threshold = 0
        await trio.sleep(seconds)
        self.clock.autojump_threshold = inf
        await trio.testing.wait_all_tasks_blocked()
        do()
        await trio.testing.wait_all_tasks_blocked()

    @rule(seconds=st.floats(min_value=0.001, max_value=10_000.0), questions=QUESTIONS)
    def stall(self, seconds: float, questions: list[Question]) -> None:
        in_trio(self.let_pass, 0.0, partial(self.stall_and_ask, seconds, questions))

    def stall_and_ask(self, seconds: float, questions: list[Question]) -> None:
        """Advance the clock, and send requests before any task has run."""
        self.lost += seconds
        self.may_be_out_of_turn += 1  # the one due in the stall is late, the next one is not
        self.clock.jump(seconds)
        self.all_tasks_have_run = False
        self.check_answers(questions)
        self.all_tasks_have_run = True

    # The callers

    @rule()
    def ask(self) -> None:
        in_trio(self.ask_apart, list(Question), [0.0])

    @rule(questions=QUESTIONS, period=st.integers(1, 60), times=st.integers(1, 6))
    def ask_regularly(self, questions: list[Question], period: int, times: int) -> None:
        in_trio(self.ask_apart, questions, [float(period)] * times)

    async def ask_apart(self, questions: list[Question], gaps: list[float]) -> None:
        for gap in gaps:
            await self.let_pass(gap, partial(self.check_answers, questions))

    def check_answers(self, questions: list[Question]) -> None:
        for question in questions:
            self.check_answer(question)

    def check_answer(self, question: Question) -> None:
        now = trio.current_time()
        verdict = self.prober.handle_request(question)
        if self.last is None:
            assert not verdict.healthy
            return
        how, ended_at = self.last
        assert verdict.last is self.published[-1]
        assert verdict.age == now - ended_at
        if verdict.healthy:
            assert how in YES[question]
            assert verdict.age <= self.longest_gap() + ROUNDING
        elif verdict.is_expired:  # only after stalls and stuck Probes that are long enough
            assert self.lost + self.overtime(now) > SLACK - ROUNDING
        else:
            assert how not in YES[question]
            self.check_that_nothing_is_amplified(question, now)

    def check_that_nothing_is_amplified(self, question: Question, now: float) -> None:
        first = self.first_unhealthy.setdefault(question, now)
        if now - first >= SPACING:
            assert self.in_flight or not self.all_tasks_have_run

    def overtime(self, now: float) -> float:
        """Return the seconds by which the Probe in flight, if any, has outlasted its deadline."""
        return max(0.0, now - self.began[-1] - self.timeout) if self.in_flight else 0.0

    def longest_gap(self) -> float:
        """Return the greatest age of a result, in seconds, with which a verdict may be healthy."""
        gap = self.interval or max(IDLE, MAX_PERIOD + SPACING)
        return gap + self.timeout + SLACK


def in_trio(do: Callable[..., Awaitable[None]], *args: object) -> None:
    trio.from_thread.run(do, *args)


async def test_the_invariants_of_prober_and_verdict_hold(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    await trio.to_thread.run_sync(
        partial(
            run_state_machine_as_test,
            partial(ProberMachine, mock_clock, nursery),  # type: ignore[arg-type]  # a factory, as documented
            settings=settings(max_examples=50, stateful_step_count=25),
        )
    )
