"""Provides the loggers of this program's modules, with klog's levels of verbosity.

`configure` puts one handler on the root logger, so that a library's warnings have the same format.
An informational message is logged if its level is at most that of `-v`, or of `--vmodule` for its
source file; this is decided before a record is built. Warnings and errors are always logged.
"""

from __future__ import annotations

import functools
import logging
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TextIO

from livenessprobe.klog.handler import Handler
from livenessprobe.klog.render import LEVEL, RENDER, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def configure(
    *,
    stream: TextIO,
    logging_format: str,
    verbosity: int,
    vmodule: Sequence[tuple[str, int]] = (),
) -> None:
    """Write every record to `stream`; this replaces the stream and settings of an earlier call.

    `logging_format` is "text" or "json". Libraries' warnings and errors are logged, too.

    `vmodule` has pairs of a glob pattern and a level for the files that match; the first match
    counts, and only if its level is above `verbosity`. A pattern is compared with the file's name
    without ".py", or, if it has a slash, with the whole path.
    """
    _verbosity.set(verbosity, vmodule)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Handler)]:
        root.removeHandler(handler)
    root.addHandler(Handler(stream, RENDER[logging_format]))
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
        """Return whether `info` logs at level `v`; for callers whose values are costly to build."""
        return v <= _verbosity.level_of(self._file)

    def info(self, msg: str, /, *, v: int = 0, **values: object) -> None:
        """Log a message if `v` is at most the level set by `-v` or `--vmodule`; 0 always is."""
        if self.enabled(v):
            self._logger.info(msg, extra={LEVEL: v, VALUES: values}, stacklevel=2)

    def warning(self, msg: str, /, **values: object) -> None:
        """Log something that needs attention although the program works."""
        self._logger.warning(msg, extra={VALUES: values}, stacklevel=2)

    def error(
        self, msg: str, /, *, err: BaseException | str | None = None, **values: object
    ) -> None:
        """Log a failure and, if known, its cause."""
        if err is not None:
            values = {"err": err, **values}
        self._logger.error(msg, extra={VALUES: values}, stacklevel=2)

    def exception(self, msg: str, /, *, err: BaseException, **values: object) -> None:
        """Log a bug of this program, with the stack trace of `err`."""
        values = {"err": err, **values}
        self._logger.error(msg, extra={VALUES: values}, exc_info=err, stacklevel=2)


class _Verbosity:
    """The levels set by `-v` and `--vmodule`."""

    __slots__ = ("level_of",)

    level_of: Callable[[str], int]

    def __init__(self) -> None:
        self.set(0, ())

    def set(self, verbosity: int, vmodule: Sequence[tuple[str, int]]) -> None:
        @functools.cache  # called by every info(), and there are few files
        def level_of(file: str) -> int:
            matches = (level for pattern, level in vmodule if _matches(file, pattern))
            return max(verbosity, next(matches, verbosity))

        self.level_of = level_of


_verbosity = _Verbosity()


def _matches(file: str, pattern: str) -> bool:
    path = file.removesuffix(".py")
    return fnmatchcase(path if "/" in pattern else path.rpartition("/")[2], pattern)
