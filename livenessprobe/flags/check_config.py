"""Parses the flags of `livenessprobe check` into a `CheckConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe.flags import values
from livenessprobe.flags.go import UsageError, quote, scan
from livenessprobe.flags.table import CHECK_FLAGS

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """The parsed command line.

    Attributes:
        socket_path: as in `Config`.
        probe_timeout: seconds that all calls to the driver may take together; at least 0.1.
        output: `text` or `json`.

    """

    socket_path: str
    probe_timeout: float
    output: str


def parse_check(argv: Sequence[str]) -> CheckConfig:
    """Parse the arguments that follow `check`.

    Every error is a `UsageError`, with exit code 2, since exit code 1 means an unhealthy driver.

    Raises:
        UsageError: an argument is not a flag of this command, or its value is invalid.
        HelpRequested: `-h` or `--help` comes before the first error.

    """
    given, rest = scan(argv, {name: flag.kind for name, flag in CHECK_FLAGS.items()})
    if rest:
        raise UsageError(f"check takes flags only, not {quote(rest[0])}")
    texts = {name: flag.default for name, flag in CHECK_FLAGS.items()} | given
    try:
        return CheckConfig(
            socket_path=values.socket_path(texts),
            probe_timeout=values.probe_timeout(texts),
            output=texts["output"],
        )
    except values.ConfigError as error:
        raise UsageError(str(error)) from error
