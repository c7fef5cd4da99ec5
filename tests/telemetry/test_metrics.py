import gc
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from livenessprobe import __version__
from livenessprobe.health.result import ProbeStatus
from livenessprobe.telemetry.metrics import CONTENT_TYPE, GET_PLUGIN_INFO, PROBE, Metrics
from tests.world import EPOCH, PROBE_TIMEOUT, World

READY, NOT_READY, FAILED, TIMED_OUT, UNREACHABLE = ProbeStatus

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


HELP = "[ALPHA] Container Storage Interface operation duration with gRPC error code status total"


@pytest.fixture
def world() -> World:
    return World(driver_name="fake.csi")


@pytest.fixture
def metrics(world: World) -> Metrics:
    return Metrics(world)


def families(metrics: Metrics) -> list[Metric]:
    """Parse the text with Prometheus' own parser."""
    return list(text_string_to_metric_families(metrics.text().decode()))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    found = [
        sample.value
        for family in families(metrics)
        for sample in family.samples
        if (sample.name, sample.labels) == (name, labels)
    ]
    assert len(found) <= 1
    return found[0] if found else None


def of_driver(metrics: Metrics, name: str, **labels: str) -> float | None:
    return value(metrics, f"livenessprobe_{name}", driver_name="fake.csi", **labels)


# The format


def test_the_reference_would_write_its_metric_so(metrics: Metrics) -> None:
    metrics.observe_call(GET_PLUGIN_INFO, "OK", 0.25)
    metrics.observe_call(GET_PLUGIN_INFO, "OK", 601)
    name = "csi_sidecar_operations_seconds"
    labels = f'driver_name="fake.csi",grpc_status_code="OK",method_name="{GET_PLUGIN_INFO}"'
    counts = [0, *[1] * 12, 2]
    assert metrics.text().decode().splitlines()[:18] == [
        f"# HELP {name} {HELP}",
        f"# TYPE {name} histogram",
        *(
            f'{name}_bucket{{{labels},le="{bound}"}} {count}'
            for bound, count in zip(REFERENCE_BUCKETS, counts, strict=True)
        ),
        f"{name}_count{{{labels}}} 2",  # before the sum, as prometheus-client has it
        f"{name}_sum{{{labels}}} 601.25",
    ]


def test_the_content_type_is_the_references() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def test_every_metric_says_what_it_is(metrics: Metrics, world: World) -> None:
    metrics.observe_call(PROBE, "OK", 0.002)
    world.observe(READY, 10.0)
    assert all(family.documentation for family in families(metrics))
    assert all(family.type != "unknown" for family in families(metrics))


# Calls to the driver


