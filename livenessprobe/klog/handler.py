"""From records to lines on a stream: one write for each, no exception and no wait."""

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
    """Writes one record per call; never raises or waits, since a probe outranks its log."""

    def __init__(self, stream: TextIO, render: Callable[[logging.LogRecord], str]) -> None:
        super().__init__()
        self._stream = stream
        self._render = render
        self._dropped = 0
        self._within_line = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, and before it how many had to be dropped, if any had."""
        lines = [self.format(record)]
        if self._dropped:
            lines.insert(0, self._render(_notice(record, self._dropped)))
        if self._within_line:  # what was cut short has a line of its own
            lines.insert(0, "")
        text = "".join(f"{line}\n" for line in lines)
        written = write_nowait(self._stream, text)
        if written:
            self._within_line = text[written - 1] != "\n"
        self._dropped = 0 if written == len(text) else self._dropped + 1

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, or one that tells what is wrong with the record."""
        try:
            return self._render(record)
        except Exception as error:  # noqa: BLE001 - anything, a value's __str__ is called
            return self._render(_malformed(record, error))


def _notice(record: logging.LogRecord, dropped: int) -> logging.LogRecord:
    message = "Log lines were dropped: nobody read them"
    return _replacement(record, logging.WARNING, message, lines=dropped)


def _malformed(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    exc_info = type(error), error, error.__traceback__
    return _replacement(record, logging.ERROR, "Malformed log call", exc_info)


def _replacement(
    record: logging.LogRecord, level: int, message: str, exc_info: _ExcInfo = None, **values: object
) -> logging.LogRecord:
    """Return a record of our own, at the place of the one that gave rise to it."""
    replacement = logging.LogRecord(
        record.name, level, record.pathname, record.lineno, message, None, exc_info
    )
    setattr(replacement, VALUES, values)
    return replacement
