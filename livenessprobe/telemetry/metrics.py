"""Prometheus metrics: the reference's, and what else there is to know about driver and sidecar.

Calls and HTTP answers are counted when they end, by prometheus-client. Everything else is looked up
in the `Status` when the metrics are read. So is the driver's name, a label of every metric about
the driver, because it is often unknown during the first calls. `exposition` writes the text.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    Counter,
    Histogram,
    ProcessCollector,
    Summary,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from livenessprobe import __version__
from livenessprobe.health.result import ProbeStatus
from livenessprobe.telemetry import exposition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from livenessprobe.health.result import ProbeResult
    from livenessprobe.telemetry.status import Status

CONTENT_TYPE = f"{CONTENT_TYPE_PLAIN_0_0_4}; escaping=underscores"

PROBE = "/csi.v1.Identity/Probe"
GET_PLUGIN_INFO = "/csi.v1.Identity/GetPluginInfo"

_CALLS = (
    "csi_sidecar_operations_seconds",
    "[ALPHA] Container Storage Interface operation duration with gRPC error code status total",
)

# Seconds. All CSI sidecars have these buckets, so that a query over several of them adds up.
_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600)

# For Probes only, which usually take a few milliseconds.
_PROBE_BUCKETS = (0.001, 0.005, 0.025)

_STATES = {status: status.value.replace(" ", "_") for status in ProbeStatus} | {None: "unknown"}


class Metrics:
    """What `/metrics` shows. `status` returns what is known at the moment."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status
        self._calls: dict[tuple[str, str], Histogram] = {}
        """By gRPC status and method. With labels, a Histogram would copy them for each sample."""
        self._answers = Counter(
            "livenessprobe_http_responses",
            "HTTP answers by path, or other, and by status code",
            ["code", "endpoint"],
            registry=None,
        )
        self._answer_seconds = Summary(
            "livenessprobe_http_response_seconds",
            "Time from a request to its answer",
            registry=None,
        )
        self._process = ProcessCollector(registry=None)

    def observe_call(self, method: str, grpc_status: str | None, latency: float) -> None:
        """Count one call of `latency` seconds; `grpc_status` is None if it could not be made."""
        labels = grpc_status or "unknown-non-grpc", method
        if labels not in self._calls:
            buckets = (*_PROBE_BUCKETS, *_BUCKETS) if method == PROBE else _BUCKETS
            self._calls[labels] = Histogram(*_CALLS, buckets=buckets, registry=None)
        self._calls[labels].observe(latency)

    def observe_answer(self, endpoint: str, code: int, latency: float) -> None:
        """Count one HTTP answer that took `latency` seconds."""
        self._answers.labels(code, endpoint).inc()
        self._answer_seconds.observe(latency)

    def text(self) -> bytes:
        """Return all metrics in the format of `CONTENT_TYPE`."""
        status = self._status()
        driver = {"driver_name": status.driver_name or "unknown-driver"}
        calls = (
            (driver | {"grpc_status_code": code, "method_name": method}, histogram.collect())
            for (code, method), histogram in self._calls.items()
        )
        program = chain(
            _about_program(status),
            self._answers.collect(),
            self._answer_seconds.collect(),
            self._process.collect(),
        )
        text = exposition.text([*calls, (driver, _about_driver(status)), ({}, program)])
        return text.encode()


def _about_driver(status: Status) -> Iterator[Metric]:
    """Yield the metrics about the driver; one that has no value yet has no sample."""
    history, schedule, last = status.history, status.schedule, status.verdict.last
    yield GaugeMetricFamily(
        "livenessprobe_up",
        "Whether the driver is healthy, as /healthz would say",
        status.verdict.healthy,
    )
    state = GaugeMetricFamily(
        "livenessprobe_state",
        "How the last Probe ended; unknown if there was none, or too long ago",
        labels=["state"],
    )
    for how, name in _STATES.items():
        state.add_metric([name], how is status.state)
    yield state
    yield GaugeMetricFamily(
        "livenessprobe_probe_latency_seconds",
        "Time that the last Probe took",
        last.latency if last else None,
    )
    yield GaugeMetricFamily(
        "livenessprobe_probe_timeout_seconds", "Time that a Probe may take", schedule.probe_timeout
    )
    yield GaugeMetricFamily(
        "livenessprobe_result_age_seconds",
        "Time since the last Probe has ended",
        status.verdict.age if last else None,
    )
    yield GaugeMetricFamily(
        "livenessprobe_last_success_timestamp_seconds",
        "When the last healthy Probe ended, since the epoch",
        _time(history.last_success, status),
    )
    yield GaugeMetricFamily(
        "livenessprobe_last_change_timestamp_seconds",
        "When the driver turned healthy or unhealthy, since the epoch",
        _time(history.last_change, status),
    )
    transitions = CounterMetricFamily(
        "livenessprobe_transitions",
        "Times that the driver turned healthy or unhealthy",
        labels=["to"],
    )
    transitions.add_metric(["healthy"], history.became_healthy)
    transitions.add_metric(["unhealthy"], history.became_unhealthy)
    yield transitions
    yield GaugeMetricFamily(
        "livenessprobe_consecutive_failures",
        "Probes since the last healthy one",
        history.consecutive_failures,
    )
    failures = CounterMetricFamily(
        "livenessprobe_failures",
        "Probes that were not healthy, by how they ended",
        labels=["reason"],
    )
    for how, number in history.failures.items():
        failures.add_metric([_STATES[how]], number)
    yield failures
    yield GaugeMetricFamily(
        "livenessprobe_probe_interval_seconds",
        "Time from the start of the last Probe to when the next is due",
        schedule.next_interval,
    )
    periods = [caller.period for caller in schedule.callers]
    yield GaugeMetricFamily("livenessprobe_callers", "Callers whose period is known", len(periods))
    yield GaugeMetricFamily(
        "livenessprobe_caller_period_seconds",
        "The shortest period of a caller",
        min(periods, default=None),
    )
    yield CounterMetricFamily(
        "livenessprobe_missed_deadlines",
        "Times that there was no new result when there should have been one",
        status.missed_deadlines,
    )


def _time(result: ProbeResult | None, status: Status) -> float | None:
    return None if result is None else result.finished_at + status.epoch


def _about_program(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "livenessprobe_event_loop_lag_seconds", "How late the last Probe began", status.lag
    )
    build = GaugeMetricFamily(
        "livenessprobe_build_info",
        "The versions that run here",
        labels=["python_version", "version"],
    )
    build.add_metric([platform.python_version(), __version__], 1)
    yield build
    with suppress(OSError):  # no descriptor is left
        threads = os.listdir("/proc/self/task")  # noqa: PTH208 - a name each is all it takes
        yield GaugeMetricFamily(
            "process_threads", "Number of threads of the process.", len(threads)
        )
