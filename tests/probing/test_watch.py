from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.watch import CHECK_TIMEOUT, POLL, Watch

Clock = trio.testing.MockClock

UNHEALTHY = [status for status in ProbeStatus if status is not ProbeStatus.READY]


def result(status: ProbeStatus) -> ProbeResult:
    return ProbeResult(status=status, message="", grpc_status=None, latency=0.0, finished_at=0.0)


class FakeDriver:
    """Disconnects on `disconnect`, has a new socket while `changed`, records the reports."""

    def __init__(self) -> None:
        self.changed = False
        self.hangs = False
        self.checks = 0
        self.reported: list[str] = []
        self._disconnects, self._wait = trio.open_memory_channel[None](0)

    async def disconnect(self) -> None:
        await self._disconnects.send(None)
        await trio.testing.wait_all_tasks_blocked()

    async def wait_disconnected(self) -> None:
        await self._wait.receive()

    async def socket_changed(self) -> bool:
        self.checks += 1
        if self.hangs:
            await trio.sleep_forever()
        return self.changed


@asynccontextmanager
async def watching(driver: FakeDriver, *statuses: ProbeStatus) -> AsyncIterator[Watch]:
    """Watch a driver after these results; continue between two checks of the socket."""
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                watch.run,
                driver.wait_disconnected,
                driver.socket_changed,
                disconnected=partial(driver.reported.append, "disconnected"),
                recreated=partial(driver.reported.append, "recreated"),
            )
        )
        for status in statuses:
            watch.observe(result(status))
        await trio.sleep(1.5 * POLL)
        driver.checks = 0
        yield watch
        nursery.cancel_scope.cancel()


async def test_a_driver_that_disconnects_is_reported_each_time(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY):
        for times in 1, 2, 3:
            await driver.disconnect()
            assert driver.reported == ["disconnected"] * times


async def test_a_driver_that_is_back_already_is_reported_as_recreated(
    autojump_clock: Clock,
) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY):
        driver.changed = True
        await driver.disconnect()
        assert driver.reported == ["recreated"]


async def test_the_socket_of_a_healthy_driver_is_not_checked(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY) as watch:
        for _ in range(10):
            await trio.sleep(3600)
            watch.observe(result(ProbeStatus.READY))
        driver.changed = True
        await trio.sleep(3600)
    assert driver.checks == 0
    assert driver.reported == []


async def test_the_socket_is_not_checked_before_the_first_result(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver):
        await trio.sleep(3600)
    assert driver.checks == 0


@pytest.mark.parametrize("status", UNHEALTHY)
async def test_the_socket_of_an_unhealthy_driver_is_checked_ten_times_a_second(
    autojump_clock: Clock, status: ProbeStatus
) -> None:
    driver = FakeDriver()
    async with watching(driver, status):
        await trio.sleep(0.9)  # the checks are at 0.05, 0.15 ... 0.85
        assert driver.checks == 9
        assert driver.reported == []
        driver.changed = True
        await trio.sleep(POLL)
        assert driver.reported == ["recreated"]


async def test_a_new_socket_is_reported_until_a_probe_succeeds(autojump_clock: Clock) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.UNREACHABLE) as watch:
        driver.changed = True
        await trio.sleep(0.3)
        assert driver.reported == ["recreated"] * 3
        driver.changed = False
        watch.observe(result(ProbeStatus.READY))
        await trio.sleep(3600)
    assert driver.reported == ["recreated"] * 3
    assert driver.checks == 4  # once more, see the next test


async def test_a_new_socket_is_reported_if_the_probe_that_succeeds_is_the_first_to_see_it(
    autojump_clock: Clock,
) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.FAILED) as watch:
        watch.observe(result(ProbeStatus.READY))
        driver.changed = True  # as the Probe has found
        await trio.sleep(POLL)
        assert driver.reported == ["recreated"]
        await trio.sleep(3600)
    assert driver.checks == 1


async def test_the_socket_is_checked_once_the_driver_becomes_unhealthy(
    autojump_clock: Clock,
) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.UNREACHABLE, ProbeStatus.READY) as watch:
        await trio.sleep(3600)
        driver.checks = 0
        for status in ProbeStatus.NOT_READY, ProbeStatus.FAILED:  # the second result adds no checks
            watch.observe(result(status))
        await trio.sleep(0.95)  # at once, and then 9 times
        assert driver.checks == 10


async def test_a_closed_connection_is_reported_even_if_the_file_system_hangs(
    autojump_clock: Clock,
) -> None:
    driver = FakeDriver()
    async with watching(driver, ProbeStatus.READY):
        driver.hangs = True
        for times in 1, 2:
            await driver.disconnect()
            await trio.sleep(2 * CHECK_TIMEOUT)
            assert driver.reported == ["disconnected"] * times
