"""One Probe: from a call to the driver, whatever becomes of it, to a `ProbeResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe.health.errors import (
    DeadlineExceededError,
    DriverError,
    DriverUnreachableError,
    RPCError,
)
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.deadline import call_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Probe = Callable[[float], Awaitable[bool]]
    """Asks the driver, told its deadline in seconds, whether it is ready; raises `DriverError`."""

NOT_READY = "driver responded but is not ready"

_STATUS_BY_ERROR: dict[type[DriverError], ProbeStatus] = {
    DriverUnreachableError: ProbeStatus.UNREACHABLE,
    DeadlineExceededError: ProbeStatus.TIMED_OUT,
    RPCError: ProbeStatus.FAILED,
}


async def probe_once(probe: Probe, probe_timeout: float) -> ProbeResult:
    """Run one Probe. Whatever the driver does, it has its result in `probe_timeout` seconds."""
    started_at = trio.current_time()
    status, message = ProbeStatus.READY, ""
    grpc_status: str | None = "OK"
    try:
        if not await call_within(probe_timeout, probe):
            status, message = ProbeStatus.NOT_READY, NOT_READY
    except DriverError as error:
        status, message = _STATUS_BY_ERROR[type(error)], str(error)
        grpc_status = error.grpc_status
    finished_at = trio.current_time()
    return ProbeResult(
        status=status,
        message=message,
        grpc_status=grpc_status,
        latency=finished_at - started_at,
        finished_at=finished_at,
    )
