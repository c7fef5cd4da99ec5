"""Prometheus metrics in a registry of their own: the reference's, and more.

What happens, a call or an answer, is counted as it is told; what is, the last result and what
follows from it, is looked up in the `Status` when the metrics are read. So is the driver's name, a
label of everything about the driver: it is often unknown at the first calls, and no series is left
behind under a placeholder.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from livenessprobe import __version__, exposition
from livenessprobe.result import ProbeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from livenessprobe.result import ProbeResult
    from livenessprobe.status import Status

PROBE = "/csi.v1.Identity/Probe"
GET_PLUGIN_INFO = "/csi.v1.Identity/GetPluginInfo"

# Seconds. From 0.1 on they are those of the other CSI sidecars, so that queries over all of
# them keep working; a Probe usually takes a few milliseconds, hence the finer ones.
_CALL_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600),
)

# Seconds. An answer takes less than a millisecond, and a kubelet waits for one second or more.
_ANSWER_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)

_STATES = {status: status.value.replace(" ", "_") for status in ProbeStatus} | {None: "unknown"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A metric about the driver that is looked up."""

    family: type[GaugeMetricFamily | CounterMetricFamily]
    name: str
    documentation: str
    value: Callable[[Status], float | Mapping[str, float] | None]
    """Returns the number, or a number for each value of `label`, or None if there is none yet."""
    label: str | None = None

    def collect(self, status: Status, driver_name: str) -> Iterator[Metric]:
        value = self.value(status)
        if value is None:
            return
        labels = ["driver_name"] if self.label is None else ["driver_name", self.label]
        family = self.family(f"livenessprobe_{self.name}", self.documentation, labels=labels)
        if isinstance(value, (float, int)):
            family.add_metric([driver_name], value)
        else:
            for key, number in value.items():
                family.add_metric([driver_name, key], number)
        yield family


_gauge = partial(_Row, GaugeMetricFamily)
_counter = partial(_Row, CounterMetricFamily)

_TABLE = (
    _gauge(
        "up",
        "Whether the driver is healthy, as /healthz would say",
        lambda status: status.verdict.healthy,
    ),
    _gauge(
        "state",
        "How the last Probe ended; unknown if there was none, or too long ago",
        lambda status: {name: state is status.state for state, name in _STATES.items()},
        "state",
    ),
    _gauge(
        "probe_latency_seconds",
        "Time that the last Probe took",
        lambda status: last.latency if (last := status.verdict.last) else None,
    ),
    _gauge(
        "probe_timeout_seconds",
        "Time that a Probe may take",
        lambda status: status.schedule.probe_timeout,
    ),
    _gauge(
        "result_age_seconds",
        "Time since the last Probe has ended",
        lambda status: status.verdict.age if status.verdict.last else None,
    ),
    _gauge(
        "last_success_timestamp_seconds",
        "When the last healthy Probe ended, since the epoch",
        lambda status: _time(status.history.last_success, status),
    ),
    _gauge(
        "last_change_timestamp_seconds",
        "When the driver turned healthy or unhealthy, since the epoch",
        lambda status: _time(status.history.last_change, status),
    ),
    _counter(
        "transitions",
        "Times that the driver turned healthy or unhealthy",
        lambda status: {
            "healthy": status.history.became_healthy,
            "unhealthy": status.history.became_unhealthy,
        },
        "to",
    ),
    _gauge(
        "consecutive_failures",
        "Probes since the last healthy one",
        lambda status: status.history.consecutive_failures,
    ),
    _counter(
        "failures",
        "Probes that were not healthy, by how they ended",
        lambda status: {_STATES[how]: n for how, n in status.history.failures.items()},
        "reason",
    ),
    _gauge(
        "probes_in_flight",
        "Probes that have begun and not ended",
        lambda status: status.schedule.in_flight,
    ),
    _gauge(
        "schedule_info",
        "Whether Probes follow the callers or a fixed interval",
        lambda status: {"auto" if status.schedule.fixed_interval is None else "fixed": 1},
        "mode",
    ),
    _gauge(
        "probe_interval_seconds",
        "Time from the start of the last Probe to when the next is due",
        lambda status: status.schedule.next_interval,
    ),
    _gauge(
        "callers",
        "Callers whose period is known",
        lambda status: len(list(status.schedule.callers)),
    ),
    _gauge(
        "caller_period_seconds",
        "The shortest period of a caller",
        lambda status: min((caller.period for caller in status.schedule.callers), default=None),
    ),
    _counter(
        "missed_deadlines",
        "Times that there was no new result when there should have been one",
        lambda status: status.missed_deadlines,
    ),
)


def _time(result: ProbeResult | None, status: Status) -> float | None:
    return None if result is None else result.finished_at + status.epoch


class Metrics:
    """What `/metrics` shows. `status` returns what is known at the moment."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._registry = CollectorRegistry()
        self._calls = Histogram(
            "csi_sidecar_operations_seconds",
            "[ALPHA] Container Storage Interface operation duration with gRPC error code status"
            " total",
            ["method_name", "grpc_status_code"],
            buckets=_CALL_BUCKETS,
            registry=None,
        )
        self._registry.register(_LookedUp(status, self._calls))
        self._answers = Counter(
            "livenessprobe_http_responses",
            "HTTP answers by path, or other, and by status code",
            ["endpoint", "code"],
            registry=self._registry,
        )
        self._answer_seconds = Histogram(
            "livenessprobe_http_response_seconds",
            "Time from a request to its answer",
            buckets=_ANSWER_BUCKETS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    def observe_call(self, method: str, grpc_status: str | None, latency: float) -> None:
        """Count one call of `latency` seconds; `grpc_status` is None if it could not be made."""
        self._calls.labels(method, grpc_status or "unknown-non-grpc").observe(latency)

    def observe_answer(self, endpoint: str, code: int, latency: float) -> None:
        """Count one HTTP answer that took `latency` seconds."""
        self._answers.labels(endpoint, code).inc()
        self._answer_seconds.observe(latency)

    def text(self) -> tuple[str, bytes]:
        """Return a content type and all metrics, in Prometheus' own format."""
        return exposition.TEXT_CONTENT_TYPE, exposition.text(self._registry)

    def openmetrics(self) -> tuple[str, bytes]:
        """Return a content type and all metrics, in OpenMetrics."""
        return exposition.OPENMETRICS_CONTENT_TYPE, exposition.openmetrics(self._registry)


class _LookedUp(Collector):
    """The calls, by the driver's name, and all that one status tells."""

    def __init__(self, status: Callable[[], Status], calls: Collector) -> None:
        self._status = status
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        name = status.driver_name or "unknown-driver"
        for family in self._calls.collect():
            family.samples = [
                sample._replace(labels={"driver_name": name, **sample.labels})
                for sample in family.samples
            ]
            yield family
        for row in _TABLE:
            yield from row.collect(status, name)
        yield from _about_program(status)


def _about_program(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "livenessprobe_event_loop_lag_seconds", "How late the last Probe began", status.lag
    )
    build = GaugeMetricFamily(
        "livenessprobe_build_info",
        "The versions that run here",
        labels=["version", "python_version"],
    )
    build.add_metric([__version__, platform.python_version()], 1)
    yield build
    with suppress(OSError):  # no descriptor is left
        threads = os.listdir("/proc/self/task")  # noqa: PTH208 - a name each is all it takes
        yield GaugeMetricFamily(
            "process_threads", "Number of threads of the process.", len(threads)
        )
