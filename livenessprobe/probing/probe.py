"""Runs one Probe and returns its result, whether the call succeeds, fails or times out."""

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
    """Returns whether the driver is ready within a timeout in seconds, or raises `DriverError`."""

NOT_READY = "driver responded but is not ready"

_STATUS_BY_ERROR: dict[type[DriverError], ProbeStatus] = {
    DriverUnreachableError: ProbeStatus.UNREACHABLE,
    DeadlineExceededError: ProbeStatus.TIMED_OUT,
    RPCError: ProbeStatus.FAILED,
}


async def probe_once(probe: Probe, probe_timeout: float) -> ProbeResult:
    """Return the result of one call, which is cancelled after `probe_timeout` seconds.

    Every `DriverError` becomes a result; other exceptions are bugs and propagate.
    """
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
