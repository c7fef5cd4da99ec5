"""The loggers of this program's modules, and how much they say.

`configure` puts one handler on the root logger, so that a library's warning looks like a line
of ours. Whether an informational record comes to exist is decided before it is built: `-v`
sets the level, `--vmodule` a higher one for single source files. Warnings and errors always do.
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
    """Send every record to `stream`, in place of an earlier call's stream and settings.

    `logging_format` is "text" or "json". Of libraries, warnings and errors are logged.

    `vmodule` has pairs of a glob pattern and a level for the files it matches; the first match
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
        """Whether `info` at level `v` logs; ask before building values that cost something."""
        return v <= _verbosity.level_of(self._file)

    def info(self, msg: str, /, *, v: int = 0, **values: object) -> None:
        """Log at level `v`: 0 always, a higher one if `-v` or `--vmodule` reaches it."""
        if self.enabled(v):
            self._logger.info(msg, extra={LEVEL: v, VALUES: values}, stacklevel=2)

    def warning(self, msg: str, /, **values: object) -> None:
        """Log what somebody should look at, though all still works."""
        self._logger.warning(msg, extra={VALUES: values}, stacklevel=2)

    def error(
        self, msg: str, /, *, err: BaseException | str | None = None, **values: object
    ) -> None:
        """Log a failure and, if it is known, its cause."""
        if err is not None:
            values = {"err": err, **values}
        self._logger.error(msg, extra={VALUES: values}, stacklevel=2)

    def exception(self, msg: str, /, *, err: BaseException, **values: object) -> None:
        """Log a bug: a failure whose cause is shown with its stack trace."""
        values = {"err": err, **values}
        self._logger.error(msg, extra={VALUES: values}, exc_info=err, stacklevel=2)


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
