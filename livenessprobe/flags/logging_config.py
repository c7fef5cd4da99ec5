"""Validates the logging flags as Kubernetes' component-base does, with its error texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe.flags import kinds
from livenessprobe.flags.go import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def logging_errors(values: Mapping[str, str]) -> str | None:
    """Return all errors in the values of the flags as one text, or None if there is none."""
    errors = list(_errors(values))
    if len(errors) > 1:
        return f"[{', '.join(errors)}]"
    return errors[0] if errors else None


_ALPHA = "Forbidden: Feature LoggingAlphaOptions is disabled"


def _errors(values: Mapping[str, str]) -> Iterator[str]:
    """Yield each error with its path in Kubernetes' LoggingConfiguration, in Kubernetes' order."""
    flush_frequency = values["log-flush-frequency"]
    if kinds.duration(flush_frequency) <= 0:
        yield f"flushFrequency: Invalid value: {quote(flush_frequency)}: Must be greater than zero"
    logging_format = values["logging-format"]
    if logging_format not in {"text", "json"}:
        yield f"format: Invalid value: {quote(logging_format)}: Unsupported log format"
    if kinds.vmodule(values["vmodule"]) and logging_format not in {"text", ""}:
        yield "vmodule: Forbidden: Only supported for text log format"
    for options in ("text", "json"):
        if kinds.boolean(values[f"log-{options}-split-stream"]):
            yield f"options.{options}.splitStream: {_ALPHA}"
        if kinds.nonzero(values[f"log-{options}-info-buffer-size"]):
            yield f"options.{options}.infoBufferSize: {_ALPHA}"
