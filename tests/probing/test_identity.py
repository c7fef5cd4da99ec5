from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing

from livenessprobe.health.errors import DriverError, DriverUnreachableError, RPCError
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.identity import MAX_RETRY, RETRY, Identity

Clock = trio.testing.MockClock


def result(status: ProbeStatus) -> ProbeResult:
    return ProbeResult(status=status, message="", grpc_status=None, latency=0.0, finished_at=0.0)


class FakeDriver:
    """Returns `name`, or raises it; hangs if it is None."""

    def __init__(self, name: str | DriverError | None) -> None:
        self.name = name
        self.called_at: list[float] = []
        self.calls: list[str | None] = []

    @property
    def call_count(self) -> int:
        return len(self.called_at)

    async def get_name(self, _: float) -> str:
        self.called_at.append(trio.current_time())
        if self.name is None:
            await trio.sleep_forever()
        if isinstance(self.name, DriverError):
            raise self.name
        assert self.name is not None
        return self.name

    def observe_call(self, grpc_status: str | None, _: float) -> None:
        self.calls.append(grpc_status)


@asynccontextmanager
async def running(driver: FakeDriver) -> AsyncIterator[Identity]:
    identity = Identity()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(identity.run, driver.get_name, driver.observe_call, probe_timeout=3.0)
        )
        yield identity
        nursery.cancel_scope.cancel()


async def after(identity: Identity, *statuses: ProbeStatus) -> str | None:
    """Pass results to `observe`, and return the name known after the task has run."""
    for status in statuses:
        identity.observe(result(status))
        await trio.testing.wait_all_tasks_blocked()
    return identity.driver_name


@pytest.mark.parametrize("status", [ProbeStatus.READY, ProbeStatus.NOT_READY, ProbeStatus.FAILED])
async def test_the_name_is_requested_after_an_answered_probe(
    autojump_clock: Clock, status: ProbeStatus
) -> None:
    driver = FakeDriver("fake.csi.example.com")
    async with running(driver) as identity:
        assert identity.driver_name is None
        assert await after(identity, status) == "fake.csi.example.com"
    assert driver.calls == ["OK"]


@pytest.mark.parametrize("status", [ProbeStatus.UNREACHABLE, ProbeStatus.TIMED_OUT])
async def test_the_name_is_not_requested_while_probes_are_not_answered(
    autojump_clock: Clock, status: ProbeStatus
) -> None:
    driver = FakeDriver("fake.csi.example.com")
    async with running(driver) as identity:
        assert await after(identity, status, status) is None
    assert driver.call_count == 0


async def test_a_known_name_is_not_requested_again(autojump_clock: Clock) -> None:
    driver = FakeDriver("fake.csi.example.com")
    async with running(driver) as identity:
        await after(identity, *[ProbeStatus.READY] * 5)
    assert driver.call_count == 1


async def test_the_name_is_kept_while_the_driver_is_unreachable_and_requested_again_after(
    autojump_clock: Clock,
) -> None:
    driver = FakeDriver("old.csi.example.com")
    async with running(driver) as identity:
        await after(identity, ProbeStatus.READY)
        driver.name = "new.csi.example.com"
        assert await after(identity, ProbeStatus.UNREACHABLE) == "old.csi.example.com"
        assert await after(identity, ProbeStatus.READY) == "new.csi.example.com"
    assert driver.call_count == 2


async def test_the_same_name_is_logged_once(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(FakeDriver("fake.csi.example.com")) as identity:
        await after(identity, ProbeStatus.READY, ProbeStatus.UNREACHABLE, ProbeStatus.READY)
    assert [record.message for record in caplog.records] == ["CSI driver name"]


ERRORS: list[tuple[DriverError | None, str | None]] = [
    (RPCError("Unimplemented", "no"), "Unimplemented"),
    (DriverUnreachableError("gone"), None),
    (None, "DeadlineExceeded"),
]


@pytest.mark.parametrize(("error", "grpc_status"), ERRORS)
async def test_failed_calls_are_retried_with_backoff_and_logged_once(
    autojump_clock: Clock,
    caplog: pytest.LogCaptureFixture,
    error: DriverError | None,
    grpc_status: str | None,
) -> None:
    driver = FakeDriver(error)
    async with running(driver) as identity:
        for _ in range(1000):
            await after(identity, ProbeStatus.READY)
            await trio.sleep(1.0)
        took = 3.0 if error is None else 0.0
        assert [later - asked - took for asked, later in pairwise(driver.called_at)] == [
            pytest.approx(pause, abs=1.0) for pause in (10, 20, 40, 80, 160, 300, 300)
        ]
        assert identity.driver_name is None
        assert set(driver.calls) == {grpc_status}
        driver.name = "fake.csi.example.com"
        await trio.sleep(MAX_RETRY)
        assert await after(identity, ProbeStatus.READY) == "fake.csi.example.com"
    assert [record.message for record in caplog.records] == [
        "Failed to get the CSI driver name, probing goes on",
        "CSI driver name",
    ]


RESTARTS: list[Callable[[Identity], None]] = [
    Identity.recreated,
    Identity.disconnected,
    lambda identity: identity.observe(result(ProbeStatus.UNREACHABLE)),
]


@pytest.mark.parametrize("restart", RESTARTS)
async def test_a_driver_that_may_have_restarted_is_called_after_the_next_answered_probe(
    autojump_clock: Clock, restart: Callable[[Identity], None]
) -> None:
    driver = FakeDriver(RPCError("Unimplemented", "no"))
    async with running(driver) as identity:
        for _ in range(5):
            await after(identity, ProbeStatus.READY)
            await trio.sleep(MAX_RETRY)
        await after(identity, ProbeStatus.READY, ProbeStatus.READY)
        before = driver.call_count
        driver.name = "new.csi"
        restart(identity)
        await trio.testing.wait_all_tasks_blocked()
        assert driver.call_count == before
        assert await after(identity, ProbeStatus.READY) == "new.csi"
        assert driver.call_count == before + 1


async def test_the_backoff_starts_anew_after_a_restart(autojump_clock: Clock) -> None:
    driver = FakeDriver(RPCError("Unimplemented", "no"))
    async with running(driver) as identity:
        await after(identity, ProbeStatus.READY)
        await trio.sleep(RETRY + 0.1)
        await after(identity, ProbeStatus.READY)
        identity.recreated()
        await after(identity, ProbeStatus.READY)
        before = driver.call_count
        await after(identity, ProbeStatus.READY)
        await trio.sleep(RETRY + 0.1)
        assert driver.call_count == before + 1


async def test_a_driver_replaced_during_the_call_is_called_again(autojump_clock: Clock) -> None:
    gate = trio.Event()
    names = ["old.csi.example.com", "new.csi.example.com"]

    async def get_name(_: float) -> str:
        name = names.pop(0)
        if names:
            await gate.wait()
        return name

    identity = Identity()
    ignore: Callable[[str | None, float], None] = lambda *_: None  # noqa: E731 - typed, and once
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(identity.run, get_name, ignore, probe_timeout=3.0))
        await after(identity, ProbeStatus.READY, ProbeStatus.UNREACHABLE)
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await after(identity, ProbeStatus.READY) == "new.csi.example.com"
        nursery.cancel_scope.cancel()


async def test_the_name_of_a_new_driver_is_requested(autojump_clock: Clock) -> None:
    driver = FakeDriver("old.csi")
    async with running(driver) as identity:
        assert await after(identity, ProbeStatus.READY) == "old.csi"
        driver.name = "new.csi"
        identity.recreated()
        assert await after(identity, ProbeStatus.READY) == "new.csi"
    assert driver.call_count == 2
