"""What the flags of `livenessprobe check` mean."""

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
    """What the command line asks for.

    Attributes:
        socket_path: as in `Config`.
        probe_timeout: seconds that all of the driver's answers may take together; at least 0.1.
        output: `text` or `json`.

    """

    socket_path: str
    probe_timeout: float
    output: str


def parse_check(argv: Sequence[str]) -> CheckConfig:
    """Read the arguments that follow the word `check`.

    Its exit status 1 is the driver's, so all that is wrong with them is a matter of usage.

    Raises:
        UsageError: an argument is no flag of ours, or its value is not one to ask with.
        HelpRequested: help was asked for, before anything wrong.

    """
    given, rest = scan(argv, {name: flag.kind for name, flag in CHECK_FLAGS.items()})
    if rest:
        raise UsageError(f"check takes nothing but flags, and not {quote(rest[0])}")
    texts = {name: flag.default for name, flag in CHECK_FLAGS.items()} | given
    try:
        return CheckConfig(
            socket_path=values.socket_path(texts),
            probe_timeout=values.probe_timeout(texts),
            output=texts["output"],
        )
    except values.ConfigError as error:
        raise UsageError(str(error)) from error
