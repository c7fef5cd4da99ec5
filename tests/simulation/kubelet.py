"""Simulates kubelet's probes, as pkg/kubelet/prober/worker.go of Kubernetes runs them.

One `Worker` for each probe of the container, each a task of its own:

    probe, wait for the ticker, probe, wait for the ticker, ...

The ticker is Go's: it ticks every period on a grid that starts with the worker, holds one tick for
a worker that is late and drops the others. So probes of one worker never overlap, and one that
took longer than the period is followed by the next at once. A probe is skipped while the container
is not running, in its first initialDelaySeconds (whole seconds count), and as long
as the startup probe has not succeeded once. The startup probe is skipped from then on.

A liveness or startup probe that has failed failureThreshold times in a row has the container
killed; then the worker is on hold until there is a new container, which resets the count of
failures. successThreshold is 1, the only value that kubelet accepts for these two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    Ask = Callable[[str, float], Awaitable[bool]]
    """Returns whether the answer to a caller, given by name, within its timeout was healthy."""

JITTER = 0.005
"""Seconds at most from a tick to the request, while the goroutine waits for a CPU."""

LONG_AGO = -1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """The fields of a v1.Probe that matter here, with Kubernetes' defaults; times in seconds."""

    period: int = 10
    timeout: int = 1
    failure_threshold: int = 3
    initial_delay: int = 0


class ProbeType(Enum):
    LIVENESS = "liveness"
    READINESS = "readiness"
    STARTUP = "startup"


class Container:
    """The state of the probed container, as kubelet knows it."""

    def __init__(self, *, has_startup_probe: bool = False) -> None:
        self.number = 1
        self.running = True
        self.started_at = LONG_AGO
        self.started = True
        self._has_startup_probe = has_startup_probe

    def stop(self) -> None:
        self.running = False

    def start(self) -> None:
        """Start a new container."""
        self.number += 1
        self.running = True
        self.started_at = trio.current_time()
        self.started = not self._has_startup_probe


class Worker:
    """One probe of `container`; calls `kill` when it has failed failureThreshold times in a row."""

    def __init__(
        self,
        probe_type: ProbeType,
        spec: ProbeSpec,
        container: Container,
        ask: Ask,
        kill: Callable[[], None],
        *,
        rng: random.Random,
    ) -> None:
        self._type = probe_type
        self._spec = spec
        self._container = container
        self._ask = ask
        self._kill = kill
        self._rng = rng
        self._number = container.number
        self._on_hold = False
        self._failures = 0

    async def run(self) -> None:
        """Probe until cancelled; the ticker's grid starts now."""
        start, ticks = trio.current_time(), 0
        while True:
            await self._do_probe()
            passed = int((trio.current_time() - start) // self._spec.period)
            if passed > ticks:  # one of these waits in the channel, the others are dropped
                ticks = passed
            else:
                ticks += 1
                jitter = self._rng.random() * JITTER
                await trio.sleep_until(start + ticks * self._spec.period + jitter)

    async def _do_probe(self) -> None:
        if self._is_to_probe():
            healthy = await self._ask(self._type.value, self._spec.timeout)
            self._failures = 0 if healthy else self._failures + 1
            if healthy and self._type is ProbeType.STARTUP:
                self._container.started = True
            if self._failures >= self._spec.failure_threshold:
                self._has_failed()

    def _is_to_probe(self) -> bool:
        container = self._container
        if self._number != container.number:
            self._number, self._on_hold = container.number, False
        return (
            not self._on_hold
            and container.running
            and int(trio.current_time() - container.started_at) >= self._spec.initial_delay
            and container.started is not (self._type is ProbeType.STARTUP)
        )

    def _has_failed(self) -> None:
        if self._type is not ProbeType.READINESS:
            self._on_hold = True
            self._failures = 0
            self._kill()
