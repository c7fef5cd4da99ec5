"""Formats a log record as a line in klog's text format or its JSON format.

Values are untrusted, since a driver chooses its error messages. So what is not printable is
escaped, and a line that continues a value starts with a tab or with " >". No value can forge a
line, control a terminal or make a line that is not UTF-8.
"""

from __future__ import annotations

import json
import logging
import math
import traceback
from datetime import UTC, datetime

from livenessprobe import strconv

# The attributes of a record that libraries' records lack.
LEVEL = "klog_v"
VALUES = "klog_values"


def text_line(record: logging.LogRecord) -> str:
    r"""Format like klog: `I1122 14:10:33.830042   24900 main.go:145] "message" key="value"`.

    The time is local. A value with newlines has lines of its own. The result does not end with a
    newline.
    """
    time = datetime.fromtimestamp(record.created, UTC).astimezone()
    header = (
        f"{_severity(record.levelno)}{time:%m%d %H:%M:%S.%f} {record.process:>7} "
        f"{record.filename}:{record.lineno}] {strconv.quote(record.getMessage())}"
    )
    pairs = (f" {key}={_text_value(value)}" for key, value in _values(record).items())
    return header + "".join(pairs)


def json_line(record: logging.LogRecord) -> str:
    """Format like klog's JSON format: one object with ts (milliseconds), caller, msg, v.

    Errors have no v, as in klog. The line is ASCII, so any stream can encode it.
    """
    file = "/".join(record.pathname.split("/")[-2:])
    fields: dict[str, object] = {
        "ts": record.created * 1000,
        "caller": f"{file}:{record.lineno}",
        "msg": record.getMessage(),
    }
    if record.levelno < logging.ERROR:
        fields["v"] = getattr(record, LEVEL, 0)
    fields |= _values(record)
    return json.dumps(
        {key: _json_value(value) for key, value in fields.items()}, separators=(",", ":")
    )


RENDER = {"text": text_line, "json": json_line}
"""The two formats, by the value of `--logging-format`."""


def _severity(levelno: int) -> str:
    if levelno >= logging.ERROR:
        return "E"  # klog's "F" is for an error that ends the process
    return "W" if levelno >= logging.WARNING else "I"


def _values(record: logging.LogRecord) -> dict[str, object]:
    values: dict[str, object] = getattr(record, VALUES, {})
    if record.exc_info:
        stacktrace = "".join(traceback.format_exception(record.exc_info[1]))
        return {**values, "stacktrace": stacktrace}
    return values


def _as_string(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) or repr(value)  # the str() of some exceptions is empty


def _json_value(value: object) -> object:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):  # JSON has no inf and no nan
        return value
    return strconv.without_surrogates(_as_string(value))


def _text_value(value: object) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = _as_string(value)
    return _indent(text) if "\n" in text else strconv.quote(text)


def _indent(text: str) -> str:
    # klog writes these lines unescaped, control characters included.
    lines = [strconv.escape(line, keep="\t") for line in text.removesuffix("\n").split("\n")]
    return "<\n" + "".join(f"\t{line}\n" for line in lines) + " >"
