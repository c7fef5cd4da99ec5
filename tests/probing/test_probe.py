from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from livenessprobe.health.errors import DriverUnreachableError, RPCError
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.probe import probe_once
from tests.scripted_probe import answering, raising

if TYPE_CHECKING:
    from livenessprobe.probing.probe import Probe

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
    result = await probe_once(probe, 3.0)
    assert result == ProbeResult(
        status=status,
        message=message,
        grpc_status=grpc_status,
        latency=pytest.approx(latency),  # type: ignore[arg-type] # equal to a float near it
        finished_at=trio.current_time(),
    )


def test_every_status_has_an_outcome_above() -> None:
    assert {status for _, status, *_ in OUTCOMES} == set(ProbeStatus)
