"""Checks the guarantees of the schedule in the simulation, one in each test."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from livenessprobe.probing.schedule import IDLE, MARGIN
from tests.simulation.driver import Driver, Step
from tests.simulation.kubelet import JITTER
from tests.simulation.measures import (
    QUICK,
    SLOW,
    Outcomes,
    age,
    mean_delay,
    percentile,
    play,
    probes_per_request,
)
from tests.simulation.policies import CACHED, Cached, Policy
from tests.simulation.scripts import BLIP, HEALTHY, SCRIPTS, Fault, State
from tests.simulation.settings import TABLE, Setting, corpus
from tests.simulation.world import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.simulation.outcome import Outcome

EPSILON = 0.001
"""Seconds of rounding error in sums."""


BEYOND_TABLE = {setting: count for setting, count in corpus().items() if setting not in TABLE}


@pytest.fixture(scope="module", params=["table", "corpus"])
def settings(request: pytest.FixtureRequest) -> Mapping[Setting, int]:
    if request.param == "table":
        return TABLE
    if not BEYOND_TABLE:
        pytest.skip("the corpus is not beside the repository")
    return BEYOND_TABLE


@pytest.fixture(scope="module")
def outcomes(settings: Mapping[Setting, int]) -> Outcomes:
    """Every script in a few phases, for what must never happen."""
    policies = list(CACHED) if settings is TABLE else [Policy.AUTO]
    return play(settings, phases=2, policies=policies)


@pytest.fixture(scope="module")
def lasting(settings: Mapping[Setting, int]) -> Outcomes:
    """The lasting faults in many phases, for means."""
    return play_lasting(settings, warm_up=WARM_UP)


def play_lasting(settings: Mapping[Setting, int], *, warm_up: int) -> Outcomes:
    return play(
        settings,
        phases=16,
        scripts=[script for script in SCRIPTS if script.fault is not None],
        policies=[Policy.AUTO, Policy.PER_REQUEST],
        warm_up=warm_up,
    )


def cached(outcomes: Outcomes) -> Iterator[Outcome]:
    return (outcome for outcome in outcomes if outcome.run.policy in CACHED)


def has_one_caller(setting: Setting) -> bool:
    return setting.readiness is None and setting.startup is None


# 1. No amplification.


def test_unhealthy_answers_a_second_apart_have_different_probes_unless_one_is_due(
    outcomes: Outcomes,
) -> None:
    assert [str(o.run) for o in cached(outcomes) if o.amplified] == []


def test_one_failing_probe_fails_at_most_one_request_of_a_caller(
    outcomes: Outcomes,
) -> None:
    assert [
        str(o.run) for o in cached(outcomes) if o.run.script is BLIP and o.most_repeated > 1
    ] == []


def test_a_fault_shorter_than_the_failure_threshold_restarts_no_driver(
    outcomes: Outcomes,
) -> None:
    assert [str(o.run) for o in cached(outcomes) if o.restarts and not o.has_cause] == []


# 2. Faults are detected in time.


def test_the_mean_delay_of_restarts_against_per_request_probing_is_bounded(
    lasting: Outcomes,
) -> None:
    assert later_than_allowed(lasting) == {}


def test_the_mean_delay_of_restarts_is_bounded_from_the_third_request_on() -> None:
    assert later_than_allowed(play_lasting(TABLE, warm_up=2)) == {}


def later_than_allowed(lasting: Outcomes) -> Mapping[str, float]:
    groups: dict[tuple[Setting, float, Fault | None], list[Outcome]] = defaultdict(list)
    for outcome in cached(lasting):
        run = outcome.run
        groups[run.setting, run.latency, run.script.fault].append(outcome)
    late = {}
    for (setting, latency, fault), group in groups.items():
        allowed = {
            Fault.CRASH: 0.0,
            Fault.HANG: 1.0 + undetectable_for(setting, fault),
            Fault.ERROR: setting.probe_timeout + 0.5,
        }
        mean = mean_delay(lasting, group)
        if fault is not None and mean > allowed[fault] + JITTER:
            late[f"{fault}, latency {latency}, {setting}"] = mean
    return late


def test_a_restart_is_at_most_one_period_later_than_with_per_request_probing(
    lasting: Outcomes,
) -> None:
    late = {}
    for outcome in cached(lasting):
        setting = outcome.run.setting
        delay = lasting.delay(outcome) - undetectable_for(setting, outcome.run.script.fault)
        if delay > setting.liveness.period + JITTER + EPSILON:
            late[str(outcome.run)] = delay
    assert late == {}


def undetectable_for(setting: Setting, fault: Fault | None) -> float:
    """Return the seconds by which --probe-timeout is longer than the kubelet's timeoutSeconds.

    A kubelet that waits for the driver detects a hang after timeoutSeconds. A Probe detects it only
    after --probe-timeout, since a reply that comes before that is a good one.
    """
    if fault is not Fault.HANG:
        return 0.0
    return max(0.0, setting.probe_timeout - setting.liveness.timeout)


def test_a_dead_process_is_unhealthy_within_a_second(outcomes: Outcomes) -> None:
    dead = [o for o in cached(outcomes) if o.run.script.fault is Fault.CRASH]
    assert [str(o.run) for o in dead if o.detected_after is None or o.detected_after > 1] == []


# 3. Recovery is detected at once.


def test_an_unreachable_driver_is_probed_every_second(outcomes: Outcomes) -> None:
    late = [str(o.run) for o in cached(outcomes) if o.longest_unreached > 1 + EPSILON]
    assert late == []


def test_failures_of_the_old_driver_fail_no_request_to_the_new_one(outcomes: Outcomes) -> None:
    assert [str(o.run) for o in cached(outcomes) if o.misjudged_births] == []


# 4. Few Probes.


def test_a_healthy_driver_gets_one_probe_for_each_request(outcomes: Outcomes) -> None:
    probes = {
        f"latency {latency}, {setting}": probes_per_request(group)
        for (setting, latency), group in healthy(outcomes).items()
    }
    assert {name: n for name, n in probes.items() if n > 1.02} == {}


def healthy(outcomes: Outcomes) -> Mapping[tuple[Setting, float], list[Outcome]]:
    """Return the outcomes of a healthy driver by setting and latency."""
    groups: dict[tuple[Setting, float], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        run = outcome.run
        if (run.script, run.policy) == (HEALTHY, Policy.AUTO):
            groups[run.setting, run.latency].append(outcome)
    return groups


def test_a_failing_driver_gets_two_probes_for_each_request(lasting: Outcomes) -> None:
    # One follows each unhealthy answer, so that no other answer is made from the same result. Its
    # result is too old to show a recovery to the next request, so there is another one before that.
    bad = [o for o in cached(lasting) if has_one_caller(o.run.setting)]
    assert [str(o.run) for o in bad if o.probes_until_then > 2 * o.requests_until_then] == []


# 5. Fresh answers.


def test_answers_to_one_regular_caller_are_fresh(outcomes: Outcomes) -> None:
    ages = {
        (setting, latency): age(group, 0.99)
        for (setting, latency), group in healthy(outcomes).items()
        if has_one_caller(setting)
    }
    assert {str(s): old for (s, _), old in ages.items() if old > freshest(s.probe_timeout)} == {}


def freshest(probe_timeout: float) -> float:
    """Return the age of an answer whose Probe began so early that a hang would have timed out."""
    return probe_timeout + MARGIN + JITTER


# 6. One Probe at a time.


def test_at_most_one_probe_is_in_flight(outcomes: Outcomes) -> None:
    assert {o.most_in_flight for o in cached(outcomes)} == {1}


# Without a kubelet: a healthy driver with one caller, without callers, or with a burst of requests.


class Pod:
    """A healthy driver and the program in auto mode; counts Probes and ages of answers."""

    def __init__(self, latency: float) -> None:
        start = trio.current_time()
        steps = [Step(at=start, state=State.READY, latency=latency)]
        self._driver = Driver(steps, latency=latency, on_death=_ignore, on_start=_ignore)
        self._sidecar = Cached(
            self._driver,
            probe_timeout=3.0,
            interval=None,
            rng=random.Random(1),  # noqa: S311 - reproducible, not secret
        )
        self.ages: list[float] = []

    @property
    def probes(self) -> int:
        return len(self._driver.calls)

    async def live(self) -> None:
        await self._sidecar.run()

    async def ask(self) -> None:
        answer = await self._sidecar.ask("caller", 1)
        self.ages.append(answer.age)


def _ignore() -> None:
    """Healthy drivers do not die."""


async def test_with_no_callers_there_is_a_probe_every_ten_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # From 0 s on, so a hundred times in 995 s.
    pod = Pod(QUICK)
    with trio.move_on_after(995):
        await pod.live()
    assert pod.probes == 100


@pytest.mark.parametrize("latency", [QUICK, SLOW])
@pytest.mark.parametrize("rate", [2.0, 30.0, 500.0])
async def test_a_burst_of_requests_starts_at_most_one_probe_a_second(
    autojump_clock: trio.testing.MockClock, latency: float, rate: float
) -> None:
    pod, rng = Pod(latency), random.Random(2)  # noqa: S311 - reproducible, not secret
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pod.live)
        with trio.move_on_after(59.5):
            while True:
                await pod.ask()
                await trio.sleep(rng.expovariate(rate))
        nursery.cancel_scope.cancel()
    assert pod.probes <= 60


@pytest.mark.parametrize("latency", [QUICK, SLOW])
@pytest.mark.parametrize("period", [1, 2, 3, 5, 10, 15, 30, 65, 180])
async def test_a_caller_that_goes_on_at_another_phase_still_gets_fresh_answers(
    autojump_clock: trio.testing.MockClock, latency: float, period: int
) -> None:
    # A kubelet that restarts continues at another phase, which costs 2 of 400 answers.
    pod, rng = Pod(latency), random.Random(period)  # noqa: S311 - reproducible, not secret
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pod.live)
        for _ in range(2):
            first = trio.current_time() + rng.random() * period
            for n in range(203):
                await trio.sleep_until(first + n * period + rng.random() * JITTER)
                await pod.ask()
        nursery.cancel_scope.cancel()
    assert percentile(((old, 1.0) for old in pod.ages[2:]), 0.99) <= freshest(3.0)
    # Without a confirmed caller there is a Probe every 10 s.
    assert pod.probes <= 1.02 * len(pod.ages) + 4 * (1 + period / IDLE)
