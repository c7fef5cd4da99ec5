"""What a real Prometheus server makes of the metrics."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.csi_driver import DRIVER_NAME, CsiDriver, named
from tests.e2e.harness import Sidecar
from tests.prometheus import monitors
from tests.prometheus.harness import RULES, Prometheus, program

# Of one healthy driver: each of them costs the server memory, on every node.
MOST_SERIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A server that scrapes the sidecar of a healthy driver and drops what the monitors drop."""

    sidecar: Sidecar
    prometheus: Prometheus


def start_sidecar(stack: ExitStack, folder: Path, name: str = DRIVER_NAME) -> Sidecar:
    """Start a driver with this name and its sidecar."""
    folder.mkdir(exist_ok=True)
    driver = stack.enter_context(CsiDriver(folder / "csi.sock"))
    driver.plugin_info = named(name)
    flags = (f"--csi-address={folder / 'csi.sock'}", "--http-endpoint=127.0.0.1:0")
    sidecar = stack.enter_context(Sidecar(*flags, log=folder / "log"))
    sidecar.wait_for_listeners(1)
    return sidecar


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    with ExitStack() as stack:
        sidecar = start_sidecar(stack, folder)
        prometheus = stack.enter_context(
            Prometheus(
                folder / "prometheus",
                metric_relabelings=monitors.metric_relabelings("podmonitor.yaml"),
            )
        )
        prometheus.scrape({f"127.0.0.1:{sidecar.address.port}": {}})
        prometheus.wait_for(f'livenessprobe_up{{driver_name="{DRIVER_NAME}"}} == 1')
        yield Scene(sidecar=sidecar, prometheus=prometheus)


def test_it_is_scraped_without_complaint(scene: Scene) -> None:
    scene.prometheus.wait_for("count_over_time(up[1m]) >= 3")
    (target,) = scene.prometheus.targets()
    assert target["health"] == "up"
    assert target["lastError"] == ""
    assert scene.prometheus.query("min_over_time(up[1m])")[0].value == 1
    assert scene.prometheus.complaints == []


def test_a_bucket_has_the_name_that_it_has_with_the_reference(scene: Scene) -> None:
    bounds = ["0.001", "0.005", "0.025", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "25"]
    # Prometheus 3 gives every whole bound a point, whoever wrote it.
    if scene.prometheus.get("status/buildinfo")["version"].startswith("3."):
        bounds = [str(float(bound)) for bound in bounds]
    buckets = scene.prometheus.query("csi_sidecar_operations_seconds_bucket")
    assert {bucket.labels["le"] for bucket in buckets} == {*bounds, "+Inf"}


def test_the_kinds_and_texts_of_all_metrics_arrive(scene: Scene) -> None:
    metadata = {item["metric"]: item for item in scene.prometheus.get("targets/metadata")}
    kinds = {
        "csi_sidecar_operations_seconds": "histogram",
        "livenessprobe_transitions_total": "counter",
        "livenessprobe_up": "gauge",
    }
    assert {name: metadata[name]["type"] for name in kinds} == kinds
    assert all(item["help"] for item in metadata.values())


def test_a_healthy_drivers_series_are_few(scene: Scene) -> None:
    # As in a cluster: kubelet asks every second here, which is learned from three requests,
    # Prometheus scrapes, and the driver has told its name.
    for _ in range(4):
        assert scene.sidecar.ask("/healthz").status == 200
        time.sleep(1.0)
    for there in (
        'csi_sidecar_operations_seconds_count{method_name="/csi.v1.Identity/GetPluginInfo"}',
        "livenessprobe_caller_period_seconds",
        'livenessprobe_http_responses_total{endpoint="/healthz"}',
        'livenessprobe_http_responses_total{endpoint="/metrics"}',
    ):
        scene.prometheus.wait_for(there)
    (kept,) = scene.prometheus.query("scrape_samples_post_metric_relabeling")
    (scraped,) = scene.prometheus.query("scrape_samples_scraped")
    assert kept.value <= MOST_SERIES < scraped.value, (kept.value, scraped.value)


def test_a_name_of_any_characters_is_one_label(tmp_path: Path) -> None:
    names = ['a"b\\c\nd', 'x"} 1', "ünï\U0001f600"]
    with ExitStack() as stack:
        sidecars = [
            start_sidecar(stack, tmp_path / str(number), name) for number, name in enumerate(names)
        ]
        prometheus = stack.enter_context(Prometheus(tmp_path / "prometheus"))
        prometheus.scrape({f"127.0.0.1:{sidecar.address.port}": {} for sidecar in sidecars})
        prometheus.wait_for('count(livenessprobe_up{driver_name!="unknown-driver"}) == 3')
        up = prometheus.query("livenessprobe_up")
        assert {sample.labels["driver_name"] for sample in up} == set(names)


@pytest.mark.parametrize(
    "file", [RULES, RULES.parents[1] / "runbook.md"], ids=lambda file: file.name
)
def test_the_metrics_that_rules_and_runbook_speak_of_are_there(file: Path, scene: Scene) -> None:
    spoken_of = set(
        re.findall(r"(?<![\w:])(?:livenessprobe|csi_sidecar|process)_\w+(?!\w*:)", file.read_text())
    )
    there = {
        sample.labels["__name__"] for sample in scene.prometheus.query('{job="livenessprobe"}')
    }
    assert spoken_of
    assert spoken_of <= there


def test_promtool_finds_nothing_wrong_with_the_text_format(scene: Scene) -> None:
    checked = subprocess.run(  # noqa: S603 - a program of the system's
        [program("promtool"), "check", "metrics"],
        input=scene.sidecar.ask("/metrics").body,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
