from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from livenessprobe import prober
from livenessprobe.errors import DriverError, DriverUnreachableError, RPCError
from livenessprobe.result import ProbeResult, ProbeStatus

Probe = Callable[[float], Awaitable[bool]]


def answering(ready: bool, *, after: float = 0.0) -> Probe:  # noqa: FBT001 - reads well
    async def probe(_: float) -> bool:
        await trio.sleep(after)
        return ready

    return probe


def raising(error: DriverError, *, after: float = 0.0) -> Probe:
    async def probe(_: float) -> bool:
        await trio.sleep(after)
        raise error

    return probe


OUTCOMES = [
    (answering(ready=True, after=0.2), ProbeStatus.READY, "", "OK", 0.2),
    (
        answering(ready=False, after=0.2),
        ProbeStatus.NOT_READY,
        "driver responded but is not ready",
        "OK",
        0.2,
    ),
    (
        raising(RPCError("Internal", "bad"), after=0.1),
        ProbeStatus.FAILED,
        "rpc error: code = Internal desc = bad",
        "Internal",
        0.1,
    ),
    (
        raising(DriverUnreachableError("/csi.sock: no such file")),
        ProbeStatus.UNREACHABLE,
        "/csi.sock: no such file",
        None,
        0.0,
    ),
    (
        answering(ready=True, after=60.0),
        ProbeStatus.TIMED_OUT,
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        "DeadlineExceeded",
        3.0,
    ),
]


@pytest.mark.parametrize(
    ("probe", "status", "message", "grpc_status", "latency"),
    OUTCOMES,
    ids=[outcome[1].name for outcome in OUTCOMES],
)
async def test_every_way_a_probe_can_end_is_a_result(
    autojump_clock: trio.testing.MockClock,
    probe: Probe,
    status: ProbeStatus,
    message: str,
    grpc_status: str | None,
    latency: float,
) -> None:
    result = await prober.probe_once(probe, 3.0)
    assert result == ProbeResult(
        status=status,
        message=message,
        grpc_status=grpc_status,
        latency=pytest.approx(latency),  # type: ignore[arg-type] # equal to a float near it
        finished_at=trio.current_time(),
    )


def test_the_outcomes_above_are_all_there_are() -> None:
    assert {status for _, status, *_ in OUTCOMES} == set(ProbeStatus)


async def results_within(seconds: float, probe: Probe) -> list[ProbeResult]:
    results: list[ProbeResult] = []
    with trio.move_on_after(seconds):
        await prober.run(probe, results.append, interval=1.0, probe_timeout=3.0)
    return results


async def test_probes_start_one_interval_apart(autojump_clock: trio.testing.MockClock) -> None:
    # Every second from 0 on, so within 9.5 s ten times.
    start = trio.current_time()
    results = await results_within(9.5, answering(ready=True, after=0.1))
    assert [result.finished_at - start for result in results] == pytest.approx(
        [0.1, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.1, 8.1, 9.1]
    )


async def test_a_hung_driver_is_probed_again_as_soon_as_the_deadline_passed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Deadlines at 3, 6 and 9 s; the Probe that started at 9 s has not ended.
    results = await results_within(9.5, answering(ready=True, after=60.0))
    assert [result.status for result in results] == [ProbeStatus.TIMED_OUT] * 3


async def test_never_more_than_one_probe_is_in_flight(
    autojump_clock: trio.testing.MockClock,
) -> None:
    in_flight = most_in_flight = 0

    async def probe(_: float) -> bool:
        nonlocal in_flight, most_in_flight
        in_flight += 1
        most_in_flight = max(most_in_flight, in_flight)
        try:
            await trio.sleep(2.5)
        finally:
            in_flight -= 1
        return True

    results = await results_within(20.0, probe)
    assert len(results) == 7  # at 2.5, 5, ... 17.5 s; the one at 20 s is cut off
    assert most_in_flight == 1
    assert in_flight == 0


async def test_a_bug_in_a_probe_ends_the_prober(autojump_clock: trio.testing.MockClock) -> None:
    async def probe(_: float) -> bool:
        raise KeyError("our own")

    with pytest.raises(KeyError):
        await results_within(1.0, probe)
