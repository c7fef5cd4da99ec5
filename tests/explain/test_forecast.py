"""The formulas against the simulation of the program's schedule and kubelet's workers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from livenessprobe.explain import forecast
from livenessprobe.explain.forecast import Program, Settings
from tests.simulation.kubelet import JITTER
from tests.simulation.measures import QUICK, mean
from tests.simulation.outcome import Outcome, digest
from tests.simulation.policies import CACHED, Policy
from tests.simulation.scripts import Fault, Script, Span, Stage, State
from tests.simulation.settings import TABLE, Setting, corpus
from tests.simulation.world import Run, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
FOLLOWING = [Policy.AUTO, Policy.PER_REQUEST]

LATE = 2 * JITTER + 3 * QUICK + 0.001
"""Seconds by which a tick's jitter may move a decision, that of the first request and the last.

And what the driver takes to answer, which the formulas leave out, and what adding up floats costs.
"""


def without_delay(setting: Setting) -> Setting:
    """Return a setting that comes to the same once the container has started."""
    return replace(setting, liveness=replace(setting.liveness, initial_delay=0))


DISTINCT = sorted({without_delay(each) for each in corpus() if each not in TABLE}, key=str)


def settings_of(setting: Setting, policy: Policy) -> Settings:
    liveness = setting.liveness
    return Settings(
        period=liveness.period,
        timeout=liveness.timeout,
        failure_threshold=liveness.failure_threshold,
        initial_delay=liveness.initial_delay,
        probe_timeout=setting.probe_timeout,
        interval=CACHED.get(policy),
        other_period=None if setting.readiness is None else setting.readiness.period,
    )


def run_of(setting: Setting, policy: Policy, script: Script, phase: float) -> Run:
    return Run(
        setting=setting, script=script, latency=QUICK, phase=phase, weight=1.0, policy=policy
    )


@pytest.fixture(scope="module", params=["table", "corpus"])
def settings(request: pytest.FixtureRequest) -> Sequence[Setting]:
    if request.param == "table":
        return list(TABLE)
    if not DISTINCT:
        pytest.skip("the corpus is not beside the repository")
    return DISTINCT


def phases_for(setting: Setting, policy: Policy, script: Script) -> int:
    if policy is Policy.FIXED_10S:
        return 2
    if setting.readiness is None or policy is Policy.PER_REQUEST or script is DIES:
        return 6
    # Where a second caller's requests lie is chance, so a mean takes more runs. The two failing
    # answers come to the same, and share a mean.
    return 48 if script is HANGS else 24


@pytest.fixture(scope="module")
def outcomes(settings: Sequence[Setting]) -> list[Outcome]:
    runs = [
        run_of(setting, policy, script, (number + 0.5) / phases)
        for setting, policy, script in product(settings, PROGRAMS, FAULTS)
        for phases in [phases_for(setting, policy, script)]
        for number in range(phases)
    ]
    return simulate(runs, digest)


def forecast_of(outcome: Outcome) -> forecast.Decision:
    run = outcome.run
    settings = settings_of(run.setting, run.policy)
    return forecast.decide(PROGRAMS[run.policy], FAULTS[run.script], settings)


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
            groups[run.setting, run.policy, forecast_of(outcome)].append(outcome)
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


def restarts(runs: Iterable[tuple[Setting, Policy, Script]], phases: int) -> dict[str, int]:
    """Return in how many phases the driver is restarted, for each run by its name."""
    played = [run_of(*run, (n + 0.5) / phases) for run in runs for n in range(phases)]
    counts: dict[str, int] = defaultdict(int)
    for outcome in simulate(played, digest):
        run = outcome.run
        name = f"{run.policy.value}, {run.script.name}, {run.setting}"
        counts[name] += outcome.restarts > 0
    return counts


def test_an_outage_within_the_spared_time_restarts_no_driver(settings: Sequence[Setting]) -> None:
    runs = []
    for setting, policy, script in product(settings, FOLLOWING, FAULTS):
        seconds = settings_of(setting, policy)
        decision = forecast.decide(PROGRAMS[policy], FAULTS[script], seconds)
        if decision.spared > LATE:
            short = script_of(script.stages[0].state, decision.spared - LATE)
            runs.append((setting, policy, short))
    assert {name for name, count in restarts(runs, 4).items() if count} == set()


def test_an_outage_of_a_little_more_may_restart_a_driver() -> None:
    # A little: what the formulas allow for a socket to be found, and a step between two phases.
    runs = []
    one_caller = (setting for setting in TABLE if setting.readiness is None)
    for setting, policy, script in product(one_caller, FOLLOWING, FAULTS):
        decision = forecast.decide(PROGRAMS[policy], FAULTS[script], settings_of(setting, policy))
        more = 2 * forecast.FOUND_AFTER[Program.REFERENCE] + setting.liveness.period / 8
        if setting.liveness.failure_threshold > 1:
            longer = script_of(script.stages[0].state, decision.spared + more)
            runs.append((setting, policy, longer))
    assert {name for name, count in restarts(runs, 8).items() if not count} == set()


def coming_up(setting: Setting, policy: Policy) -> float:
    """Return within how long after a restart: the simulation's sidecar runs before the driver."""
    first = setting if setting.startup is None else replace(setting, liveness=setting.startup)
    _, seconds = forecast.seconds_to_come_up(PROGRAMS[policy], settings_of(first, policy))
    return seconds


