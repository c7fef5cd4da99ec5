"""Prometheus metrics: the reference's, and what else there is to know about driver and sidecar.

Calls and answers are counted when they end. Everything else is looked up in the `Status` when the
metrics are read, and so is the driver's name, a label of every metric about the driver: it is often
unknown during the first calls, which are then counted under the name that becomes known later.
"""

from __future__ import annotations

import os
import platform
from bisect import bisect_left
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from livenessprobe import __version__
from livenessprobe.health.result import ProbeStatus
from livenessprobe.telemetry.exposition import family, series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from livenessprobe.health.result import ProbeResult
    from livenessprobe.telemetry.exposition import Sample
    from livenessprobe.telemetry.status import Status

PROBE = "/csi.v1.Identity/Probe"
GET_PLUGIN_INFO = "/csi.v1.Identity/GetPluginInfo"

# Upper bounds in seconds, as texts since they are label values. These are the ones of all CSI
# sidecars, so that a query over several of them adds up.
_BOUNDS = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "15", "25", "50", "120", "300", "600")

# A Probe usually takes a few milliseconds. GetPluginInfo is called once in a driver's life.
_FINE_BOUNDS = {PROBE: ("0.001", "0.005", "0.025")}

_STATES = {status: status.value.replace(" ", "_") for status in ProbeStatus} | {None: "unknown"}

_STATES_OFF = dict.fromkeys(_STATES.values(), 0)


@dataclass(slots=True)
class _Latencies:
    """The latencies of the calls of one method that ended with one gRPC status, in seconds."""

    bounds: tuple[str, ...]
    counts: list[int] = field(init=False)
    """Calls by the lowest bound that they did not exceed; the last are those that exceeded all."""
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, latency: float) -> None:
        self.counts[bisect_left(self.bounds, latency, key=float)] += 1
        self.sum += latency

    def buckets(self) -> Iterator[tuple[str, float]]:
        """Return the bounds, each with the number of calls that did not exceed it."""
        return zip((*self.bounds, "+Inf"), accumulate(self.counts), strict=True)


@dataclass(frozen=True, slots=True)
class _Row:
    """A metric about the driver that is looked up."""

    kind: str
    name: str
    """What comes after `livenessprobe_`."""
    documentation: str
    value: Callable[[Status], float | Mapping[str, float] | None]
    """Returns the number, or a number for each value of `label`, or None if there is none yet."""
    label: str = ""

    def text(self, status: Status, driver_name: str) -> str:
        """Return its lines."""
        value = self.value(status)
        if value is None:
            return ""
        name = f"livenessprobe_{self.name}"
        samples: list[Sample]
        if isinstance(value, (float, int)):
            samples = [(series(name, driver_name=driver_name), value)]
        else:
            samples = [
                (series(name, driver_name=driver_name, **{self.label: key}), number)
                for key, number in value.items()
            ]
        return family(name, self.kind, self.documentation, samples)


_gauge = partial(_Row, "gauge")
_counter = partial(_Row, "counter")

_TABLE = (
    _gauge(
        "up",
        "Whether the driver is healthy, as /healthz would say",
        lambda status: status.verdict.healthy,
    ),
    _gauge(
        "state",
        "How the last Probe ended; unknown if there was none, or too long ago",
        lambda status: _STATES_OFF | {_STATES[status.state]: 1},
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
        "transitions_total",
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
        "failures_total",
        "Probes that were not healthy, by how they ended",
        lambda status: {_STATES[how]: n for how, n in status.history.failures.items()},
        "reason",
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
        "missed_deadlines_total",
        "Times that there was no new result when there should have been one",
        lambda status: status.missed_deadlines,
    ),
)


def _time(result: ProbeResult | None, status: Status) -> float | None:
    return None if result is None else result.finished_at + status.epoch


class Metrics:
    """What `/metrics` shows. `status` returns what is known at the moment."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status
        self._calls: dict[tuple[str, str], _Latencies] = {}
        self._answers: Counter[tuple[str, int]] = Counter()
        self._answer_seconds = 0.0
        self._process = ProcessCollector(registry=None)

    def observe_call(self, method: str, grpc_status: str | None, latency: float) -> None:
        """Count one call of `latency` seconds; `grpc_status` is None if it could not be made."""
        key = method, grpc_status or "unknown-non-grpc"
        if key not in self._calls:
            self._calls[key] = _Latencies((*_FINE_BOUNDS.get(method, ()), *_BOUNDS))
        self._calls[key].observe(latency)

    def observe_answer(self, endpoint: str, code: int, latency: float) -> None:
        """Count one HTTP answer that took `latency` seconds."""
        self._answers[endpoint, code] += 1
        self._answer_seconds += latency

    def text(self) -> bytes:
        """Return all metrics in the format of `exposition.CONTENT_TYPE`."""
        status = self._status()
        driver_name = status.driver_name or "unknown-driver"
        families = [
            self._operations(driver_name),
            *(row.text(status, driver_name) for row in _TABLE),
            *self._http(),
            *_about_program(status),
            *self._about_process(),
        ]
        return "".join(families).encode()

    def _operations(self, driver_name: str) -> str:
        name = "csi_sidecar_operations_seconds"
        samples: list[Sample] = []
        for (method, grpc_status), latencies in self._calls.items():
            labels = series(
                "", driver_name=driver_name, grpc_status_code=grpc_status, method_name=method
            )
            bucket = f"{name}_bucket{labels.removesuffix('}')}"
            samples += [(f'{bucket},le="{bound}"}}', count) for bound, count in latencies.buckets()]
            samples.append((f"{name}_sum{labels}", latencies.sum))
            samples.append((f"{name}_count{labels}", sum(latencies.counts)))
        return family(
            name,
            "histogram",
            "[ALPHA] Container Storage Interface operation duration with gRPC error code status"
            " total",
            samples,
        )

    def _http(self) -> Iterator[str]:
        name = "livenessprobe_http_responses_total"
        yield family(
            name,
            "counter",
            "HTTP answers by path, or other, and by status code",
            [
                (series(name, code=str(code), endpoint=endpoint), number)
                for (endpoint, code), number in self._answers.items()
            ],
        )
        name = "livenessprobe_http_response_seconds"
        yield family(
            name,
            "summary",
            "Time from a request to its answer",
            [(f"{name}_sum", self._answer_seconds), (f"{name}_count", self._answers.total())],
        )

    def _about_process(self) -> Iterator[str]:
        for metric in self._process.collect():
            # The library strips a counter's suffix, which is part of its name in this format.
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            samples = [(sample.name, sample.value) for sample in metric.samples]
            yield family(name, metric.type, metric.documentation, samples)


def _about_program(status: Status) -> Iterator[str]:
    name = "livenessprobe_event_loop_lag_seconds"
    yield family(name, "gauge", "How late the last Probe began", [(name, status.lag)])
    name = "livenessprobe_build_info"
    versions = series(name, python_version=platform.python_version(), version=__version__)
    yield family(name, "gauge", "The versions that run here", [(versions, 1)])
    with suppress(OSError):  # no descriptor is left
        threads = os.listdir("/proc/self/task")  # noqa: PTH208 - a name each is all it takes
        name = "process_threads"
        yield family(name, "gauge", "Number of threads of the process.", [(name, len(threads))])
