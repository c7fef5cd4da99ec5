"""Defines the courses of a driver's states that the simulation plays.

A script is a sequence of stages. The fault begins with the first one, at a phase to the kubelet's
requests that differs between runs; before it the driver has been healthy for a long time. The last
stage lasts until the kubelet restarts the driver, which makes it healthy.

The length of a stage depends on the setting, so a `Span` is in units of the setting: its period,
its initial delay, and `harmless`, the longest fault that must not restart the driver.
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
    """Replies with ready=false."""
    ERROR = "error"
    BLIP = "blip"
    """Replies to one call with an error, and to the others with ready."""
    HANGING = "hanging"
    """Accepts calls and replies to none; those in flight are answered in the next stage."""
    GONE = "gone"
    """No process and no socket. Calls in flight end with the process."""


class Fault(Enum):
    """Kinds of lasting faults, which have to be detected."""

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
"""Seconds by which a harmless fault is shorter than one that restarts; more than the jitter."""

FOREVER = Span(periods=inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    state: State
    lasts: Span = FOREVER
    latency: float | None = None
    """Seconds to each reply; None for the driver's usual latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    name: str
    stages: tuple[Stage, ...]
    fault: Fault | None = None
    """The lasting fault; None if there is none, so that nothing may restart the driver."""
    starts: bool = False
    """Whether the pod starts when the script begins, instead of having run for a long time."""
    restarts_container: bool = False
    """Whether the container ends with the process and kubelet starts a new one. If not, the
    process is restarted within the container, and kubelet does not notice."""
    recurs: bool = False
    """Whether there are many short faults, so that a restart is justified."""

    def fits(self, setting: Setting) -> bool:
        """Return whether the script can be played: some settings have no harmless fault."""
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
