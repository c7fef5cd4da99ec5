"""The manifests for the Prometheus Operator, held against the program and the rules.

What their relabelings do is seen by test_alerts.py, which scrapes with them.
"""

import re
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from livenessprobe import flags
from tests.prometheus.harness import ROOT
from tests.prometheus.monitors import documents, endpoint

MONITORS = ["podmonitor.yaml", "servicemonitor.yaml"]


@pytest.mark.parametrize("file", MONITORS)
def test_it_scrapes_the_path_where_metrics_are(file: str) -> None:
    config = flags.parse(["--http-endpoint=:9808"])
    assert endpoint(file)["path"] == config.metrics_path


def test_both_make_the_same_labels_of_the_same_port() -> None:
    pod, service = map(endpoint, MONITORS)
    assert pod == service


def test_the_commands_in_the_comments_serve_metrics() -> None:
    text = (ROOT / "deploy" / "prometheus" / "podmonitor.yaml").read_text()
    commands = re.findall(r"^#     (--\S+(?: --\S+)?) ", text, re.MULTILINE)
    served = [flags.parse(command.replace("$(POD_IP)", "::1").split()) for command in commands]
    assert [config.metrics_address for config in served] == [":9808", ":9809", "[::1]:29808"]


def test_the_service_is_one_that_kubernetes_and_the_monitor_take() -> None:
    service, monitor = documents("servicemonitor.yaml")
    kubernetes_validate.validate(service, "1.34", strict=True)
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()
    assert service["metadata"]["namespace"] in monitor["spec"]["namespaceSelector"]["matchNames"]
    assert endpoint("servicemonitor.yaml")["port"] in {
        port["name"] for port in service["spec"]["ports"]
    }


def test_the_service_selects_the_pods_of_the_example() -> None:
    service, _ = documents("servicemonitor.yaml")
    example: Any = yaml.safe_load((ROOT / "deploy" / "example.yaml").read_text())
    labels = example["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
