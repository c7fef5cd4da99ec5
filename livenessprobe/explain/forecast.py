"""When kubelet restarts a driver that has a fault: closed formulas of its rules and the sidecar's.

kubelet asks every period, on a grid that the fault knows nothing of, and restarts the container
after so many failing answers in a row. An answer that takes longer than the period puts off the
next request to its own end: the worker's ticker keeps one tick (pkg/kubelet/prober/worker.go).

    fault ... first failing request ... (threshold - 1) * spacing ... last answer = decision

    the reference    each request makes a Probe and waits for it, at most for --probe-timeout, and
                     kubelet at most for timeoutSeconds; a socket without a listener is waited for
    this program     a request is answered at once, from the last Probe. The Probe for a request
                     begins --probe-timeout and a margin before it, so a fault that begins later
                     shows one request later. A driver that dies closes its connection, and is
                     asked at once, unless closed connections are ignored (probing/schedule).

Pure: seconds in, seconds out. All figures are for a driver that otherwise answers within `latency`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from livenessprobe.explain.sidecars import Program
from livenessprobe.health.verdict import Question
from livenessprobe.probing.schedule import MARGIN, SPACING

FOUND = 0.2
"""Seconds at most until this program has found a new socket."""


class Fault(Enum):
    """What befalls a driver, for good, as the output words it."""

    DIES = "dies"
    HANGS = "hangs"
    FAILS = "answers an error"
    NOT_READY = "is not ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a pod sets, in seconds.

    Attributes:
        interval: of the sidecar's Probes; None: it follows its callers.
        other_period: the shortest of those of the other probes that ask this sidecar.

    """

    period: int
    timeout: int
    failure_threshold: int
    initial_delay: int
    probe_timeout: float
    interval: float | None = None
    latency: float = 0.0
    other_period: int | None = None
    question: Question | None = Question.HEALTHZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Seconds from a fault's begin until kubelet decides to restart the driver.

    `typical` is the mean over all times at which the fault can begin. A fault that is over within
    `spared` seconds never restarts the driver.
    """

    earliest: float
    typical: float
    latest: float
    spared: float


RETRY = 1.2
"""Seconds at most until the reference tries a socket again that nobody listens on.

Its backoff is capped at one second, with a fifth of jitter.
"""


def decide(program: Program, fault: Fault, settings: Settings) -> Decision | None:
    """Return when kubelet restarts a driver with this fault; None: never."""
    if fault is Fault.NOT_READY and settings.question is Question.LIVEZ:
        return None
    forecast = _from_cache if program is Program.OURS else _per_request
    return forecast(program, fault, settings)


def seconds_to_come_up(program: Program, settings: Settings, *, restarted: bool) -> float:
    """Return how long a container that starts may take until its driver is ready.

    `restarted`: the sidecar has run before, and stays. At a pod's start the reference does not
    listen before the driver does, so kubelet's requests are refused at once.
    """
    waiting = restarted and program is Program.REFERENCE
    wait = _patience(settings) if waiting else 0.0
    found = {Program.REFERENCE: RETRY, Program.OURS: FOUND, Program.CHECK: 0.0}[program]
    spent = (settings.failure_threshold - 1) * max(settings.period, wait) + wait
    return max(0.0, settings.initial_delay + spent - found - settings.latency)


def probes_an_hour(periods: list[int], interval: float | None) -> float:
    """Return how many Probes a healthy driver gets at most, of callers with these periods."""
    return sum(3600 / period for period in periods) if interval is None else 3600 / interval


def _patience(settings: Settings) -> float:
    return min(settings.timeout, settings.probe_timeout)


def _per_request(program: Program, fault: Fault, settings: Settings) -> Decision:
    latency, period, more = settings.latency, settings.period, settings.failure_threshold - 1
    dies = fault is Fault.DIES
    silent = fault is Fault.HANGS or (dies and program is Program.REFERENCE)
    wait = _patience(settings) if silent else latency
    spacing = max(period, wait)
    last = more * spacing + wait
    # A call in flight when the fault begins is affected too, so the first failing request is one
    # of the period that begins `latency` before the fault. If the driver dies, that call fails at
    # once, and this is what is saved.
    saved = (spacing - period if more else wait) if dies and latency else 0.0
    found = RETRY if dies and silent else 0.0
    return Decision(
        earliest=max(0.0, last - latency - saved),
        typical=last + period / 2 - latency - saved * latency / period,
        latest=last + period,
        spared=max(0.0, last - (latency if silent else wait) - latency - saved - found),
    )


def _from_cache(_: Program, fault: Fault, settings: Settings) -> Decision:
    latency, period = settings.latency, settings.period
    more = (settings.failure_threshold - 1) * period
    if fault is Fault.DIES:
        return Decision(
            earliest=more,
            typical=more + period / 2,
            latest=more + period,
            spared=max(0.0, more - FOUND - latency),
        )
    # The first Probe that fails begins at most `latency` before the fault, when it is not answered
    # yet, and at most one `step` after that. It fails when it has `lasted`; the next request shows.
    lasted = settings.probe_timeout if fault is Fault.HANGS else latency
    if settings.interval is None:
        return _following_callers(fault, settings, lasted, more)
    step = settings.interval
    return Decision(
        earliest=more + lasted - latency,
        typical=more + lasted - latency + (step + period) / 2,
        latest=more + lasted + step + period,
        spared=max(0.0, more - min(step, period) - latency),
    )


def _following_callers(fault: Fault, settings: Settings, lasted: float, more: int) -> Decision:
    latency, period = settings.latency, settings.period
    lead = settings.probe_timeout + MARGIN
    # Requests come `lead` after a Probe's start, and any number of periods before and after that.
    # The result waits for the first of these.
    waits = (lead - lasted) % period
    shortest, typically, longest = waits, waits, waits
    shared = min(SPACING, period / 2)
    other = settings.other_period
    if other is not None:
        # Another caller's Probe may come later and be fresher, or up to `shared` earlier, and then
        # it serves this one too. Where in its period it begins is chance, the same all along.
        fresher = max(waits, shared) ** 2 - shared**2
        older = min(shared, other - waits) ** 2
        typically = waits + (older - fresher) / (2 * other) if waits < other else other / 2
        shortest, longest = 0.0, waits + shared
    # A Probe that hangs has to go on doing so until its end. A failing answer calls for a Probe at
    # once, which may serve the next request too, and so rest on an earlier time.
    spared = more + (lasted - latency if fault is Fault.HANGS else 0.0)
    spared -= shared if other is not None else 0.0
    if -lead % period <= shared:
        spared -= -lead % period
    return Decision(
        earliest=more + max(0.0, lasted + shortest - latency),
        typical=more + lasted + typically + period / 2 - latency,
        latest=more + lasted + longest + period,
        spared=max(0.0, spared - latency),
    )
