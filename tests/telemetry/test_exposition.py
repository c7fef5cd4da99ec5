import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Gauge, Histogram, Metric, Summary
from prometheus_client.parser import text_string_to_metric_families

from livenessprobe.telemetry import exposition


def test_each_kind_of_metric() -> None:
    counter = Counter("requests", "So many", ["code"], registry=None)
    counter.labels(200).inc()
    gauge = Gauge("up", "Or down", registry=None)
    histogram = Histogram("seconds", "In buckets", buckets=(0.5, 1, 1_000_000), registry=None)
    histogram.observe(0.75)
    summary = Summary("sizes", "In all", registry=None)
    summary.observe(3)
    metrics = [metric for each in (counter, gauge, histogram, summary) for metric in each.collect()]
    assert exposition.text([({}, metrics)]) == (
        "# HELP requests_total So many\n"
        "# TYPE requests_total counter\n"
        'requests_total{code="200"} 1\n'
        "# HELP up Or down\n"
        "# TYPE up gauge\n"
        "up 0\n"
        "# HELP seconds In buckets\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{le="0.5"} 0\n'
        'seconds_bucket{le="1"} 1\n'
        'seconds_bucket{le="1e+06"} 1\n'
        'seconds_bucket{le="+Inf"} 1\n'
        "seconds_count 1\n"
        "seconds_sum 0.75\n"
        "# HELP sizes In all\n"
        "# TYPE sizes summary\n"
        "sizes_count 1\n"
        "sizes_sum 3\n"
    )


def test_the_labels_of_a_group_come_first() -> None:
    gauge = Gauge("up", "Or down", ["state"], registry=None)
    gauge.labels("ready").set(1)
    text = exposition.text([({"driver_name": "fake.csi"}, gauge.collect())])
    assert text.splitlines()[2:] == ['up{driver_name="fake.csi",state="ready"} 1']


def test_a_metric_of_several_groups_has_one_head() -> None:
    gauges = [Gauge("up", "Or down", registry=None) for _ in range(2)]
    groups = [({"number": str(i)}, gauge.collect()) for i, gauge in enumerate(gauges)]
    assert exposition.text(groups) == (
        '# HELP up Or down\n# TYPE up gauge\nup{number="0"} 0\nup{number="1"} 0\n'
    )


def series(value: float, label: str) -> Metric:
    metric = Metric("up", "Or down", "gauge")
    metric.add_sample("up", {"a": label, "le": "1.0"}, value)
    return metric


@given(st.floats(), st.text(st.sampled_from('"\\\n.0') | st.characters(exclude_categories=["Cs"])))
def test_prometheus_reads_what_was_written(value: float, label: str) -> None:
    text = exposition.text([({}, [series(value, label)])])
    [family] = text_string_to_metric_families(text)
    [sample] = family.samples
    assert sample.labels == {"a": label, "le": "1"}
    assert sample.value == value or math.isnan(sample.value) is math.isnan(value) is True


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "1"),
        (0, "0"),
        (1e6, "1e+06"),
        (1764363000.25, "1.76436300025e+09"),
        (0.0021, "0.0021"),
        (math.inf, "+Inf"),
    ],
)
def test_numbers_are_written_as_go_does(value: float, written: str) -> None:
    assert exposition.text([({}, [series(value, "")])]).splitlines()[-1].split()[-1] == written
