"""Prometheus' two text formats.

prometheus-client writes both, but its module for the older one serves, pushes and scrapes too. The
HTTP and mail libraries that it brings along would be a fourteenth of this program's memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prometheus_client import disable_created_metrics
from prometheus_client.openmetrics import exposition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Sample

TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
OPENMETRICS_CONTENT_TYPE = exposition.CONTENT_TYPE_LATEST

disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge for each series, read by nobody

openmetrics = cast("Callable[[Collector], bytes]", exposition.generate_latest)
"""Return all of a collector in OpenMetrics 1.0."""


def text(collector: Collector) -> bytes:
    """Return all of a collector in the text format 0.0.4, with numbers as in Go: 1, not 1.0."""
    return "".join(line for family in collector.collect() for line in _lines(family)).encode()


def _lines(family: Metric) -> Iterator[str]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    yield f"# HELP {name} {_escape(family.documentation)}\n"
    yield f"# TYPE {name} {family.type}\n"
    for sample in family.samples:
        yield f"{sample.name}{_labels(sample)} {_plain(repr(float(sample.value)))}\n"


def _labels(sample: Sample) -> str:
    if not sample.labels:
        return ""
    pairs = ",".join(
        f'{name}="{_plain(value) if name == "le" else _quoted(value)}"'
        for name, value in sample.labels.items()
    )
    return f"{{{pairs}}}"


def _plain(number: str) -> str:
    return number.removesuffix(".0")


def _escape(words: str) -> str:
    return words.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(value: str) -> str:
    return _escape(value).replace('"', r"\"")
