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

Pure: seconds in, seconds out. All figures are for a driver that otherwise answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from livenessprobe.probing.schedule import MARGIN, SPACING


class Program(StrEnum):
    """What answers kubelet, by the name that the output has for it."""

    REFERENCE = "kubernetes-csi/livenessprobe"
    OURS = "this program"


class Fault(StrEnum):
    """What happens to a driver, and does not end, as the output words it."""

    DIES = "dies"
    HANGS = "hangs"
    FAILS = "answers an error"
    NOT_READY = "is not ready"


FOUND_AFTER = {Program.REFERENCE: 1.2, Program.OURS: 0.2}
"""Seconds at most until a driver's new socket is found.

The reference's backoff is capped at one second, with a fifth of jitter.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a pod sets, in seconds."""

    period: float
    timeout: float
    failure_threshold: float
    initial_delay: float
    probe_timeout: float
    interval: float | None = None  # of this program's Probes; None: it follows its callers
    other_period: float | None = None  # the shortest of the other probes that ask this sidecar


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Seconds from a fault's beginning until kubelet decides to restart the driver.

    `typical` is the mean over all times at which the fault can begin. A fault that is over within
    `spared` seconds never restarts the driver.
    """

    earliest: float
    typical: float
    latest: float
    spared: float


def decide(program: Program, fault: Fault, settings: Settings) -> Decision:
    """Return when kubelet restarts a driver with this fault, which fails what the probe asks."""
    period = settings.period
    wait = _wait(program, fault, settings)
    before = 0.0  # from the fault to the first Probe that fails, as far as it is always the same
    spread = 0.0, 0.0, 0.0  # likewise, as far as it is chance: at least, on average, at most
    # How long before the last request the fault has to be over to spare the driver.
    early = FOUND_AFTER[program] if fault is Fault.DIES else 0.0
    if program is Program.OURS and fault is not Fault.DIES:
        before = settings.probe_timeout if fault is Fault.HANGS else 0.0
        if settings.interval is None:
            spread, early = _following_callers(settings, before)
        else:
            spread = 0.0, settings.interval / 2, settings.interval
            early = before + min(settings.interval, period)
    last = (settings.failure_threshold - 1) * max(period, wait) + wait + before
    least, typically, most = spread
    return Decision(
        earliest=last + least,
        typical=last + typically + period / 2,
        latest=last + most + period,
        spared=max(0.0, last - early),
    )


def _wait(program: Program, fault: Fault, settings: Settings) -> float:
    """Return how long a request takes to fail."""
    waits = program is Program.REFERENCE and fault in {Fault.DIES, Fault.HANGS}
    return min(settings.timeout, settings.probe_timeout) if waits else 0.0


def _following_callers(
    settings: Settings, before: float
) -> tuple[tuple[float, float, float], float]:
    """Return the `spread` and the `early` of `decide`."""
    period, lead = settings.period, settings.probe_timeout + MARGIN
    # Requests come `lead` after a Probe's start, and any number of periods before and after that.
    # The result waits for the first of these.
    waits = (lead - before) % period
    shared = min(SPACING, period / 2)
    # A failing answer calls for a Probe at once, which may serve the next request too, and so rest
    # on an earlier time.
    early = -lead % period if -lead % period <= shared else 0.0
    other = settings.other_period
    if other is None:
        return (waits, waits, waits), early
    # Another caller's Probe may come later and be fresher, or up to `shared` earlier, and then it
    # serves this one too. Where in its period it begins is chance, the same all along.
    fresher = max(waits, shared) ** 2 - shared**2
    older = min(shared, other - waits) ** 2
    typically = waits + (older - fresher) / (2 * other) if waits < other else other / 2
    return (0.0, typically, waits + shared), early + shared


def seconds_to_come_up(program: Program, settings: Settings) -> tuple[float, float]:
    """Return within how long a driver has to be ready: at a pod's start, and after a restart.

    At a pod's start the reference does not listen before the driver does, so kubelet's requests
    are refused at once. After a restart of the driver's container the sidecar goes on.
    """
    wait = _wait(program, Fault.DIES, settings)
    more, start = settings.failure_threshold - 1, settings.initial_delay - FOUND_AFTER[program]
    return (
        max(0.0, start + more * settings.period),
        max(0.0, start + more * max(settings.period, wait) + wait),
    )
