"""What a driver goes through, as data.

A script is a row of stages. The fault begins with the first one, at a time that differs from run
to run in its phase to the kubelet's requests; before it the driver has been healthy for long. After
the last one the driver stays as that has left it, until the kubelet restarts it, which cures it.

How long a stage lasts depends on the setting it is played for, so `Span` counts in its units: its
period, and `harmless`, the longest fault that must not restart the driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.settings import Setting


class State(Enum):
    READY = "ready"
    NOT_READY = "not ready"
    """Answers ready=false."""
    ERROR = "error"
    BLIP = "blip"
    """Answers one call with an error, and is ready for the others."""
    HANGING = "hanging"
    """Takes calls and answers none, until it does no longer hang: then those in flight, too."""
    GONE = "gone"
    """No process, no socket. It dies as this begins, with the calls in flight."""


class Fault(Enum):
    """Kinds of lasting faults, which have to be noticed."""

    CRASH = "process dies"
    HANG = "hangs"
    ERROR = "answers with an error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    seconds: float = 0.0
    periods: float = 0.0
    harmless: float = 0.0
    delays: float = 0.0

    def of(self, setting: Setting) -> float:
        return (
            self.seconds
            + (self.periods * setting.liveness.period if self.periods else 0.0)
            + self.harmless * (setting.harmless - EDGE)
            + self.delays * setting.liveness.initial_delay
        )


EDGE = 0.05
"""Seconds by which a fault is shorter than what restarts a driver; kubelet's jitter is less."""

FOREVER = Span(periods=inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    state: State
    lasts: Span = FOREVER
    latency: float | None = None
    """Seconds to each answer; None for the driver's usual ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    name: str
    stages: tuple[Stage, ...]
    fault: Fault | None = None
    """What has to be noticed; None if nothing, and then no restart has a cause."""
    starts: bool = False
    """Whether the pod starts as the script begins, instead of having run for long."""
    restarts_container: bool = False
    """Whether the container ends with the process and kubelet starts another one; else the
    process is restarted inside of it, and kubelet does not know."""
    recurs: bool = False
    """Whether each fault is short but there are many, so that a restart may have its cause."""

    def fits(self, setting: Setting) -> bool:
        """Return whether there is such a course: some settings allow for no harmless fault."""
        return setting.harmless > EDGE or not any(stage.lasts.harmless for stage in self.stages)


def _drift() -> tuple[Stage, ...]:
    steps = 24
    up = [0.001 * 5000 ** (step / steps) for step in range(steps + 1)]
    rising = Span(seconds=3)
    return tuple(Stage(state=State.READY, lasts=rising, latency=latency) for latency in up)


HEALTHY = Script(name="healthy", stages=(Stage(state=State.READY),))
BLIP = Script(name="one failing Probe", stages=(Stage(state=State.BLIP),))

SCRIPTS = (
    HEALTHY,
    BLIP,
    Script(
        name="starts slowly with ready=false",
        stages=(
            Stage(state=State.GONE, lasts=Span(seconds=0.7)),
            Stage(state=State.NOT_READY, lasts=Span(seconds=-0.7, harmless=1, delays=1)),
            Stage(state=State.READY),
        ),
        starts=True,
    ),
    Script(name="dies", stages=(Stage(state=State.GONE),), fault=Fault.CRASH),
    Script(name="hangs", stages=(Stage(state=State.HANGING),), fault=Fault.HANG),
    Script(name="fails", stages=(Stage(state=State.ERROR),), fault=Fault.ERROR),
    Script(
        name="is gone for a while",
        stages=(
            Stage(state=State.GONE, lasts=Span(harmless=1)),
            Stage(state=State.READY),
        ),
    ),
    Script(
        name="hangs for a while",
        stages=(
            Stage(state=State.HANGING, lasts=Span(harmless=1)),
            Stage(state=State.READY),
        ),
    ),
    Script(
        name="fails for a while",
        stages=(
            Stage(state=State.ERROR, lasts=Span(harmless=1)),
            Stage(state=State.READY),
        ),
    ),
    Script(
        name="is restarted at once",
        stages=(
            Stage(state=State.GONE, lasts=Span(seconds=1.6)),
            Stage(state=State.READY),
        ),
        restarts_container=True,
    ),
    Script(
        name="flaps",
        stages=(
            Stage(state=State.ERROR, lasts=Span(seconds=1.3)),
            Stage(state=State.READY, lasts=Span(seconds=2.9)),
        )
        * 12,
        recurs=True,
    ),
    Script(name="latency drifts from 1 ms to 5 s", stages=_drift(), recurs=True),
)
