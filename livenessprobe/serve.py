"""The composition: who is told what, and under which nursery.

    prober --result--> metrics, history, identity, statelog, watch
    HTTP   --path----> prober.handle_request, metrics or a page, which look at the status
    watch  ----------> prober: the driver hung up, its socket is another one

One cancel scope holds every task; SIGTERM and SIGINT cancel it. HTTP opens before the first
Probe, so that a caller hears "nothing known yet" instead of "connection refused".
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

PATIENCE = 2.0
"""Seconds from a signal, or a bug, to the end, whatever holds it up.

Half of one is usual. But a thread may be stuck in the kernel, say with a file system that is gone,
and the Probe that it is for cannot be cancelled.
"""

log = klog.get_logger(__name__)


async def serve(config: Config) -> None:
    """Run the program until SIGTERM or SIGINT.

    Raises, in a group, `listen.ListenError` if an address cannot be listened on.
    """
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        closing(Driver(config.socket_path)) as driver,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run, config, driver)
            async for signum in signals:
                log.info("Shutting down", signal=signal.Signals(signum).name)
                _end_anyway_after(PATIENCE, exit_code=0)
                nursery.cancel_scope.cancel()


async def _end_in_time() -> None:
    """Once the tasks are cancelled, by a signal or for a bug, let nothing hold up the end."""
    try:
        await trio.sleep_forever()
    finally:
        if not any(signal.getitimer(signal.ITIMER_REAL)):  # no signal has come
            _end_anyway_after(PATIENCE, exit_code=1)


def _end_anyway_after(seconds: float, *, exit_code: int) -> None:
    def end(_number: int, _frame: object) -> None:
        if exit_code:  # a nursery tells of a bug only once all its tasks have ended
            log.error("A bug of livenessprobe ends it", err="unknown: a thread is stuck")
        os._exit(exit_code)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)


async def _run(config: Config, driver: Driver) -> None:
    identity, history, wall_clock, watch = Identity(), History(), WallClock(), Watch()

    def status() -> Status:
        now = trio.current_time()
        return Status(
            now=now,
            epoch=wall_clock.offset,
            driver_name=identity.driver_name,
            verdict=prober.current_verdict(Question.HEALTHZ, now),
            history=history,
            schedule=prober.schedule,
            lag=prober.lag,
            missed_deadlines=prober.missed_deadlines,
        )

    metrics = Metrics(status)
    statelog = StateLog(config.socket_path, lambda: identity.driver_name)

    def publish(result: ProbeResult) -> None:
        metrics.observe_call(PROBE, result.grpc_status, result.latency)
        history.observe(result)
        identity.observe(result)
        statelog.observe(result)
        watch.observe(result)

    def disconnected() -> None:
        if prober.disconnected():
            identity.disconnected()

    def recreated() -> None:
        identity.recreated()
        prober.recreated()

    prober = Prober(
        driver.probe, publish, interval=config.probe_interval, probe_timeout=config.probe_timeout
    )
    async with trio.open_nursery() as nursery:
        endpoint = metrics_endpoint(CONTENT_TYPE, metrics.text)
        started_at = trio.current_time()
        table = routes(config, prober.handle_request, status, endpoint, started_at=started_at)
        await _serve_http(nursery, table, metrics.observe_answer)
        log.info(
            "Probing the CSI driver",
            version=__version__,
            socket=config.socket_path,
            probe_timeout=config.texts["probe-timeout"],
            probe_interval=config.texts["probe-interval"],
        )
        nursery.start_soon(_end_in_time)
        nursery.start_soon(prober.run)
        nursery.start_soon(
            partial(
                watch.run,
                driver.wait_disconnected,
                driver.socket_changed,
                disconnected=disconnected,
                recreated=recreated,
            )
        )
        nursery.start_soon(
            partial(
                identity.run,
                driver.get_name,
                partial(metrics.observe_call, GET_PLUGIN_INFO),
                probe_timeout=config.probe_timeout,
            )
        )


async def _serve_http(nursery: trio.Nursery, table: Mapping[str, Routes], observe: Observe) -> None:
    """Listen on every address before anything is answered on the first."""
    listeners = {address: await open_listeners(address) for address in table}
    for address, sockets in listeners.items():
        routes = table[address]
        await nursery.start(server.serve, Application(routes, not_found(routes), observe), sockets)
        for listener in sockets:
            log.info("ServeMux listening", address=bound_address(listener), paths=" ".join(routes))
