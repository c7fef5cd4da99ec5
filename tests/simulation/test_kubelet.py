"""Checks the simulated worker and per-request probing against timelines computed by hand."""

import random

import pytest
import trio
import trio.testing

from tests.simulation.driver import RESTART, TERMINATION, Driver, Step
from tests.simulation.kubelet import JITTER, Container, ProbeSpec, ProbeType, Worker
from tests.simulation.policies import PerRequest
from tests.simulation.scripts import State


def near(*times: float) -> object:
    return pytest.approx(times, abs=2 * JITTER)


class Caller:
    """Records when it is asked; answers after `takes` seconds, healthy until `fails_from`."""

    def __init__(self, *, takes: tuple[float, ...] = (), fails_from: float = 1e9) -> None:
        self.asked_at: list[float] = []
        self.killed_at: list[float] = []
        self._start = trio.current_time()
        self._takes = iter(takes)
        self._fails_from = fails_from

    async def ask(self, _caller: str, _timeout: float) -> bool:
        self.asked_at.append(trio.current_time() - self._start)
        await trio.sleep(next(self._takes, 0.0))
        return trio.current_time() - self._start < self._fails_from

    def kill(self) -> None:
        self.killed_at.append(trio.current_time() - self._start)

    def worker(
        self,
        container: Container,
        probe_type: ProbeType = ProbeType.LIVENESS,
        spec: ProbeSpec | None = None,
    ) -> Worker:
        return Worker(
            probe_type,
            spec or ProbeSpec(period=10, failure_threshold=3),
            container,
            self.ask,
            self.kill,
            rng=random.Random(1),  # noqa: S311 - reproducible, not secret
        )


async def test_a_worker_probes_at_its_start_and_at_every_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caller = Caller()
    with trio.move_on_after(35):
        await caller.worker(Container()).run()
    assert caller.asked_at == near(0, 10, 20, 30)


async def test_a_late_worker_finds_one_tick_waiting_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # The ticks at 10 and 20 s come during the first probe; one is kept, and taken at 24 s. The
    # next on the grid is at 30 s. That probe takes until 41 s, past the tick at 40 s.
    caller = Caller(takes=(24, 0, 11))
    with trio.move_on_after(55):
        await caller.worker(Container()).run()
    assert caller.asked_at == near(0, 24, 30, 41, 50)


async def test_probes_that_outlast_the_period_follow_one_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # A tick waits whenever an answer comes, so with a period of 2 s the next request follows at
    # once, and five failures take 15 s.
    caller = Caller(takes=(3,) * 10, fails_from=0)
    with trio.move_on_after(20):
        spec = ProbeSpec(period=2, timeout=3, failure_threshold=5)
        await caller.worker(Container(), spec=spec).run()
    assert caller.asked_at == near(0, 3, 6, 9, 12)
    assert caller.killed_at == near(15)


async def test_a_container_is_killed_after_failure_threshold_and_not_probed_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Failing from 15 s on: requests at 20, 30 and 40 s. Then nothing, as it stays the same one.
    caller = Caller(fails_from=15)
    with trio.move_on_after(75):
        await caller.worker(Container()).run()
    assert caller.asked_at == near(0, 10, 20, 30, 40)
    assert caller.killed_at == near(40)


async def test_a_new_container_is_probed_after_its_initial_delay_with_a_new_count(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Killed at 20 s. The next one runs from 23 s, so with a delay of 15 s it is asked from 38 s
    # on, by the grid at 40 s; the third failure of its own is at 60 s.
    container, caller = Container(), Caller(fails_from=0)
    spec = ProbeSpec(period=10, failure_threshold=3, initial_delay=15)
    with trio.move_on_after(65):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.worker(container, spec=spec).run)
            await trio.sleep(20.5)
            container.stop()
            await trio.sleep(2.5)
            container.start()
    assert caller.asked_at == near(0, 10, 20, 40, 50, 60)
    assert caller.killed_at == near(20, 60)


async def test_the_other_probes_begin_after_the_startup_probe_succeeds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    container = Container(has_startup_probe=True)
    container.stop()
    container.start()
    startup, liveness = Caller(), Caller()
    with trio.move_on_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(liveness.worker(container).run)
            await trio.sleep(4)
            nursery.start_soon(startup.worker(container, ProbeType.STARTUP).run)
    assert startup.asked_at == near(4)
    assert liveness.asked_at == near(10, 20)


async def test_a_readiness_probe_never_kills(autojump_clock: trio.testing.MockClock) -> None:
    caller = Caller(fails_from=0)
    with trio.move_on_after(45):
        await caller.worker(Container(), ProbeType.READINESS).run()
    assert len(caller.asked_at) == 5
    assert caller.killed_at == []


# The state of the driver until 2 s and after it, --probe-timeout, kubelet's timeoutSeconds, whether
# the answer is healthy, and after how many seconds it comes.
PER_REQUEST: list[tuple[State, State, float, float, bool, float]] = [
    (State.READY, State.READY, 3, 3, True, 0.3),
    (State.NOT_READY, State.NOT_READY, 3, 3, False, 0.3),
    (State.ERROR, State.ERROR, 3, 3, False, 0.3),
    (State.HANGING, State.HANGING, 3, 10, False, 3),
    (State.HANGING, State.HANGING, 3, 1, False, 1),
    (State.HANGING, State.READY, 3, 3, True, 2.3),
    (State.HANGING, State.GONE, 3, 3, False, 2),
    (State.GONE, State.GONE, 3, 10, False, 3),
    (State.GONE, State.GONE, 3, 1, False, 1),
    (State.GONE, State.READY, 3, 3, True, 2.3),
]


@pytest.mark.parametrize(
    ("first", "then", "probe_timeout", "seconds", "healthy", "after"), PER_REQUEST
)
async def test_per_request_probing_waits_until_the_shorter_timeout(
    autojump_clock: trio.testing.MockClock,
    first: State,
    then: State,
    probe_timeout: float,
    seconds: float,
    healthy: bool,  # noqa: FBT001 - a column
    after: float,
) -> None:
    start = trio.current_time()
    steps = [
        Step(at=start, state=first, latency=0.3),
        Step(at=start + 2, state=then, latency=0.3),
    ]
    driver = Driver(steps, latency=0.3, on_death=lambda: None, on_start=lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        answer = await PerRequest(driver, probe_timeout=probe_timeout).ask("liveness", seconds)
        assert answer.healthy is healthy
        assert trio.current_time() - start == pytest.approx(after)
        nursery.cancel_scope.cancel()


async def test_a_restart_ends_a_hanging_call_and_starts_a_healthy_driver(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    events: list[str] = []
    driver = Driver(
        [Step(at=start, state=State.HANGING, latency=0.3)],
        latency=0.3,
        on_death=lambda: events.append("died"),
        on_start=lambda: events.append("came"),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run)
        await trio.testing.wait_all_tasks_blocked()
        driver.restart()
        assert not (await PerRequest(driver, probe_timeout=9).ask("liveness", 9)).healthy
        assert trio.current_time() - start == pytest.approx(TERMINATION)
        assert (await PerRequest(driver, probe_timeout=9).ask("liveness", 9)).healthy
        assert trio.current_time() - start == pytest.approx(TERMINATION + RESTART + 0.3)
        nursery.cancel_scope.cancel()
    assert events == ["died", "came"]
    assert [call.ready for call in driver.calls] == [False, True]
