"""Checks the metrics of the running command, as Prometheus reads them."""

import time
from collections import Counter

import pytest
from prometheus_client import Metric

from tests.csi_driver import DRIVER_NAME
from tests.e2e.conftest import StartDriver, StartSidecar
from tests.e2e.harness import DriverProcess, Sidecar

HTTP = "--http-endpoint=127.0.0.1:0"
HISTOGRAM = "csi_sidecar_operations_seconds"
PROBE = "/csi.v1.Identity/Probe"
GET_PLUGIN_INFO = "/csi.v1.Identity/GetPluginInfo"
REFERENCE_BUCKETS = ["0.1", "0.25", "0.5", "1", "2.5", "5", "10", "15", "25", "50", "120", "300"]
REFERENCE_BUCKETS += ["600", "+Inf"]


def operations(families: list[Metric]) -> Counter[tuple[str, str, str]]:
    """Count the calls by driver name, method and gRPC status code."""
    return Counter(
        {
            (
                sample.labels["driver_name"],
                sample.labels["method_name"],
                sample.labels["grpc_status_code"],
            ): int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == f"{HISTOGRAM}_count"
        }
    )


def test_each_way_that_a_probe_ends_is_counted(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    # A busy driver tells its name within this interval, or the call would be cancelled and counted.
    sidecar = start_sidecar(HTTP, "--probe-interval=1s")
    sidecar.wait_for(200, "ok")
    sidecar.wait_for_name()
    driver.tell("error 9 not healthy")
    sidecar.wait_for(500, "not healthy")
    driver.tell("hang")
    sidecar.wait_for(500, "context deadline exceeded")
    driver.socket.unlink()
    sidecar.wait_for(500, str(driver.socket))
    counted = operations(sidecar.metrics())
    assert set(counted) == {
        (DRIVER_NAME, PROBE, "OK"),
        (DRIVER_NAME, PROBE, "FailedPrecondition"),
        (DRIVER_NAME, PROBE, "DeadlineExceeded"),
        (DRIVER_NAME, PROBE, "unknown-non-grpc"),
        (DRIVER_NAME, GET_PLUGIN_INFO, "OK"),
    }
    assert all(counted.values())


def test_every_probe_is_counted_once(driver: DriverProcess, start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(HTTP)
    driver.wait_for_probes(5)
    driver.tell("hang")
    sidecar.wait_for(500, "context deadline exceeded")
    before = driver.counts.probes
    counted = sum(
        calls for (_, method, _), calls in operations(sidecar.metrics()).items() if method == PROBE
    )
    # The last one may still be in flight, or another one may have ended since.
    assert before - 1 <= counted <= driver.counts.probes


def test_the_drivers_name_is_on_every_series_once_it_is_known(
    start_driver: StartDriver, start_sidecar: StartSidecar
) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for(500, "no such file")
    start_driver()
    sidecar.wait_for(200, "ok")
    sidecar.wait_for_name()
    assert {name for name, _, _ in operations(sidecar.metrics())} == {DRIVER_NAME}


def test_answers_are_counted_by_path_and_status(
    driver: DriverProcess, start_sidecar: StartSidecar
) -> None:
    driver.tell("not-ready")
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for(500, "not ready")
    before = answers(sidecar)
    for path in "/livez", "/livez", "/readyz", "/no", "/nor/this":
        sidecar.ask(path)
    more = answers(sidecar) - before
    assert more == {
        ("/livez", "200"): 2,
        ("/readyz", "500"): 1,
        ("other", "404"): 2,
        ("/metrics", "200"): 1,  # the one for `before`
    }


def answers(sidecar: Sidecar) -> Counter[tuple[str, str]]:
    """Count the answers by endpoint and status."""
    return Counter(
        {
            (sample.labels["endpoint"], sample.labels["code"]): int(sample.value)
            for family in sidecar.metrics()
            for sample in family.samples
            if sample.name == "livenessprobe_http_responses_total"
        }
    )


# The first is curl's, the second that of Prometheus 2.42, the third that of 3.5.
@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/openmetrics-text;version=1.0.0, text/plain;version=0.0.4;q=0.5, */*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6, */*;q=0.2",
    ],
    ids=["anything", "Prometheus 2", "Prometheus 3"],
)
@pytest.mark.usefixtures("driver")
def test_all_metrics_of_the_reference_are_served(start_sidecar: StartSidecar, accept: str) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.wait_for(200, "ok")
    sidecar.wait_for_name()
    page = sidecar.ask("/metrics", accept=accept)
    assert page.headers["content-type"] == (
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    )
    head, *series = (line for line in page.body.splitlines() if HISTOGRAM in line)
    assert head == (
        f"# HELP {HISTOGRAM} [ALPHA] Container Storage Interface operation duration with gRPC"
        " error code status total"
    )
    assert series[0] == f"# TYPE {HISTOGRAM} histogram"
    labels = f'driver_name="{DRIVER_NAME}",grpc_status_code="OK",method_name='
    for method in PROBE, GET_PLUGIN_INFO:
        names = {line.rpartition(" ")[0] for line in series if method in line}
        assert names >= {
            f'{HISTOGRAM}_bucket{{{labels}"{method}",le="{bound}"}}' for bound in REFERENCE_BUCKETS
        }
        assert names >= {f'{HISTOGRAM}_{end}{{{labels}"{method}"}}' for end in ("sum", "count")}
    families = {family.name: family for family in sidecar.metrics()}
    started = families["process_start_time_seconds"].samples[0].value
    assert time.time() - 60 < started < time.time() + 1
