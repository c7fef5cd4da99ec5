"""Computes how long a driver may take to come back before kubelet restarts it again.

A new container starts, and its driver listens after D seconds. Each unhealthy answer of the
reference takes a --probe-timeout, for which kubelet's worker waits; the program's answers take no
time. So where the period is shorter than the timeout, the same number of failures takes less time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.outcome import Outcome, digest
from tests.simulation.policies import Policy
from tests.simulation.scripts import Script, Span, Stage, State
from tests.simulation.world import Run, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.simulation.settings import Setting

    Case = tuple[Setting, Policy]

POLICIES = (Policy.AUTO, Policy.PER_REQUEST)
LATENCY = 0.002
PHASES = 8
HIGHEST = 1 << 10
"""Seconds; more than any setting allows."""


def table(settings: Iterable[Setting]) -> Iterator[str]:
    """Yield the lines of a table in Markdown: the longest D in seconds, by setting and policy."""
    longest = longest_recoveries(settings)
    yield "| period / timeout / failureThreshold / initial delay / `--probe-timeout` | " + (
        " | ".join(policy.value for policy in POLICIES) + " |"
    )
    yield "|---|" + "---|" * len(POLICIES)
    for setting in dict.fromkeys(setting for setting, _ in longest):
        seconds = " | ".join(str(longest[setting, policy]) for policy in POLICIES)
        yield f"| {_name(setting)} | {seconds} |"


def longest_recoveries(settings: Iterable[Setting]) -> Mapping[Case, int]:
    """Return the most whole seconds that a driver may take, whatever the phase."""
    longest = {(setting, policy): 0 for setting in settings for policy in POLICIES}
    step = HIGHEST
    while step := step // 2:
        tried = {case: seconds + step for case, seconds in longest.items()}
        longest |= {case: tried[case] for case in _spared(tried)}
    return longest


def _spared(tried: Mapping[Case, int]) -> set[Case]:
    """Return the cases in which such a driver is not restarted in any phase."""
    outcomes: list[Outcome] = simulate(
        [
            Run(
                setting=setting,
                script=_comes_back_after(seconds),
                latency=LATENCY,
                phase=(number + 0.5) / PHASES,
                weight=1.0,
                policy=policy,
            )
            for (setting, policy), seconds in tried.items()
            for number in range(PHASES)
        ],
        digest,
    )
    restarted = {(o.run.setting, o.run.policy) for o in outcomes if o.restarts}
    return set(tried) - restarted


def _comes_back_after(seconds: int) -> Script:
    return Script(
        name=f"comes back after {seconds} s",
        stages=(
            Stage(state=State.GONE, lasts=Span(seconds=seconds)),
            Stage(state=State.READY),
        ),
        starts=True,
    )


def _name(setting: Setting) -> str:
    spec = setting.liveness
    values = spec.period, spec.timeout, spec.failure_threshold, spec.initial_delay
    name = " / ".join(f"{value:g}" for value in (*values, setting.probe_timeout))
    if setting.readiness is not None:
        name += f", readiness {setting.readiness.period}"
    if setting.startup is not None:
        name += f", startup {setting.startup.period} / {setting.startup.failure_threshold}"
    return name
