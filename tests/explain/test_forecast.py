"""The formulas against the simulation of the program's schedule and kubelet's workers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from livenessprobe.explain import forecast
from livenessprobe.explain.forecast import Settings
from livenessprobe.explain.sidecars import Program
from tests.simulation.kubelet import JITTER
from tests.simulation.measures import QUICK, SLOW, mean, play
from tests.simulation.outcome import Outcome, digest
from tests.simulation.policies import CACHED, Policy
from tests.simulation.scripts import Fault, Script, Span, Stage, State
from tests.simulation.settings import TABLE, Setting, corpus
from tests.simulation.world import Run, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DIES = Script(name="dies", stages=(Stage(state=State.GONE),), fault=Fault.CRASH)
HANGS = Script(name="hangs", stages=(Stage(state=State.HANGING),), fault=Fault.HANG)
FAILS = Script(name="fails", stages=(Stage(state=State.ERROR),), fault=Fault.ERROR)
NOT_READY = Script(name="not ready", stages=(Stage(state=State.NOT_READY),), fault=Fault.ERROR)

FAULTS = {
    DIES: forecast.Fault.DIES,
    HANGS: forecast.Fault.HANGS,
    FAILS: forecast.Fault.FAILS,
    NOT_READY: forecast.Fault.NOT_READY,
}
PROGRAMS = {
    Policy.PER_REQUEST: Program.REFERENCE,
    Policy.AUTO: Program.OURS,
    Policy.FIXED_10S: Program.OURS,
}

EPSILON = 0.001
"""Seconds; what adding up floats costs."""

LATE = 2 * JITTER + EPSILON
"""Seconds by which a tick's jitter may move a decision: that of the first request and the last."""

BEYOND_TABLE = {setting: count for setting, count in corpus().items() if setting not in TABLE}


def phases_for(setting: Setting) -> int:
    # Where a second caller's requests lie is chance, so a mean takes more runs.
    return 8 if setting.readiness is None else 64


def settings_of(setting: Setting, policy: Policy, latency: float) -> Settings:
    liveness = setting.liveness
    return Settings(
        period=liveness.period,
        timeout=liveness.timeout,
        failure_threshold=liveness.failure_threshold,
        initial_delay=liveness.initial_delay,
        probe_timeout=setting.probe_timeout,
        interval=CACHED.get(policy),
        latency=latency,
        other_period=None if setting.readiness is None else setting.readiness.period,
    )


@pytest.fixture(scope="module", params=["table", "corpus"])
def settings(request: pytest.FixtureRequest) -> Mapping[Setting, int]:
    if request.param == "table":
        return TABLE
    if not BEYOND_TABLE:
        pytest.skip("the corpus is not beside the repository")
    return BEYOND_TABLE


FOLLOWING = [Policy.AUTO, Policy.PER_REQUEST]


@pytest.fixture(scope="module")
def outcomes(settings: Mapping[Setting, int]) -> list[Outcome]:
    scripts = tuple(FAULTS)
    played = [play(settings, phases=2, scripts=scripts, policies=[Policy.FIXED_10S])]
    for phases in {phases_for(setting) for setting in settings}:
        alike = {each: number for each, number in settings.items() if phases_for(each) == phases}
        played.append(play(alike, phases=phases, scripts=scripts, policies=FOLLOWING))
    return [outcome for outcomes in played for outcome in outcomes]


def forecast_of(outcome: Outcome) -> forecast.Decision:
    run = outcome.run
    settings = settings_of(run.setting, run.policy, run.latency)
    decision = forecast.decide(PROGRAMS[run.policy], FAULTS[run.script], settings)
    assert decision is not None
    return decision


def test_no_decision_is_simulated_outside_earliest_and_latest(outcomes: list[Outcome]) -> None:
    outside = {}
    for outcome in outcomes:
        decision, decided_after = forecast_of(outcome), outcome.decided_after
        assert decided_after is not None
        if not decision.earliest - LATE <= decided_after <= decision.latest + LATE:
            outside[str(outcome.run)] = decided_after, decision
    assert outside == {}


