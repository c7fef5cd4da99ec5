"""Writes log records to a stream without blocking, and drops what the stream does not accept."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, TextIO, TypeAlias

from livenessprobe.klog.render import VALUES
from livenessprobe.klog.stream import write_nowait

if TYPE_CHECKING:
    from collections.abc import Callable

_ExcInfo: TypeAlias = tuple[type[Exception], Exception, TracebackType | None] | None


class Handler(logging.Handler):
    """Writes one record per call. It never raises and never blocks: probing goes on without a log.

    `render` formats a record. The caller owns `stream` and keeps it open.
    """

    def __init__(self, stream: TextIO, render: Callable[[logging.LogRecord], str]) -> None:
        super().__init__()
        self._stream = stream
        self._render = render
        self._dropped = 0
        self._within_line = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; if records were dropped before it, first a line with their number."""
        lines = [self.format(record)]
        if self._dropped:
            lines.insert(0, self._render(_notice(record, self._dropped)))
        if self._within_line:  # ends the line that was cut short
            lines.insert(0, "")
        text = "".join(f"{line}\n" for line in lines)
        written = write_nowait(self._stream, text)
        if written:
            self._within_line = text[written - 1] != "\n"
        self._dropped = 0 if written == len(text) else self._dropped + 1

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, or one with the error if the record cannot be formatted."""
        try:
            return self._render(record)
        except Exception as error:  # noqa: BLE001 - a value's __str__ may raise anything
            return self._render(_malformed(record, error))


def _notice(record: logging.LogRecord, dropped: int) -> logging.LogRecord:
    message = "Log lines were dropped: stderr is not read"
    return _replacement(record, logging.WARNING, message, lines=dropped)


def _malformed(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    exc_info = type(error), error, error.__traceback__
    return _replacement(record, logging.ERROR, "Malformed log call", exc_info)


def _replacement(
    record: logging.LogRecord, level: int, message: str, exc_info: _ExcInfo = None, **values: object
) -> logging.LogRecord:
    """Return a new record with the logger, file and line of `record`."""
    replacement = logging.LogRecord(
        record.name, level, record.pathname, record.lineno, message, None, exc_info
    )
    setattr(replacement, VALUES, values)
    return replacement
