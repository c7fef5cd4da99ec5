from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.watch import LOOK_TIMEOUT, POLL, Watch

Clock = trio.testing.MockClock

IN_DOUBT = [status for status in ProbeStatus if status is not ProbeStatus.READY]


def result(status: ProbeStatus) -> ProbeResult:
    return ProbeResult(status=status, message="", grpc_status=None, latency=0.0, finished_at=0.0)


class FakeDriver:
    """Disconnects when told to, and has another socket while `changed`. Remembers what was told."""

    def __init__(self) -> None:
        self.changed = False
        self.hangs = False
        self.looks = 0
        self.told: list[str] = []
        self._disconnects, self._wait = trio.open_memory_channel[None](0)

    async def disconnect(self) -> None:
        await self._disconnects.send(None)
        await trio.testing.wait_all_tasks_blocked()

    async def wait_disconnected(self) -> None:
        await self._wait.receive()

    async def socket_changed(self) -> bool:
        self.looks += 1
        if self.hangs:
            await trio.sleep_forever()
        return self.changed


@asynccontextmanager
async def watching(driver: FakeDriver, *statuses: ProbeStatus) -> AsyncIterator[Watch]:
    """Watch a driver that answered like this, and be past the middle of an interval."""
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                watch.run,
                driver.wait_disconnected,
                driver.socket_changed,
                disconnected=partial(driver.told.append, "disconnected"),
                recreated=partial(driver.told.append, "recreated"),
            )
        )
        for status in statuses:
            watch.observe(result(status))
        await trio.sleep(1.5 * POLL)
        driver.looks = 0
        yield watch
        nursery.cancel_scope.cancel()


async def test_a_driver_that_disconnects_is_reported_each_time(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY):
        for times in 1, 2, 3:
            await driver.disconnect()
            assert driver.told == ["disconnected"] * times


async def test_one_that_is_back_already_is_told_as_recreated(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY):
        driver.changed = True
        await driver.disconnect()
        assert driver.told == ["recreated"]


async def test_a_healthy_driver_gets_no_looks(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY) as watch:
        for _ in range(10):
            await trio.sleep(3600)
            watch.observe(result(ProbeStatus.READY))
        driver.changed = True
        await trio.sleep(3600)
    assert driver.looks == 0
    assert driver.told == []


async def test_before_the_first_result_there_are_no_looks(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver):
        await trio.sleep(3600)
    assert driver.looks == 0


@pytest.mark.parametrize("status", IN_DOUBT)
async def test_any_other_is_looked_at_every_tenth_of_a_second(
    autojump_clock: Clock, status: ProbeStatus
) -> None:
    driver = FakeDriver()
    async with watching(driver, status):
        await trio.sleep(0.9)  # the looks are at 0.05, 0.15 ... 0.85
        assert driver.looks == 9
        assert driver.told == []
        driver.changed = True
        await trio.sleep(POLL)
        assert driver.told == ["recreated"]


async def test_it_is_told_until_a_probe_has_noticed(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.UNREACHABLE) as watch:
        driver.changed = True
        await trio.sleep(0.3)
        assert driver.told == ["recreated"] * 3
        driver.changed = False
        watch.observe(result(ProbeStatus.READY))
        await trio.sleep(3600)
    assert driver.told == ["recreated"] * 3
    assert driver.looks == 3


async def test_a_driver_that_falls_ill_is_looked_at_from_then_on(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.UNREACHABLE, ProbeStatus.READY) as watch:
        await trio.sleep(3600)
        assert driver.looks == 0
        for status in ProbeStatus.NOT_READY, ProbeStatus.FAILED:  # twice is not twice as often
            watch.observe(result(status))
        await trio.sleep(0.95)  # at once, and then 9 times
        assert driver.looks == 10


async def test_a_directory_that_hangs_does_not_hide_that_the_driver_disconnects(
    autojump_clock: Clock,
) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY):
        driver.hangs = True
        for times in 1, 2:
            await driver.disconnect()
            await trio.sleep(2 * LOOK_TIMEOUT)
            assert driver.told == ["disconnected"] * times
