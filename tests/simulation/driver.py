"""Simulates a driver that follows a script on the virtual clock.

Its future is known unless kubelet restarts it, so one call is one sleep: `_outlook` computes when
and how the call will be answered, and only the end of the process can come before that. Two events
are reported when they happen: `on_death`, the process has ended, and `on_start`, a new process has
created its socket.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import trio

from livenessprobe.health.errors import DriverUnreachableError, RPCError
from tests.simulation.scripts import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TERMINATION = 0.5
"""Seconds from kubelet's decision until the process is dead."""

RESTART = 3.0
"""Seconds from then until the next process has created its socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The state of the driver from `at` on, in seconds on trio's clock."""

    at: float
    state: State
    latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One Probe() that has ended: when it began, and whether the reply was "ready"."""

    began_at: float
    ready: bool


class Driver:
    """Follows `steps`, the first of which has begun, while `run` runs."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        latency: float,
        on_death: Callable[[], None],
        on_start: Callable[[], None],
    ) -> None:
        self.calls: list[Call] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._steps = list(steps)
        self._latency = latency
        self._on_death = on_death
        self._on_start = on_start
        self._alive = steps[0].state is not State.GONE
        self._spent_blip: Step | None = None
        self._death = trio.Event()
        self._birth = trio.Event()
        self._until_change = trio.CancelScope()

    async def run(self) -> None:
        """End and start the process according to the steps, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._next_change()) as self._until_change:
                await trio.sleep_forever()
            alive = self._step(trio.current_time())[1].state is not State.GONE
            if alive is not self._alive:
                self._alive = alive
                (self._come if alive else self._go)()

    def restart(self) -> None:
        """Kill the process and start a healthy one, as kubelet does with the container."""
        now = trio.current_time()
        self._steps = [
            *(step for step in self._steps if step.at <= now),
            Step(at=now + TERMINATION, state=State.GONE, latency=0.0),
            Step(at=now + TERMINATION + RESTART, state=State.READY, latency=self._latency),
        ]
        self._until_change.deadline = self._next_change()

    async def probe(self, _: float) -> bool:
        """Reply as `livenessprobe.driver.Driver.probe` does; the caller enforces the deadline."""
        if not self._alive:
            raise DriverUnreachableError("no such file")
        began_at, ready = trio.current_time(), False
        answer_at, state = self._outlook(began_at)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            with trio.CancelScope(deadline=answer_at):
                await self._death.wait()
                raise RPCError("Unavailable", "the driver closed the connection")
            if state is State.ERROR:
                raise RPCError("Internal", "scripted")
            ready = state is not State.NOT_READY
        finally:
            self._in_flight -= 1
            self.calls.append(Call(began_at=began_at, ready=ready))
        return ready

    async def reach(self) -> None:
        """Wait until there is a process to call."""
        while not self._alive:
            await self._birth.wait()

    def _outlook(self, now: float) -> tuple[float, State]:
        """Return when and how a call that begins now will be answered, if the process lives on."""
        index, step = self._step(now)
        if step.state is State.BLIP and self._spent_blip is not step:
            self._spent_blip = step
            return now + step.latency, State.ERROR
        answer_at = now + step.latency
        for following in self._steps[index + 1 :]:
            if step.state is State.GONE:
                break
            if step.state is State.HANGING:
                answer_at = following.at + following.latency
            elif answer_at <= following.at:
                break
            step = following
        if step.state in {State.HANGING, State.GONE}:
            return inf, step.state
        return answer_at, step.state

    def _step(self, now: float) -> tuple[int, Step]:
        index = bisect(self._steps, now, key=lambda step: step.at) - 1
        return index, self._steps[index]

    def _next_change(self) -> float:
        now = trio.current_time()
        return min((step.at for step in self._steps if step.at > now), default=inf)

    def _go(self) -> None:
        self._death.set()
        self._birth = trio.Event()
        self._on_death()

    def _come(self) -> None:
        self._death = trio.Event()
        self._birth.set()
        self._on_start()
