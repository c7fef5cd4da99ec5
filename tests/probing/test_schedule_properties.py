"""Checks the invariants of schedule and verdict for any requests, results and stalls.

The state machine takes the place of prober, callers, driver and host; time is a number. In a stall
time passes while nothing runs: the process is stopped or starved, or the host suspended.
"""

from math import floor

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question, judge
from livenessprobe.probing.callers import MAX_PERIOD
from livenessprobe.probing.schedule import IDLE, SLACK, SPACING, Schedule

INTERVALS = st.sampled_from([None, None, 0.1, 0.5, 1.0, 10.0, 3600.0])
TIMEOUTS = st.sampled_from([0.1, 1.0, 3.0, 30.0])


class ScheduleMachine(RuleBasedStateMachine):
    @initialize(interval=INTERVALS, timeout=TIMEOUTS)
    def begin(self, interval: float | None, timeout: float) -> None:
        self.now = 1000.0
        self.interval, self.timeout = interval, timeout
        self.schedule = Schedule(interval=interval, probe_timeout=timeout, now=self.now)
        self.began: list[float] = []
        self.in_flight = False
        self.last: ProbeResult | None = None
        self.first_failing_answer: float | None = None  # from the last result
        self.status, self.latency = ProbeStatus.READY, 0.002
        self.has_new_sockets = False
        self.out_of_turn = 0  # Probes started by other events than time and requests

    def run_until(self, then: float) -> None:
        """Run Probes as the prober does, until `then`."""
        while (event := self.next_event()) <= then:
            self.now = max(self.now, event)
            if self.in_flight:
                self.finish()
            else:
                self.schedule.began(self.now)
                self.began.append(self.now)
                self.in_flight = True
        self.now = max(self.now, then)

    def next_event(self) -> float:
        took = min(self.latency, self.timeout)
        return self.began[-1] + took if self.in_flight else self.schedule.due

    def finish(self) -> None:
        self.last = ProbeResult(
            status=self.status if self.latency < self.timeout else ProbeStatus.TIMED_OUT,
            message="why",
            grpc_status=None,
            latency=self.now - self.began[-1],
            finished_at=self.now,
        )
        self.in_flight, self.first_failing_answer = False, None
        self.schedule.finished(self.last)

    @rule(status=st.sampled_from(ProbeStatus), latency=st.sampled_from([0.002, 0.3, 1.7, 1e9]))
    def driver_becomes(self, status: ProbeStatus, latency: float) -> None:
        self.status, self.latency = status, latency

    @rule(seconds=st.floats(min_value=0.001, max_value=400.0))
    def stall_in_a_probe(self, seconds: float) -> None:
        if self.in_flight:
            self.now += seconds
            self.in_flight = False
            self.out_of_turn += 2  # the repeated one, and the next one as after any stall
            self.schedule.discarded()

    @rule(seconds=st.floats(min_value=0.001, max_value=400.0))
    def wait(self, seconds: float) -> None:
        self.run_until(self.now + seconds)

    @rule(seconds=st.floats(min_value=0.001, max_value=10_000.0))
    def stall(self, seconds: float) -> None:
        self.now += seconds
        self.out_of_turn += 1  # the one due in the stall is late, the next one is not

    @rule()
    def disconnect(self) -> None:
        self.schedule.disconnected(self.now)
        self.out_of_turn += self.schedule.due <= self.now

    @rule()
    def recreate(self) -> None:
        self.schedule.recreated(self.now)
        self.has_new_sockets = True

    @rule(period=st.integers(1, 60), times=st.integers(1, 8))
    def ask_regularly(self, period: int, times: int) -> None:
        self.ask_apart([float(period)] * times)

    @rule(gaps=st.lists(st.floats(min_value=0.0, max_value=2.0), max_size=20))
    def ask_apart(self, gaps: list[float]) -> None:
        for gap in gaps:
            self.run_until(self.now + gap)
            self.ask()

    @rule()
    def storm(self) -> None:
        self.ask_apart([0.05] * 60)

    @rule()
    def ask(self) -> None:
        verdict = judge(
            Question.HEALTHZ, self.last, now=self.now, valid_until=self.schedule.valid_until
        )
        if self.last is None:
            assert not verdict.healthy
        elif verdict.healthy:
            assert self.last.status is ProbeStatus.READY
            assert self.now - self.last.finished_at <= self.longest_gap()
        elif verdict.reason == self.last.message:
            assert self.last.status is not ProbeStatus.READY
            self.check_that_nothing_is_amplified()
        else:  # expired: only if the next result is overdue
            assert self.now > self.schedule.due + self.timeout + SLACK
        self.schedule.record_request(self.now, healthy=verdict.healthy)

    def check_that_nothing_is_amplified(self) -> None:
        if self.first_failing_answer is None:
            self.first_failing_answer = self.now
        if self.now - self.first_failing_answer >= 1.0:
            assert self.in_flight or self.schedule.due <= self.now

    def longest_gap(self) -> float:
        """Return the greatest age of a result, in seconds, with which a verdict may be healthy."""
        return (self.interval or max(IDLE, MAX_PERIOD + SPACING)) + self.timeout + SLACK

    @invariant()
    def the_next_probe_is_due_in_bounded_time(self) -> None:
        since = self.last.finished_at if self.last else 1000.0
        assert self.schedule.due - since <= self.longest_gap()

    @invariant()
    def there_is_no_more_than_one_probe_a_second_or_interval(self) -> None:
        spacing = min(SPACING, self.interval or SPACING)
        possible = floor((self.now - 1000.0) / spacing * (1 + 1e-9)) + 1
        if self.has_new_sockets:  # as many again, and one requested during a Probe
            possible += floor(self.now - 1000.0) + 2
        assert len(self.began) <= possible + self.out_of_turn

    @invariant()
    def an_unreachable_driver_is_probed_every_second(self) -> None:
        if self.last is None or self.last.status is not ProbeStatus.UNREACHABLE:
            return
        assert self.in_flight or self.schedule.due <= max(self.now, self.began[-1] + SPACING)


def test_the_invariants_of_schedule_and_verdict_hold() -> None:
    run_state_machine_as_test(ScheduleMachine, settings=settings(max_examples=200))