def test_calls_are_counted_and_timed_by_method_and_status(metrics: Metrics) -> None:
    metrics.observe_call(PROBE, "OK", 0.002)
    metrics.observe_call(PROBE, "OK", 0.3)
    metrics.observe_call(GET_PLUGIN_INFO, "Unimplemented", 0.5)
    labels = {"driver_name": "fake.csi", "method_name": PROBE, "grpc_status_code": "OK"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 2
    assert value(metrics, "csi_sidecar_operations_seconds_sum", **labels) == pytest.approx(0.302)
    for bound, count in [("0.001", 0), ("0.005", 1), ("0.25", 1), ("0.5", 2), ("+Inf", 2)]:
        name = "csi_sidecar_operations_seconds_bucket"
        assert value(metrics, name, **labels, le=bound) == count
    labels |= {"method_name": GET_PLUGIN_INFO, "grpc_status_code": "Unimplemented"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 1


@pytest.mark.parametrize(
    ("method", "finer"), [(PROBE, ["0.001", "0.005", "0.025"]), (GET_PLUGIN_INFO, [])]
)
def test_a_probe_has_finer_buckets_than_the_references(
    metrics: Metrics, method: str, finer: list[str]
) -> None:
    metrics.observe_call(method, "OK", 0.002)
    bounds = re.findall(r'operations_seconds_bucket.*le="(.*?)"', metrics.text().decode())
    assert (
        bounds == finer + REFERENCE_BUCKETS
    )  # compared as text, which is part of the series' identity


def test_a_call_that_takes_as_long_as_a_bound_is_within_it(metrics: Metrics) -> None:
    metrics.observe_call(PROBE, "OK", 0.1)
    labels = {"driver_name": "fake.csi", "method_name": PROBE, "grpc_status_code": "OK"}
    for bound, count in [("0.025", 0), ("0.1", 1)]:
        name = "csi_sidecar_operations_seconds_bucket"
        assert value(metrics, name, **labels, le=bound) == count


def test_a_call_that_could_not_be_made_has_no_grpc_status(metrics: Metrics) -> None:
    metrics.observe_call(PROBE, None, 0.002)
    labels = {"driver_name": "fake.csi", "method_name": PROBE}
    name = "csi_sidecar_operations_seconds_count"
    assert value(metrics, name, **labels, grpc_status_code="unknown-non-grpc") == 1


def test_once_the_name_is_known_no_series_is_without_it(metrics: Metrics, world: World) -> None:
    world.driver_name = None
    metrics.observe_call(PROBE, "OK", 0.002)
    assert b"unknown-driver" in metrics.text()
    world.driver_name = "fake.csi"
    metrics.observe_call(PROBE, "OK", 0.002)
    assert b"unknown-driver" not in metrics.text()
    labels = {"driver_name": "fake.csi", "method_name": PROBE, "grpc_status_code": "OK"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 2


@given(st.text(st.sampled_from(',le="1.0\\\n') | st.characters(exclude_categories=["Cs"])))
@example("# EOF")
@example("\x00\r\x1b[2J")
@example("a_count 1\na_sum 2.0\n")
@example(',le="1.0",method_name="x"')
@example(",le=")
@example(",le=\\")
def test_any_name_is_a_label(name: str) -> None:
    metrics = Metrics(World(driver_name=name or None))
    metrics.observe_call(PROBE, "OK", 0.002)
    name = name or "unknown-driver"
    labels = {"driver_name": name, "method_name": PROBE, "grpc_status_code": "OK"}
    assert value(metrics, "csi_sidecar_operations_seconds_count", **labels) == 1
    assert value(metrics, "csi_sidecar_operations_seconds_bucket", **labels, le="1") == 1
    assert value(metrics, "livenessprobe_up", driver_name=name) == 0


# The driver


def states(metrics: Metrics) -> dict[str, float]:
    [family] = [family for family in families(metrics) if family.name == "livenessprobe_state"]
    return {sample.labels["state"]: sample.value for sample in family.samples}


NO_STATE = dict.fromkeys(("ready", "not_ready", "failed", "timed_out", "unreachable", "unknown"), 0)


def test_before_the_first_probe_nothing_is_made_up(metrics: Metrics) -> None:
    assert of_driver(metrics, "up") == 0
    assert states(metrics) == NO_STATE | {"unknown": 1}
    for name in (
        "probe_latency_seconds",
        "result_age_seconds",
        "last_success_timestamp_seconds",
        "last_change_timestamp_seconds",
        "probe_interval_seconds",
        "caller_period_seconds",
    ):
        assert of_driver(metrics, name) is None
    assert of_driver(metrics, "consecutive_failures") == 0
    assert of_driver(metrics, "transitions_total", to="healthy") == 0
    assert of_driver(metrics, "failures_total", reason="timed_out") == 0


def test_a_healthy_driver(metrics: Metrics, world: World) -> None:
    world.observe(READY, 10.0, latency=0.25)
    world.now = 12.5
    assert of_driver(metrics, "up") == 1
    assert states(metrics) == NO_STATE | {"ready": 1}
    assert of_driver(metrics, "probe_latency_seconds") == 0.25
    assert of_driver(metrics, "probe_timeout_seconds") == PROBE_TIMEOUT
    assert of_driver(metrics, "result_age_seconds") == 2.5
    assert of_driver(metrics, "last_success_timestamp_seconds") == EPOCH + 10
    assert of_driver(metrics, "last_change_timestamp_seconds") == EPOCH + 10


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (NOT_READY, "not_ready"),
        (FAILED, "failed"),
        (TIMED_OUT, "timed_out"),
        (UNREACHABLE, "unreachable"),
    ],
)
def test_a_driver_that_is_not(
    metrics: Metrics, world: World, status: ProbeStatus, state: str
) -> None:
    world.observe(READY, 10.0)
    world.observe(status, 20.0)
    world.observe(status, 21.0)
    assert of_driver(metrics, "up") == 0
    assert states(metrics) == NO_STATE | {state: 1}
    assert of_driver(metrics, "consecutive_failures") == 2
    assert of_driver(metrics, "failures_total", reason=state) == 2
    assert of_driver(metrics, "last_success_timestamp_seconds") == EPOCH + 10
    assert of_driver(metrics, "last_change_timestamp_seconds") == EPOCH + 20
    assert of_driver(metrics, "transitions_total", to="unhealthy") == 1
    assert of_driver(metrics, "transitions_total", to="healthy") == 0
    world.observe(READY, 30.0)
    assert of_driver(metrics, "consecutive_failures") == 0
    assert of_driver(metrics, "transitions_total", to="healthy") == 1


def test_a_result_too_old_is_none(metrics: Metrics, world: World) -> None:
    world.observe(READY, 10.0)
    world.now = 1000.0
    assert of_driver(metrics, "up") == 0
    assert states(metrics) == NO_STATE | {"unknown": 1}
    assert of_driver(metrics, "result_age_seconds") == 990


# The schedule


def test_the_schedule_in_force(metrics: Metrics, world: World) -> None:
    world.observe(READY, 10.0, latency=0.5)
    assert of_driver(metrics, "probe_interval_seconds") == pytest.approx(10)  # without callers
    world.schedule.began(19.5)
    assert of_driver(metrics, "probe_interval_seconds") == pytest.approx(10)


def test_callers(metrics: Metrics, world: World) -> None:
    assert of_driver(metrics, "callers") == 0
    for time in 3, 6, 7.5, 9, 12, 14.5, 15, 18, 21, 21.5:  # every 3 and every 7 seconds
        world.schedule.record_request(time, healthy=True)
    assert of_driver(metrics, "callers") == 2
    assert of_driver(metrics, "caller_period_seconds") == 3


def test_callers_who_stay_away_are_forgotten_at_a_fixed_interval_too() -> None:
    world = World(interval=5.0, driver_name="fake.csi")
    metrics = Metrics(world)
    for time in 1, 6, 11:
        world.schedule.record_request(time, healthy=True)
    world.observe(READY, 12.0)
    assert of_driver(metrics, "callers") == 1
    world.observe(READY, 100.0)
    assert of_driver(metrics, "callers") == 0


def test_missed_deadlines(metrics: Metrics, world: World) -> None:
    world.missed_deadlines = 3
    assert of_driver(metrics, "missed_deadlines_total") == 3


# The program


def test_answers_are_counted_and_timed(metrics: Metrics) -> None:
    metrics.observe_answer("/healthz", 200, 0.0004)
    metrics.observe_answer("/healthz", 200, 0.0007)
    metrics.observe_answer("/healthz", 500, 0.3)
    name = "livenessprobe_http_responses_total"
    assert value(metrics, name, endpoint="/healthz", code="200") == 2
    assert value(metrics, name, endpoint="/healthz", code="500") == 1
    name = "livenessprobe_http_response_seconds"
    assert value(metrics, f"{name}_sum") == pytest.approx(0.3011)
    assert value(metrics, f"{name}_count") == 3


def test_the_program_describes_itself(metrics: Metrics, world: World) -> None:
    world.lag = 0.125
    assert value(metrics, "livenessprobe_event_loop_lag_seconds") == 0.125
    [build] = [f for f in families(metrics) if f.name == "livenessprobe_build_info"]
    assert build.samples[0].labels["version"] == __version__
    assert (value(metrics, "process_threads") or 0) >= 1
    assert (value(metrics, "process_open_fds") or 0) > 1
    assert (value(metrics, "process_start_time_seconds") or 0) > 1.7e9  # a time of this decade


# The number of series


# Every node has them, scraped twice a minute. The reference has 33.
MOST_SERIES = 75


def number_of_series(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in families(metrics))


def test_a_healthy_driver_has_few_series(metrics: Metrics, world: World) -> None:
    metrics.observe_call(PROBE, "OK", 0.002)
    metrics.observe_call(GET_PLUGIN_INFO, "OK", 0.002)
    for number in range(3):
        world.schedule.record_request(10.0 * number, healthy=True)
    world.observe(READY, 30.0)
    for endpoint in "/healthz", "/metrics":
        metrics.observe_answer(endpoint, 200, 0.001)
    assert number_of_series(metrics) <= MOST_SERIES


def test_each_other_way_that_calls_end_adds_one_histogram(metrics: Metrics, world: World) -> None:
    metrics.observe_call(PROBE, "OK", 0.002)
    world.observe(READY, 10.0)
    before = number_of_series(metrics)
    metrics.observe_call(PROBE, "DeadlineExceeded", 3.0)
    for status in ProbeStatus:
        world.observe(status, 20.0)
    assert number_of_series(metrics) - before == len(REFERENCE_BUCKETS) + 3 + len(("sum", "count"))


def test_reading_them_leaves_nothing_behind(metrics: Metrics, world: World) -> None:
    world.observe(READY, 10.0)
    metrics.text()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        metrics.text()
    gc.collect()
    assert len(gc.get_objects()) - before < 50