def test_a_driver_that_comes_up_in_time_is_not_restarted(settings: Sequence[Setting]) -> None:
    runs = [
        (setting, policy, script_of(State.GONE, seconds, starts=True))
        for setting, policy in product(settings, FOLLOWING)
        if (seconds := coming_up(setting, policy) - LATE) > 0
    ]
    assert {name for name, count in restarts(runs, 3).items() if count} == set()


def test_a_driver_that_takes_a_period_more_is_restarted(settings: Sequence[Setting]) -> None:
    runs = []
    for setting, policy in product(settings, FOLLOWING):
        first = setting.startup or setting.liveness
        # The simulation's startup probes begin up to a period after the container.
        periods = 1 if setting.startup is None else 2
        seconds = coming_up(setting, policy) + max(periods * first.period, setting.probe_timeout)
        runs.append((setting, policy, script_of(State.GONE, seconds + 2, starts=True)))
    assert {name for name, count in restarts(runs, 3).items() if count < 3} == set()


# Real kubelet, v1.32: its own prober around real processes. For each program, period, timeout,
# threshold and --probe-timeout: seconds from the fault to the decision, on average of six phases
# or more, for a driver that is killed, hangs, and answers an error.
MEASURED = [
    (Program.OURS, (2, 3, 5, 3), (9.2, 12.1, 10.4)),
    (Program.OURS, (10, 3, 5, 3), (44.4, 47.8, 47.7)),
    (Program.OURS, (10, 1, 3, 3), (24.4, 27.7, 27.7)),
    (Program.REFERENCE, (2, 3, 5, 3), (16.2, 16.1, 9.0)),
    (Program.REFERENCE, (2, 3, 5, 3), (16.0, 16.1, 9.2)),
    (Program.REFERENCE, (10, 3, 5, 3), (47.4, 47.4, 44.3)),
    (Program.REFERENCE, (10, 3, 5, 3), (48.1, 48.7, 45.0)),
    (Program.REFERENCE, (10, 1, 3, 3), (25.4, 25.4, 24.4)),
    (Program.REFERENCE, (10, 1, 3, 3), (26.1, 26.0, 24.4)),
    (Program.REFERENCE, (30, 10, 5, 10), (142.0, 146.0, 137.0)),
]


@pytest.mark.parametrize(("program", "setting", "measured"), MEASURED)
def test_under_a_real_kubelet_a_driver_is_restarted_when_the_formulas_say(
    program: Program, setting: tuple[int, int, int, int], measured: tuple[float, float, float]
) -> None:
    period, timeout, threshold, probe_timeout = setting
    settings = Settings(
        period=period,
        timeout=timeout,
        failure_threshold=threshold,
        initial_delay=0,
        probe_timeout=probe_timeout,
    )
    faults = (forecast.Fault.DIES, forecast.Fault.HANGS, forecast.Fault.FAILS)
    for fault, seconds in zip(faults, measured, strict=True):
        decision = forecast.decide(program, fault, settings)
        assert decision.earliest <= seconds <= decision.latest
        assert decision.typical == pytest.approx(seconds, abs=period / 10 + 0.001)
