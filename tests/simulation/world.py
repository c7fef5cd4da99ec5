"""Simulates runs of a pod with its driver, sidecar and kubelet on trio's autojump clock.

Runs are independent of each other, so many share one clock and its jumps. Each has its own random
numbers from its own seed, which are the same for each policy, so that policies can be compared.

    the sidecar starts, the kubelet probes it │ fault: the script's stages │ afterwards

The first part is long enough for `auto` to detect the callers; with other policies it is one period
long. The last part ends when nothing more can happen: when the restarted driver has been probed,
or some requests after the last stage began.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING, TypeVar

import trio
import trio.testing

from tests.simulation.driver import Call, Driver, Step
from tests.simulation.kubelet import Container, ProbeType, Worker
from tests.simulation.policies import CACHED, Answer, Cached, PerRequest, Policy
from tests.simulation.scripts import HEALTHY, Script, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from livenessprobe.health.result import ProbeResult
    from tests.simulation.kubelet import ProbeSpec
    from tests.simulation.settings import Setting

WARM_UP = 5
"""Requests before the fault: two that show the period, and some until false periods are gone."""

MEASURED = 6
"""Periods in which the Probes of a healthy driver and the ages of answers are measured."""

AFTERWARDS = 2
"""Periods for which a run goes on after its last stage began."""

AT_ONCE = 400
"""Runs that share the clock; more save no more time."""

HEAD_START = 5.0
"""Seconds at least from the start of a sidecar to the first request, if the pod is not new."""

LONGEST_INTERVAL = max(filter(None, CACHED.values()))

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    setting: Setting
    script: Script
    latency: float
    """Seconds to the driver's usual reply."""
    phase: float
    """Where between two liveness probes the fault begins, from 0 to 1."""
    weight: float
    """The share of all manifests, drivers and phases that the run represents."""
    policy: Policy
    warm_up: int = WARM_UP
    """Requests before the fault, for the policy that follows the callers."""

    def __str__(self) -> str:
        return (
            f"{self.policy.value}: {self.script.name} ({self.setting}; "
            f"latency {self.latency}, phase {self.phase:.3f})"
        )

    @property
    def per_request(self) -> Run:
        """The same run with per-request probing."""
        return replace(self, policy=Policy.PER_REQUEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The events of a run; times are on trio's clock."""

    run: Run
    fault_at: float
    healthy_at: float
    """When the driver is healthy again by itself."""
    answers: Sequence[Answer]
    calls: Sequence[Call]
    """The Probes that reached the driver."""
    results: Sequence[ProbeResult]
    """The results of a policy that answers from the last result."""
    restarts: Sequence[float]
    """kubelet's decisions to restart the driver."""
    births: Sequence[float]
    """When new processes of the driver created their sockets."""
    most_in_flight: int


def simulate(runs: Iterable[Run], digest: Callable[[Record], T]) -> list[T]:
    """Simulate all runs, and return `digest` of each record, in the same order."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(_simulate, list(runs), digest, clock=clock)


async def _simulate(runs: Sequence[Run], digest: Callable[[Record], T]) -> list[T]:
    digests: dict[int, T] = {}
    waiting = iter(enumerate(runs))

    async def play() -> None:
        for number, run in waiting:
            # Sidecars start on whole seconds, so that their Probes share the jumps of the clock.
            await trio.sleep_until(ceil(trio.current_time()))
            digests[number] = digest(await _World(run).play())

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(play)
    return [digests[number] for number in range(len(runs))]


class _World:
    def __init__(self, run: Run) -> None:
        self._run = run
        rng = self._rng("times")
        # The phase of the requests to the Probes of a fixed interval is random.
        self._asked_from = trio.current_time() + HEAD_START + rng.random() * LONGEST_INTERVAL
        period = run.setting.liveness.period
        if run.script.starts:
            self._zero = trio.current_time() + rng.random()
            self._asked_from = self._zero + (1 - run.phase) * period
        else:
            warm_up = run.warm_up if run.policy is Policy.AUTO else 1
            self._zero = self._asked_from + (warm_up - 1 + run.phase) * period
        self._steps = list(_steps(run, self._zero))
        self._answers: list[Answer] = []
        self._restarts: list[float] = []
        self._births: list[float] = []
        self._over = trio.Event()
        self._container = Container(has_startup_probe=run.setting.startup is not None)
        self._driver = Driver(
            self._steps, latency=run.latency, on_death=self._died, on_start=self._came
        )
        self._sidecar = self._make_sidecar()

    async def play(self) -> Record:
        """Run the simulation and return the record."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._driver.run)
            self._nursery.start_soon(self._sidecar.run)
            for worker in self._workers():
                self._nursery.start_soon(worker)
            if self._run.script.starts:
                self._container.stop()
                await trio.sleep_until(self._zero)
                self._container.start()
            with trio.move_on_at(self._end()):
                await self._over.wait()
            self._nursery.cancel_scope.cancel()
        last = self._steps[-1]
        return Record(
            run=self._run,
            fault_at=self._zero,
            healthy_at=last.at if last.state is State.READY else inf,
            answers=self._answers,
            calls=self._driver.calls,
            results=self._sidecar.results,
            restarts=self._restarts,
            births=self._births,
            most_in_flight=self._driver.most_in_flight,
        )

    def _rng(self, purpose: str) -> random.Random:
        run = self._run
        seed = f"{purpose} {run.setting} {run.script.name} {run.latency} {run.phase}"
        return random.Random(seed)  # noqa: S311 - reproducible, not secret

    def _make_sidecar(self) -> Cached | PerRequest:
        probe_timeout, policy = self._run.setting.probe_timeout, self._run.policy
        if policy is Policy.PER_REQUEST:
            return PerRequest(self._driver, probe_timeout=probe_timeout)
        return Cached(
            self._driver,
            probe_timeout=probe_timeout,
            interval=CACHED[policy],
            rng=self._rng("sidecar"),
        )

    def _workers(self) -> Iterator[Callable[[], Awaitable[None]]]:
        setting = self._run.setting
        yield self._worker(ProbeType.LIVENESS, setting.liveness, starts_at=self._asked_from)
        for probe_type, spec in (
            (ProbeType.READINESS, setting.readiness),
            (ProbeType.STARTUP, setting.startup),
        ):
            if spec is not None:
                phase = self._rng(probe_type.value).random()
                starts_at = self._asked_from + phase * spec.period
                yield self._worker(probe_type, spec, starts_at=starts_at)

    def _worker(
        self, probe_type: ProbeType, spec: ProbeSpec, *, starts_at: float
    ) -> Callable[[], Awaitable[None]]:
        worker = Worker(
            probe_type,
            spec,
            self._container,
            self._ask,
            self._kill,
            rng=self._rng(f"{probe_type.value} ticks"),
        )

        async def run() -> None:
            await trio.sleep_until(starts_at)
            await worker.run()

        return run

    async def _ask(self, caller: str, seconds: float) -> bool:
        answer = await self._sidecar.ask(caller, seconds)
        self._answers.append(answer)
        cured = self._births and self._restarts and self._births[-1] > self._restarts[-1]
        if cured and answer.healthy:
            self._over.set()
        return answer.healthy

    def _kill(self) -> None:
        self._restarts.append(trio.current_time())
        self._driver.restart()

    def _died(self) -> None:
        if self._restarts or self._run.script.restarts_container:
            self._container.stop()
        self._sidecar.driver_died()

    def _came(self) -> None:
        self._births.append(trio.current_time())
        if not self._container.running:
            self._container.start()
        self._nursery.start_soon(self._sidecar.driver_came)

    def _end(self) -> float:
        setting, script = self._run.setting, self._run.script
        liveness = setting.liveness
        seconds = setting.probe_timeout + liveness.initial_delay + 5.0
        if script is HEALTHY:
            seconds += MEASURED * liveness.period
        elif script.fault is None:
            seconds += AFTERWARDS * liveness.period
        else:  # as many requests as expected, and some more in case the restart is late
            seconds += LONGEST_INTERVAL
            between = max(liveness.period, min(liveness.timeout, setting.probe_timeout))
            seconds += (liveness.failure_threshold + AFTERWARDS) * between
        return self._steps[-1].at + seconds


def _steps(run: Run, zero: float) -> Iterator[Step]:
    before = State.GONE if run.script.starts else State.READY
    yield Step(at=-inf, state=before, latency=run.latency)
    at = zero
    for stage in run.script.stages:
        latency = run.latency if stage.latency is None else stage.latency
        yield Step(at=at, state=stage.state, latency=latency)
        at += stage.lasts.of(run.setting)
