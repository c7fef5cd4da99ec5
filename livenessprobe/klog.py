"""klog's text and JSON log lines, on stdlib logging.

`configure` puts one handler on the root logger, so that a library's warning looks like a line
of ours. Whether an informational record comes to exist is decided before it is built: `-v`
sets the level, `--vmodule` a higher one for single source files. Warnings and errors always do.

Values are hostile: a driver chooses its error messages. So whatever is not printable is
escaped, and a line that continues a value starts with a tab or with " >": no value can forge a
line, drive a terminal or make a line that is not UTF-8.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import re
import traceback
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TextIO

from livenessprobe import strconv
from livenessprobe.logstream import write_nowait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The attributes of a record that libraries' records lack.
_LEVEL = "klog_v"
_VALUES = "klog_values"


def configure(
    *,
    stream: TextIO,
    logging_format: str,
    verbosity: int,
    vmodule: Sequence[tuple[str, int]] = (),
) -> None:
    """Send every record to `stream`, in place of an earlier call's stream and settings.

    `logging_format` is "text" or "json". Of libraries, warnings and errors are logged.

    `vmodule` has pairs of a glob pattern and a level for the files it matches; the first match
    counts, and only if its level is above `verbosity`. A pattern is compared with the file's name
    without ".py", or, if it has a slash, with the whole path.
    """
    _verbosity.set(verbosity, vmodule)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler(stream, _RENDER[logging_format]))
    root.setLevel(logging.WARNING)


def get_logger(name: str) -> Logger:
    """Return the logger of the calling module; `name` is its `__name__`."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    file, *_ = logger.findCaller(stacklevel=2)
    return Logger(logger, file)


class Logger:
    """Logs for one module, each line with the file and line number of the caller.

    `values` become `key=value` pairs behind the message, or fields of the JSON object.
    """

    __slots__ = ("_file", "_logger")

    def __init__(self, logger: logging.Logger, file: str) -> None:
        self._logger = logger
        self._file = file

    def enabled(self, v: int) -> bool:
        """Whether `info` at level `v` logs; ask before building values that cost something."""
        return v <= _verbosity.level_of(self._file)

    def info(self, msg: str, /, *, v: int = 0, **values: object) -> None:
        """Log at level `v`: 0 always, a higher one if `-v` or `--vmodule` reaches it."""
        if self.enabled(v):
            self._logger.info(msg, extra={_LEVEL: v, _VALUES: values}, stacklevel=2)

    def warning(self, msg: str, /, **values: object) -> None:
        """Log what somebody should look at, though all still works."""
        self._logger.warning(msg, extra={_VALUES: values}, stacklevel=2)

    def error(
        self, msg: str, /, *, err: BaseException | str | None = None, **values: object
    ) -> None:
        """Log a failure and, if it is known, its cause."""
        if err is not None:
            values = {"err": err, **values}
        self._logger.error(msg, extra={_VALUES: values}, stacklevel=2)

    def exception(self, msg: str, /, *, err: BaseException, **values: object) -> None:
        """Log a bug: a failure whose cause is shown with its stack trace."""
        values = {"err": err, **values}
        self._logger.error(msg, extra={_VALUES: values}, exc_info=err, stacklevel=2)


class _Verbosity:
    """The levels that `-v` and `--vmodule` ask for; one assignment replaces them all."""

    __slots__ = ("level_of",)

    level_of: Callable[[str], int]

    def __init__(self) -> None:
        self.set(0, ())

    def set(self, verbosity: int, vmodule: Sequence[tuple[str, int]]) -> None:
        @functools.cache  # asked on every call of info(), and there are few files
        def level_of(file: str) -> int:
            matches = (level for pattern, level in vmodule if _matches(file, pattern))
            return max(verbosity, next(matches, verbosity))

        self.level_of = level_of


_verbosity = _Verbosity()


