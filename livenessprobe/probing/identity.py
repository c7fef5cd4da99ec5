"""Keeps the driver's name: calls `GetPluginInfo` until it succeeds, and again after a restart.

It runs in its own task beside the prober, so that a driver that hangs in `GetPluginInfo` delays no
Probe. It calls only after a Probe that the driver has answered, in this cycle:

    wait for an answered Probe -> call -> success: done until the driver is unreachable or its
                                          socket is recreated
                                       -> error: retry after 10, 20, 40 s, and so on up to 5 min

The wait before a retry ends early if the driver may be a new process: it was unreachable, its
socket was recreated, or it closed the held connection. The call then follows the next answered
Probe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe import klog
from livenessprobe.health.errors import DriverError
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.probing.deadline import call_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    GetName = Callable[[float], Awaitable[str]]
    """Returns the driver's name within a timeout in seconds, or raises `DriverError`."""

RETRY, MAX_RETRY = 10.0, 300.0
"""Seconds from a failed call to the next: after the first failure, and at most.

A driver that was built without a version fails every time, and logs each call.
"""

log = klog.get_logger(__name__)


class Identity:
    """The driver's name. While `run` runs, `observe` gets each result of the prober."""

    def __init__(self) -> None:
        self.driver_name: str | None = None
        """The name in the last successful reply; it is kept while the driver is unreachable."""
        self._wanted = True
        self._can_call = trio.Event()
        self._may_have_restarted = trio.Event()
        self._logged_error: object = None

    def observe(self, result: ProbeResult) -> None:
        """Record one result: an answered Probe lets the call begin."""
        if result.status is ProbeStatus.UNREACHABLE:
            self.recreated()
        elif self._wanted and result.status is not ProbeStatus.TIMED_OUT:
            self._can_call.set()

    def recreated(self) -> None:
        """Record that the driver has restarted: its name is wanted again."""
        self._wanted = True
        self.disconnected()

    def disconnected(self) -> None:
        """Record that the driver may have restarted: a call that failed may now succeed."""
        self._may_have_restarted.set()
        if self._can_call.is_set():  # by a Probe of the previous process
            self._can_call = trio.Event()

    async def run(
        self,
        get_name: GetName,
        observe_call: Callable[[str | None, float], None],
        *,
        probe_timeout: float,
    ) -> None:
        """Call `get_name` when needed and set `driver_name`, until cancelled.

        Each call may take `probe_timeout` seconds. `observe_call` gets the gRPC status and the
        latency in seconds of each.
        """
        retry = RETRY
        while True:
            await self._can_call.wait()
            # Reset before the call, since the driver may restart during it.
            self._can_call, self._may_have_restarted = trio.Event(), trio.Event()
            self._wanted = False
            started_at = trio.current_time()
            try:
                name = await call_within(probe_timeout, get_name)
            except DriverError as error:
                observe_call(error.grpc_status, trio.current_time() - started_at)
                self._failed(error)
                with trio.move_on_after(retry):
                    await self._may_have_restarted.wait()
                retry = RETRY if self._may_have_restarted.is_set() else min(2 * retry, MAX_RETRY)
            else:
                observe_call("OK", trio.current_time() - started_at)
                self._succeeded(name)
                retry = RETRY

    def _succeeded(self, name: str) -> None:
        if name != self.driver_name:
            log.info("CSI driver name", driver=name)
        self.driver_name = name
        self._logged_error = None

    def _failed(self, error: DriverError) -> None:
        self._wanted = True
        kind = type(error), error.grpc_status  # without the text, which may differ every time
        if kind != self._logged_error:  # retries with the same error are not logged again
            log.error("Failed to get the CSI driver name, probing goes on", err=error)
        self._logged_error = kind
