"""Implements the probing policies that the simulation compares.

Three of them use the program's own `Prober`, which answers from the last result. `PerRequest` does
what the reference does: each request starts a Probe and waits for it, at most for --probe-timeout,
and the kubelet waits at most for its timeoutSeconds. While there is no driver, it waits for one, as
grpc-go dials until its deadline.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import trio

from livenessprobe.health.errors import DriverError
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question
from livenessprobe.probing.prober import Prober

if TYPE_CHECKING:
    import random

    from tests.simulation.driver import Driver

POLL = 0.1
"""Seconds at most until the program detects that the socket is a new one."""


class Policy(Enum):
    """The value is its name in the table of results."""

    AUTO = "auto"
    FIXED_1S = "1s"
    FIXED_10S = "10s"
    PER_REQUEST = "per request"


CACHED = {Policy.AUTO: None, Policy.FIXED_1S: 1.0, Policy.FIXED_10S: 10.0}
"""The policies that answer from the last result, with the interval of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one request; times are on trio's clock."""

    caller: str
    asked_at: float
    healthy: bool
    age: float = 0.0
    """Seconds since the end of the Probe that it is made from."""
    rests_on: int | None = None
    """The index of that result; None before the first result, and for `PerRequest`."""
    next_is_coming: bool = True
    """Whether the Probe after that one was in flight or due."""


class PerRequest:
    """The reference: one Probe for each request."""

    def __init__(self, driver: Driver, *, probe_timeout: float) -> None:
        self.results: list[ProbeResult] = []
        self._driver = driver
        self._probe_timeout = probe_timeout

    async def run(self) -> None:
        await trio.sleep_forever()

    async def ask(self, caller: str, seconds: float) -> Answer:
        asked_at, healthy = trio.current_time(), False
        with trio.move_on_after(min(seconds, self._probe_timeout)), suppress(DriverError):
            await self._driver.reach()
            healthy = await self._driver.probe(self._probe_timeout)
        return Answer(caller=caller, asked_at=asked_at, healthy=healthy)

    def driver_died(self) -> None:
        """Do nothing: no connection is held."""

    async def driver_came(self) -> None:
        """Do nothing: the socket is not watched."""


class Cached:
    """The program's `Prober`, with the events that it gets between Probes."""

    def __init__(
        self,
        driver: Driver,
        *,
        probe_timeout: float,
        interval: float | None,
        rng: random.Random,
    ) -> None:
        self.results: list[ProbeResult] = []
        self._driver = driver
        self._rng = rng
        self._prober = Prober(
            self._probe, self._publish, interval=interval, probe_timeout=probe_timeout
        )
        self._in_flight = False
        self._began_at = trio.current_time()
        self._connected = (
            False  # whether an idle connection is held, which ends when the driver dies
        )

    async def run(self) -> None:
        await self._prober.run()

    async def ask(self, caller: str, seconds: float) -> Answer:  # noqa: ARG002 - it never waits
        now = trio.current_time()
        next_is_coming = self._in_flight or self._prober.schedule.due <= now
        verdict = self._prober.handle_request(Question.HEALTHZ)
        return Answer(
            caller=caller,
            asked_at=now,
            healthy=verdict.healthy,
            age=verdict.age,
            rests_on=len(self.results) - 1 if self.results else None,
            next_is_coming=next_is_coming,
        )

    def driver_died(self) -> None:
        """Close the held connection, if there is one."""
        if self._connected:
            self._connected = False
            self._prober.disconnected()

    async def driver_came(self) -> None:
        """Report the new socket to the prober, if the driver is unhealthy."""
        came_at = trio.current_time()
        await trio.sleep(self._rng.random() * POLL)
        last = self._prober.last
        if last is not None and last.status is not ProbeStatus.READY and self._began_at <= came_at:
            self._prober.recreated()

    async def _probe(self, deadline: float) -> bool:
        self._began_at, self._in_flight = trio.current_time(), True
        self._connected = False  # no connection is held during a Probe
        try:
            return await self._driver.probe(deadline)
        finally:
            self._in_flight = False

    def _publish(self, result: ProbeResult) -> None:
        self.results.append(result)
        self._connected = result.grpc_status == "OK"
