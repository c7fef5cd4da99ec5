"""Runs the sidecar: creates its parts, connects them by callbacks, and runs their tasks.

    prober --result--> metrics, history, identity, statelog, watch
    HTTP   --path----> prober.handle_request, or the metrics or a page made from the status
    watch  --event---> prober and identity: connection closed, socket recreated

All tasks are in one nursery, which SIGTERM and SIGINT cancel. HTTP is served before the first Probe
begins, so that an early request gets the answer that nothing is known yet, and not "connection
refused".
"""

from __future__ import annotations

import os
import signal
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import trio

from livenessprobe import __version__, klog
from livenessprobe.driver import Driver
from livenessprobe.endpoints.metrics import metrics as metrics_endpoint
from livenessprobe.endpoints.not_found import not_found
from livenessprobe.endpoints.routes import routes
from livenessprobe.health.verdict import Question
from livenessprobe.probing.identity import Identity
from livenessprobe.probing.prober import Prober
from livenessprobe.probing.watch import Watch
from livenessprobe.server import server
from livenessprobe.server.asgi import Application
from livenessprobe.server.listen import bound_address, open_listeners
from livenessprobe.telemetry.history import History
from livenessprobe.telemetry.metrics import CONTENT_TYPE, GET_PLUGIN_INFO, PROBE, Metrics
from livenessprobe.telemetry.statelog import StateLog
from livenessprobe.telemetry.status import Status
from livenessprobe.telemetry.wallclock import WallClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livenessprobe.flags import Config
    from livenessprobe.health.result import ProbeResult
    from livenessprobe.server.asgi import Observe, Routes

SHUTDOWN_TIMEOUT = 2.0
"""Seconds from a signal or a bug until the process exits, even if a task has not ended.

A shutdown usually takes half a second at most. But the thread of a Probe may be stuck in the
kernel, for example in a file system that hangs, and cannot be cancelled.
"""

log = klog.get_logger(__name__)


async def serve(config: Config) -> None:
    """Run the sidecar until SIGTERM or SIGINT.

    Raises an `ExceptionGroup` with a `listen.ListenError` if an address cannot be listened on.
    Every other exception is a bug.
    """
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        closing(Driver(config.socket_path)) as driver,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_Sidecar(config, driver).run)
            async for signum in signals:
                log.info("Shutting down", signal=signal.Signals(signum).name)
                _exit_after(SHUTDOWN_TIMEOUT, exit_code=0)
                nursery.cancel_scope.cancel()


class _Sidecar:
    """The parts of the sidecar, and the callbacks between them."""

    def __init__(self, config: Config, driver: Driver) -> None:
        self._config = config
        self._driver = driver
        self._identity = Identity()
        self._history = History()
        self._wall_clock = WallClock()
        self._watch = Watch()
        self._metrics = Metrics(self._status)
        self._statelog = StateLog(config.socket_path, lambda: self._identity.driver_name)
        self._prober = Prober(
            driver.probe,
            self._publish,
            interval=config.probe_interval,
            probe_timeout=config.probe_timeout,
        )

    async def run(self) -> None:
        """Serve HTTP and call the driver, until cancelled."""
        config, driver = self._config, self._driver
        async with trio.open_nursery() as nursery:
            await _serve_http(nursery, self._routes(), self._metrics.observe_answer)
            log.info(
                "Probing the CSI driver",
                version=__version__,
                socket=config.socket_path,
                probe_timeout=config.texts["probe-timeout"],
                probe_interval=config.texts["probe-interval"],
            )
            nursery.start_soon(_bound_shutdown)
            nursery.start_soon(self._prober.run)
            nursery.start_soon(
                partial(
                    self._watch.run,
                    driver.wait_disconnected,
                    driver.socket_changed,
                    disconnected=self._disconnected,
                    recreated=self._recreated,
                )
            )
            nursery.start_soon(
                partial(
                    self._identity.run,
                    driver.get_name,
                    partial(self._metrics.observe_call, GET_PLUGIN_INFO),
                    probe_timeout=config.probe_timeout,
                )
            )

    def _routes(self) -> Mapping[str, Routes]:
        return routes(
            self._config,
            self._prober.handle_request,
            self._status,
            metrics_endpoint(CONTENT_TYPE, self._metrics.text),
            started_at=trio.current_time(),
        )

    def _status(self) -> Status:
        now = trio.current_time()
        prober = self._prober
        return Status(
            now=now,
            epoch=self._wall_clock.offset,
            driver_name=self._identity.driver_name,
            verdict=prober.current_verdict(Question.HEALTHZ, now),
            history=self._history,
            schedule=prober.schedule,
            lag=prober.lag,
            missed_deadlines=prober.missed_deadlines,
        )

    def _publish(self, result: ProbeResult) -> None:
        self._metrics.observe_call(PROBE, result.grpc_status, result.latency)
        self._history.observe(result)
        self._identity.observe(result)
        self._statelog.observe(result)
        self._watch.observe(result)

    def _disconnected(self) -> None:
        if self._prober.disconnected():
            self._identity.disconnected()

    def _recreated(self) -> None:
        self._identity.recreated()
        self._prober.recreated()


async def _bound_shutdown() -> None:
    """Wait for cancellation, by a signal or because of a bug, and then limit the time to exit."""
    try:
        await trio.sleep_forever()
    finally:
        if not any(signal.getitimer(signal.ITIMER_REAL)):  # not set by a signal before
            _exit_after(SHUTDOWN_TIMEOUT, exit_code=1)


def _exit_after(seconds: float, *, exit_code: int) -> None:
    def exit_now(_number: int, _frame: object) -> None:  # pragma: no cover - os._exit saves no data
        if exit_code:  # the nursery raises the exception only once all its tasks have ended
            log.error("Exiting because of a bug in livenessprobe", err="unknown: a thread is stuck")
        os._exit(exit_code)

    signal.signal(signal.SIGALRM, exit_now)
    signal.setitimer(signal.ITIMER_REAL, seconds)


async def _serve_http(nursery: trio.Nursery, table: Mapping[str, Routes], observe: Observe) -> None:
    """Serve the routes of each address, once all the addresses are listened on."""
    listeners = {address: await open_listeners(address) for address in table}
    for address, sockets in listeners.items():
        routes = table[address]
        await nursery.start(server.serve, Application(routes, not_found(routes), observe), sockets)
        for listener in sockets:
            log.info("ServeMux listening", address=bound_address(listener), paths=" ".join(routes))
