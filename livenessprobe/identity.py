"""The driver's name: asked for until it is known, and again after the driver was away.

A task of its own beside the prober, so that a driver that hangs in `GetPluginInfo` delays no
Probe. It is fed with finished Probes and asks only right after one that reached the driver:

    driver reached, name wanted -> ask -> told: content until the driver was unreachable, or is
                                          another one
                                       -> not told: ask again, RETRY later
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe import klog
from livenessprobe.deadline import call_within
from livenessprobe.errors import DriverError
from livenessprobe.result import REACHED, ProbeResult, ProbeStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    GetName = Callable[[float], Awaitable[str]]
    """Asks the driver, told its deadline in seconds, for its name; raises `DriverError`."""

RETRY = 10.0
"""Seconds before a driver that did not tell its name is asked again.

Often enough for a label; such a driver may never tell it, and each refusal costs it a call.
"""

log = klog.get_logger(__name__)


class Identity:
    """Who the driver says it is. `observe` is fed with results while `run` runs."""

    def __init__(self) -> None:
        self.driver_name: str | None = None
        """The name last told; it stays while the driver is away."""
        self._wanted = True
        self._can_ask = trio.Event()
        self._refused_with: object = None

    def observe(self, result: ProbeResult) -> None:
        """Note what one Probe says about whether the driver should be asked, and can be."""
        if result.status is ProbeStatus.UNREACHABLE:
            self._wanted = True
        elif result.status in REACHED and self._wanted:
            self._can_ask.set()

    def recreated(self) -> None:
        """Note that the driver's socket is another one, and so the driver."""
        self._wanted = True

    async def run(
        self,
        get_name: GetName,
        observe_call: Callable[[str | None, float], None],
        *,
        probe_timeout: float,
    ) -> None:
        """Keep `driver_name` known, until cancelled.

        `observe_call` is told the gRPC status and the latency in seconds of every call, each of
        which may take `probe_timeout` seconds.
        """
        while True:
            await self._can_ask.wait()
            # Before the call, since what is observed during it may want the name again.
            self._can_ask, self._wanted = trio.Event(), False
            started_at = trio.current_time()
            try:
                name = await call_within(probe_timeout, get_name)
            except DriverError as error:
                observe_call(error.grpc_status, trio.current_time() - started_at)
                self._not_told(error)
                await trio.sleep(RETRY)
            else:
                observe_call("OK", trio.current_time() - started_at)
                self._told(name)

    def _told(self, name: str) -> None:
        if name != self.driver_name:
            log.info("CSI driver name", driver=name)
        self.driver_name = name
        self._refused_with = None

    def _not_told(self, error: DriverError) -> None:
        self._wanted = True
        refusal = type(error), error.grpc_status  # not its text, which may differ every time
        if refusal != self._refused_with:  # once is enough: it is asked again and again
            log.error("Failed to get the CSI driver name, probing goes on", err=error)
        self._refused_with = refusal
