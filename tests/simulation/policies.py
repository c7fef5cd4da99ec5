"""The policies under comparison: how the answer to a caller comes about.

Three times the program's own `Prober`, which answers from what it last heard; and the twin, which
does what the reference does: each request makes a Probe of its own and waits for it, at most for
--probe-timeout, and the kubelet at most for its timeoutSeconds. While there is no process the
twin waits for one, as Go's gRPC dials on until its deadline.
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
"""Seconds at most until the program sees that the socket is another one."""


class Policy(Enum):
    """The value is its name in the table of results."""

    AUTO = "auto"
    FIXED_1S = "1s"
    FIXED_10S = "10s"
    PER_REQUEST = "per request"


CACHED = {Policy.AUTO: None, Policy.FIXED_1S: 1.0, Policy.FIXED_10S: 10.0}
"""The policies that answer from a cache, with the interval of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one caller was told."""

    caller: str
    asked_at: float
    healthy: bool
    age: float = 0.0
    """Seconds since the Probe that it rests on has ended."""
    rests_on: int | None = None
    """Which of the sidecar's results that is; None if none was there, or it is the caller's own."""
    next_is_coming: bool = True
    """Whether the Probe after that one was under way or due."""


class PerRequest:
    """The twin."""

    def __init__(self, driver: Driver, *, probe_timeout: float) -> None:
        self.results: list[ProbeResult] = []
        self._driver = driver
        self._probe_timeout = probe_timeout

    async def run(self) -> None:
        await trio.sleep_forever()

    async def ask(self, caller: str, patience: float) -> Answer:
        asked_at, healthy = trio.current_time(), False
        with trio.move_on_after(min(patience, self._probe_timeout)), suppress(DriverError):
            await self._driver.reach()
            healthy = await self._driver.probe(self._probe_timeout)
        return Answer(caller=caller, asked_at=asked_at, healthy=healthy)

    def driver_died(self) -> None:
        """Nobody holds a connection."""

    async def driver_came(self) -> None:
        """Nobody looks."""


class Cached:
    """The program, from `Prober` on, with what it sees of a driver without asking it."""

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
        self._connected = False  # and idle, so that it can tell of the driver's death

    async def run(self) -> None:
        await self._prober.run()

    async def ask(self, caller: str, patience: float) -> Answer:  # noqa: ARG002 - it never waits
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
        """Let the connection of the last Probe end, if there is one."""
        if self._connected:
            self._connected = False
            self._prober.disconnected()

    async def driver_came(self) -> None:
        """Let the prober find the other socket, for which it looks while the driver is bad."""
        came_at = trio.current_time()
        await trio.sleep(self._rng.random() * POLL)
        last = self._prober.last
        if last is not None and last.status is not ProbeStatus.READY and self._began_at <= came_at:
            self._prober.recreated()

    async def _probe(self, deadline: float) -> bool:
        self._began_at, self._in_flight = trio.current_time(), True
        self._connected = False  # the program holds one connection, and none beside a Probe's
        try:
            return await self._driver.probe(deadline)
        finally:
            self._in_flight = False

    def _publish(self, result: ProbeResult) -> None:
        self.results.append(result)
        self._connected = result.grpc_status == "OK"