def _matches(file: str, pattern: str) -> bool:
    path = file.removesuffix(".py")
    return fnmatchcase(path if "/" in pattern else path.rpartition("/")[2], pattern)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes one record per call; never raises or waits, since a probe outranks its log."""

    def __init__(self, stream: TextIO, render: Callable[[logging.LogRecord], str]) -> None:
        super().__init__(stream)
        self._render = render
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        lines = [self.format(record)]
        if self._dropped:
            lines.insert(0, self._render(_notice_of_dropped(record, self._dropped)))
        try:
            written = write_nowait(self.stream, "".join(f"{line}\n" for line in lines))
        except (OSError, ValueError):
            self.handleError(record)
        else:
            self._dropped = 0 if written else self._dropped + 1

    def format(self, record: logging.LogRecord) -> str:
        try:
            return self._render(record)
        except Exception as error:  # noqa: BLE001 - anything, a value's __str__ is called
            return self._render(_malformed(record, error))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - stdlib's name
        # Only the stream is left to fail: it is closed, or nobody reads it any more. stdlib would
        # now write a traceback to stderr, the very stream that is broken. So the line is dropped,
        # whatever logging.raiseExceptions says.
        pass


def _notice_of_dropped(record: logging.LogRecord, number: int) -> logging.LogRecord:
    """Stand before the first record that can be written again, as if from the same place."""
    notice = logging.LogRecord(
        name=record.name,
        level=logging.WARNING,
        pathname=record.pathname,
        lineno=record.lineno,
        msg="Log lines were dropped: nobody read them",
        args=None,
        exc_info=None,
    )
    setattr(notice, _VALUES, {"lines": number})
    return notice


def _malformed(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    """Stand in for a record that cannot be rendered, at the place of the faulty call."""
    return logging.LogRecord(
        name=record.name,
        level=logging.ERROR,
        pathname=record.pathname,
        lineno=record.lineno,
        msg="Malformed log call",
        args=None,
        exc_info=(type(error), error, error.__traceback__),
    )


def _text_line(record: logging.LogRecord) -> str:
    r"""Render like klog: `I1122 14:10:33.830042   24900 main.go:145] "message" key="value"`.

    The time is local. A value that has a newline continues on lines of its own, without a
    newline after the last.
    """
    time = datetime.fromtimestamp(record.created, UTC).astimezone()
    header = (
        f"{_severity(record.levelno)}{time:%m%d %H:%M:%S.%f} {record.process:>7} "
        f"{record.filename}:{record.lineno}] {strconv.quote(record.getMessage())}"
    )
    pairs = (f" {key}={_text_value(value)}" for key, value in _values(record).items())
    return header + "".join(pairs)


def _json_line(record: logging.LogRecord) -> str:
    """Render like klog's JSON format: one object with ts (milliseconds), caller, msg, v.

    Errors have no v, as klog's have none. The line is ASCII, so any stream can encode it.
    """
    file = "/".join(record.pathname.split("/")[-2:])
    fields: dict[str, object] = {
        "ts": record.created * 1000,
        "caller": f"{file}:{record.lineno}",
        "msg": record.getMessage(),
    }
    if record.levelno < logging.ERROR:
        fields["v"] = getattr(record, _LEVEL, 0)
    fields |= _values(record)
    return json.dumps(
        {key: _json_value(value) for key, value in fields.items()}, separators=(",", ":")
    )


_RENDER = {"text": _text_line, "json": _json_line}


def _severity(levelno: int) -> str:
    if levelno >= logging.ERROR:
        return "E"  # klog's "F" would say that the process ended
    return "W" if levelno >= logging.WARNING else "I"


def _values(record: logging.LogRecord) -> dict[str, object]:
    values: dict[str, object] = getattr(record, _VALUES, {})
    if record.exc_info:
        stacktrace = "".join(traceback.format_exception(record.exc_info[1]))
        return {**values, "stacktrace": stacktrace}
    return values


def _as_string(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) or repr(value)  # many an exception's str() is empty


# Strict parsers refuse an escaped surrogate that has no partner.
_SURROGATE = re.compile("[\ud800-\udfff]")


def _json_value(value: object) -> object:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):  # JSON cannot say inf or nan
        return value
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _as_string(value))


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
    # Stricter than klog, which writes these lines as they are, escape sequences and carriage
    # returns too.
    lines = [strconv.escape(line, keep="\t") for line in text.removesuffix("\n").split("\n")]
    return "<\n" + "".join(f"\t{line}\n" for line in lines) + " >"
