"""Writes metrics as Prometheus' client for Go does, in text format 0.0.4.

prometheus-client writes `le="1.0"` where Go's client, and so the reference, writes `le="1"`: for
Prometheus another series, which an alert on the reference's would miss. prometheus-client also
escapes every name and label of every sample each time, which takes most of a scrape.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import disable_created_metrics
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each, which nobody reads

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def text(groups: Iterable[tuple[Mapping[str, str], Iterable[Metric]]]) -> str:
    """Return counters, gauges, histograms and summaries as text.

    The labels of a group come first in each of its series. Metrics of one name that follow each
    other have one head.
    """
    lines: list[str] = []
    head = ""
    for labels, metrics in groups:
        common = tuple(labels.items())
        for metric in metrics:
            previous, head = head, _head(metric.name, metric.type, metric.documentation)
            if head != previous:
                lines.append(head)
            for name, more, value, *_ in metric.samples:
                lines.append(f"{_series(name, common, *more.items())} {_number(value)}\n")
    return "".join(lines)


@lru_cache(maxsize=64)
def _head(name: str, kind: str, documentation: str) -> str:
    if kind == "counter":
        name += "_total"
    return f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n"


@lru_cache(maxsize=512)
def _series(name: str, common: tuple[tuple[str, str], ...], *more: tuple[str, str]) -> str:
    pairs = [
        f'{label}="{value.removesuffix(".0") if label == "le" else value.translate(_ESCAPES)}"'
        for label, value in (*common, *more)
    ]
    return f"{name}{{{','.join(pairs)}}}" if pairs else name


@lru_cache(maxsize=128)  # many are counts of buckets, and the same
def _number(value: float) -> str:
    written: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return written.removesuffix(".0")
