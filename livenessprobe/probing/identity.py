"""The driver's name: asked for until it is known, and again after the driver was away.

A task of its own beside the prober, so that a driver that hangs in `GetPluginInfo` delays no
Probe. It is fed with finished Probes and asks only after one that reached the driver:

    driver reached, name wanted -> ask -> told: content until the driver was unreachable, or its
                                          socket is another one
                                       -> refused: ask again 10, 20, 40 s later, at last every 5 min

A driver that is, or may be, another process (it was unreachable, its socket is another one, or it
closed the held connection) ends the wait: it is asked after the next Probe that reaches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe import klog
from livenessprobe.health.errors import DriverError
from livenessprobe.health.result import REACHED, ProbeResult, ProbeStatus
from livenessprobe.probing.deadline import call_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    GetName = Callable[[float], Awaitable[str]]
    """Asks the driver, told its deadline in seconds, for its name; raises `DriverError`."""

RETRY, MAX_RETRY = 10.0, 300.0
"""Seconds before a driver that did not tell its name is asked again: the first, and the last.

A driver that was built without a version refuses for ever, and logs each call.
"""

log = klog.get_logger(__name__)


class Identity:
    """Who the driver says it is. `observe` is fed with results while `run` runs."""

    def __init__(self) -> None:
        self.driver_name: str | None = None
        """The name last told; it stays while the driver is away."""
        self._wanted = True
        self._can_ask = trio.Event()
        self._may_be_another = trio.Event()
        self._refused_with: object = None

    def observe(self, result: ProbeResult) -> None:
        """Record whether a Probe reached the driver, so that it can be asked."""
        if result.status is ProbeStatus.UNREACHABLE:
            self.recreated()
        elif result.status in REACHED and self._wanted:
            self._can_ask.set()

    def recreated(self) -> None:
        """Record that the driver is another process: its name may be another one, too."""
        self._wanted = True
        self.disconnected()

    def disconnected(self) -> None:
        """Record that the driver may be another process: one that refused may tell its name."""
        self._may_be_another.set()
        if self._can_ask.is_set():  # by a Probe of the process before
            self._can_ask = trio.Event()

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
        retry = RETRY
        while True:
            await self._can_ask.wait()
            # Before the call, since what is observed during it may want the name again.
            self._can_ask, self._may_be_another, self._wanted = trio.Event(), trio.Event(), False
            started_at = trio.current_time()
            try:
                name = await call_within(probe_timeout, get_name)
            except DriverError as error:
                observe_call(error.grpc_status, trio.current_time() - started_at)
                self._not_told(error)
                with trio.move_on_after(retry):
                    await self._may_be_another.wait()
                retry = RETRY if self._may_be_another.is_set() else min(2 * retry, MAX_RETRY)
            else:
                observe_call("OK", trio.current_time() - started_at)
                self._told(name)
                retry = RETRY

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