def test_the_typical_decision_is_within_a_tenth_of_a_period_of_the_simulated_mean(
    outcomes: list[Outcome],
) -> None:
    # Not at a fixed interval, where what chance has to say takes hundreds of runs.
    groups: dict[tuple[object, ...], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        run = outcome.run
        if run.policy in FOLLOWING:
            groups[run.setting, run.script.name, run.latency, run.policy].append(outcome)
    off: dict[str, tuple[float, float]] = {}
    for group in groups.values():
        run = group[0].run
        simulated = mean((o.decided_after or 0.0, o.run.weight) for o in group)
        typical = forecast_of(group[0]).typical
        if abs(simulated - typical) > run.setting.liveness.period / 10:
            off[str(run)] = simulated, typical
    assert off == {}


def script_of(state: State, seconds: float, *, starts: bool = False) -> Script:
    """Return the script of a driver that is so for a while, from its start if it `starts`."""
    stages = (Stage(state=state, lasts=Span(seconds=seconds)), Stage(state=State.READY))
    return Script(name=f"{state.value} for {seconds:.3f}", stages=stages, starts=starts)


def restarts(runs: Iterable[tuple[Setting, Policy, Script, float]], phases: int) -> dict[str, int]:
    """Return in how many phases the driver is restarted, for each run by its name."""
    played = [
        Run(
            setting=setting,
            script=script,
            latency=latency,
            phase=(number + 0.5) / phases,
            weight=1.0,
            policy=policy,
        )
        for setting, policy, script, latency in runs
        for number in range(phases)
    ]
    counts: dict[str, int] = defaultdict(int)
    for outcome in simulate(played, digest):
        run = outcome.run
        name = f"{run.policy.value}, {run.script.name}, latency {run.latency}, {run.setting}"
        counts[name] += outcome.restarts > 0
    return counts


def test_an_outage_within_the_spared_time_restarts_no_driver(
    settings: Mapping[Setting, int],
) -> None:
    runs = []
    latencies = (QUICK, SLOW) if settings is TABLE else (QUICK,)
    for setting, policy, latency, script in product(settings, FOLLOWING, latencies, FAULTS):
        seconds = settings_of(setting, policy, latency)
        decision = forecast.decide(PROGRAMS[policy], FAULTS[script], seconds)
        assert decision is not None
        if decision.spared > LATE:
            short = script_of(script.stages[0].state, decision.spared - LATE)
            runs.append((setting, policy, short, latency))
    assert {name for name, count in restarts(runs, 6).items() if count} == set()


def test_an_outage_of_a_little_more_may_restart_a_driver() -> None:
    # A little: what the formulas allow for a socket to be found, and a step between two phases.
    runs = []
    one_caller = (setting for setting in TABLE if setting.readiness is None)
    for setting, policy, script in product(one_caller, FOLLOWING, FAULTS):
        seconds = settings_of(setting, policy, QUICK)
        decision = forecast.decide(PROGRAMS[policy], FAULTS[script], seconds)
        assert decision is not None
        more = 2 * forecast.RETRY + setting.liveness.period / 16
        if setting.liveness.failure_threshold > 1:
            longer = script_of(script.stages[0].state, decision.spared + more)
            runs.append((setting, policy, longer, QUICK))
    assert {name for name, count in restarts(runs, 16).items() if not count} == set()


def coming_up(setting: Setting, policy: Policy) -> float:
    first = setting if setting.startup is None else replace(setting, liveness=setting.startup)
    seconds = settings_of(first, policy, QUICK)
    return forecast.seconds_to_come_up(PROGRAMS[policy], seconds, restarted=True)


def test_a_driver_that_comes_up_in_time_is_not_restarted(settings: Mapping[Setting, int]) -> None:
    # The sidecar runs before the container does, as after a restart.
    runs = [
        (setting, policy, script_of(State.GONE, seconds, starts=True), QUICK)
        for setting, policy in product(settings, FOLLOWING)
        if (seconds := coming_up(setting, policy) - LATE) > 0
    ]
    assert {name for name, count in restarts(runs, 6).items() if count} == set()


def test_a_driver_that_takes_a_period_more_is_restarted(settings: Mapping[Setting, int]) -> None:
    runs = []
    for setting, policy in product(settings, FOLLOWING):
        first = setting.startup or setting.liveness
        # The simulation's startup probes begin up to a period after the container.
        periods = 1 if setting.startup is None else 2
        seconds = coming_up(setting, policy) + max(periods * first.period, setting.probe_timeout)
        seconds += 2
        runs.append((setting, policy, script_of(State.GONE, seconds, starts=True), QUICK))
    assert {name for name, count in restarts(runs, 6).items() if count < 6} == set()


# Real kubelet, v1.32: its own prober around real processes. For each program, period, timeout,
# threshold and --probe-timeout, and the driver's latency: seconds from the fault to the decision,
# on average of six phases or more, for a driver that is killed, hangs, and answers an error.
MEASURED = [
    (Program.OURS, (2, 3, 5, 3), 0.0, (9.2, 12.1, 10.4)),
    (Program.OURS, (10, 3, 5, 3), 0.0, (44.4, 47.8, 47.7)),
    (Program.OURS, (10, 1, 3, 3), 0.0, (24.4, 27.7, 27.7)),
    (Program.REFERENCE, (2, 3, 5, 3), 0.0, (16.2, 16.1, 9.0)),
    (Program.REFERENCE, (2, 3, 5, 3), 0.0, (16.0, 16.1, 9.2)),
    (Program.REFERENCE, (10, 3, 5, 3), 0.0, (47.4, 47.4, 44.3)),
    (Program.REFERENCE, (10, 3, 5, 3), 0.0, (48.1, 48.7, 45.0)),
    (Program.REFERENCE, (10, 3, 5, 3), 0.3, (46.8, 47.6, 44.6)),
    (Program.REFERENCE, (10, 1, 3, 3), 0.0, (25.4, 25.4, 24.4)),
    (Program.REFERENCE, (10, 1, 3, 3), 0.0, (26.1, 26.0, 24.4)),
    (Program.REFERENCE, (30, 10, 5, 10), 0.0, (142.0, 146.0, 137.0)),
]


@pytest.mark.parametrize(("program", "setting", "latency", "measured"), MEASURED)
def test_under_a_real_kubelet_a_driver_is_restarted_when_the_formulas_say(
    program: Program,
    setting: tuple[int, int, int, int],
    latency: float,
    measured: tuple[float, float, float],
) -> None:
    period, timeout, threshold, probe_timeout = setting
    settings = Settings(
        period=period,
        timeout=timeout,
        failure_threshold=threshold,
        initial_delay=0,
        probe_timeout=probe_timeout,
        latency=latency,
    )
    faults = (forecast.Fault.DIES, forecast.Fault.HANGS, forecast.Fault.FAILS)
    for fault, seconds in zip(faults, measured, strict=True):
        decision = forecast.decide(program, fault, settings)
        assert decision is not None
        assert decision.earliest <= seconds <= decision.latest
        assert decision.typical == pytest.approx(seconds, abs=period / 10 + 0.001)
