"""What the manifests for the Prometheus Operator make of a scrape configuration."""

from typing import Any

import yaml

from tests.prometheus.harness import RULES

# The fields of a relabeling that the manifests use, as Prometheus itself spells them.
SPELLING = {
    "action": "action",
    "regex": "regex",
    "replacement": "replacement",
    "sourceLabels": "source_labels",
    "targetLabel": "target_label",
}


def documents(file: str) -> list[Any]:
    """Return what a file beside the rules consists of."""
    return list(yaml.safe_load_all((RULES.parent / file).read_text()))


def endpoint(file: str) -> Any:
    """Return the one endpoint of a monitor."""
    spec = documents(file)[-1]["spec"]
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    return endpoint


def relabelings(file: str, field: str = "relabelings") -> list[dict[str, Any]]:
    """Return the relabelings of a monitor, of targets or of samples, as Prometheus has them."""
    return [
        {SPELLING[field]: value for field, value in relabeling.items()}
        for relabeling in endpoint(file)[field]
    ]


def metric_relabelings(file: str) -> list[dict[str, Any]]:
    """Return the relabelings of the samples."""
    return relabelings(file, "metricRelabelings")
