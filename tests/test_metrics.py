import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from livenessprobe.metrics import CONTENT_TYPE, GET_PLUGIN_INFO, PROBE, Metrics

REFERENCE_BUCKETS = [
    "0.1",
    "0.25",
    "0.5",
    "1",
    "2.5",
    "5",
    "10",
    "15",
    "25",
    "50",
    "120",
    "300",
    "600",
    "+Inf",
]


class Names:
    """A driver's name that becomes known."""

    name: str | None = None

    def __call__(self) -> str | None:
        return self.name


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def metrics(names: Names) -> Metrics:
    return Metrics(names)


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read what is rendered, with Prometheus' own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def test_the_content_type_is_the_references() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def test_calls_are_counted_and_timed_by_method_and_status(metrics: Metrics, names: Names) -> None:
    names.name = "fake.csi"
    metrics.observe_call(PROBE, "OK", 0.002)
    metrics.observe_call(PROBE, "OK", 0.3)
    metrics.observe_call(GET_PLUGIN_INFO, "Unimplemented", 0.5)
    labels = {"driver_name": "fake.csi", "method_name": PROBE, "grpc_status_code": "OK"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 2
    assert value(metrics, "csi_sidecar_operations_seconds_sum", **labels) == pytest.approx(0.302)
    for bound, count in [("0.001", 0), ("0.0025", 1), ("0.25", 1), ("0.5", 2), ("+Inf", 2)]:
        name = "csi_sidecar_operations_seconds_bucket"
        assert value(metrics, name, **labels, le=bound) == count
    labels |= {"method_name": GET_PLUGIN_INFO, "grpc_status_code": "Unimplemented"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 1


def test_all_the_references_buckets_are_there_and_finer_ones(metrics: Metrics) -> None:
    metrics.observe_call(PROBE, "OK", 0.002)
    bounds = re.findall(r'le="(.*?)"', metrics.render().decode())
    assert bounds[:6] == ["0.001", "0.0025", "0.005", "0.01", "0.025", "0.05"]
    assert bounds[6:] == REFERENCE_BUCKETS  # as text, or they would be other series


def test_a_call_that_could_not_be_made_has_no_grpc_status(metrics: Metrics) -> None:
    metrics.observe_call(PROBE, None, 0.002)
    labels = {"driver_name": "unknown-driver", "method_name": PROBE}
    name = "csi_sidecar_operations_seconds_count"
    assert value(metrics, name, **labels, grpc_status_code="unknown-non-grpc") == 1


def test_once_the_name_is_known_no_series_is_without_it(metrics: Metrics, names: Names) -> None:
    metrics.observe_call(PROBE, "OK", 0.002)
    assert b"unknown-driver" in metrics.render()
    names.name = "fake.csi"
    metrics.observe_call(PROBE, "OK", 0.002)
    assert b"unknown-driver" not in metrics.render()
    labels = {"driver_name": "fake.csi", "method_name": PROBE, "grpc_status_code": "OK"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 2


def test_the_process_is_described(metrics: Metrics) -> None:
    start = value(metrics, "process_start_time_seconds")
    assert start is not None
    assert start > 1.7e9  # a Unix time of this decade


def test_any_name_is_a_label(metrics: Metrics, names: Names) -> None:
    names.name = 'a"b\\c\nd\u202e<script>'
    metrics.observe_call(PROBE, "OK", 0.002)
    labels = {"driver_name": names.name, "method_name": PROBE, "grpc_status_code": "OK"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 1
