"""Prometheus metrics in a registry of their own, compatible with the reference's.

A consumer of finished calls. The driver's name is a label of every call but often unknown at
the first ones, so it is put on when the metrics are read: no series is left behind under a
placeholder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

PROBE = "/csi.v1.Identity/Probe"
GET_PLUGIN_INFO = "/csi.v1.Identity/GetPluginInfo"

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

# Seconds. From 0.1 on they are those of the other CSI sidecars, so that queries over all of
# them keep working; a Probe usually takes a few milliseconds, hence the finer ones.
_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600),
)


class Metrics:
    """What `/metrics` shows. `driver_name` returns the name if it is known by now."""

    def __init__(self, driver_name: Callable[[], str | None]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._calls = Histogram(
            "csi_sidecar_operations_seconds",
            "[ALPHA] Container Storage Interface operation duration with gRPC error code status"
            " total",
            ["method_name", "grpc_status_code"],
            buckets=_BUCKETS,
            registry=None,
        )
        self._registry.register(_NamedByDriver(self._calls, driver_name))

    def observe_call(self, method: str, grpc_status: str | None, latency: float) -> None:
        """Count one call of `latency` seconds; `grpc_status` is None if it could not be made."""
        self._calls.labels(method, grpc_status or "unknown-non-grpc").observe(latency)

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class _NamedByDriver(Collector):
    """Reads a collector with `driver_name` as one more label, and bounds written as in Go."""

    def __init__(self, collector: Collector, driver_name: Callable[[], str | None]) -> None:
        self._collector = collector
        self._driver_name = driver_name

    def collect(self) -> Iterable[Metric]:
        name = self._driver_name() or "unknown-driver"
        for family in self._collector.collect():
            family.samples = [
                sample._replace(labels=_labels(name, sample.labels))
                for sample in family.samples
                if not sample.name.endswith("_created")  # a gauge per series that nobody reads
            ]
            yield family


def _labels(driver_name: str, labels: dict[str, str]) -> dict[str, str]:
    labels = {"driver_name": driver_name, **labels}
    if labels.get("le", "+Inf") != "+Inf":
        labels["le"] = f"{float(labels['le']):g}"  # "1" like the other sidecars, not "1.0"
    return labels
