"""Prometheus' text format 0.0.4, as the reference writes it.

prometheus-client has a writer of its own. It is not used: its module imports HTTP and mail servers,
which take 4 MiB of memory; it alone takes twice as long as the whole of `Metrics.text`; and it
writes whole numbers as 1.0 where the reference writes 1, so that the bucket `le="1"` in somebody's
alert would have another name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

Sample = tuple[str, float]
"""A series, as `series` writes it, and its value."""


def family(name: str, kind: str, documentation: str, samples: Iterable[Sample]) -> str:
    """Return the lines of one metric: its help, its type and its samples."""
    lines = [f"{series} {number(value)}\n" for series, value in samples]
    return f"{_head(name, kind, documentation)}{''.join(lines)}"


@lru_cache(maxsize=512)  # most of the text is names and labels, which hardly ever change
def series(name: str, **labels: str) -> str:
    """Return a series: a name with labels."""
    pairs = ",".join(f'{label}="{_quoted(value)}"' for label, value in labels.items())
    return f"{name}{{{pairs}}}" if pairs else name


def number(value: float) -> str:
    """Return `value` as a text; a whole number has no point, as in Go."""
    return f"{value:d}" if isinstance(value, int) else repr(value).removesuffix(".0")


@lru_cache(maxsize=128)
def _head(name: str, kind: str, documentation: str) -> str:
    return f"# HELP {name} {_escaped(documentation)}\n# TYPE {name} {kind}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(value: str) -> str:
    return _escaped(value).replace('"', r"\"")
