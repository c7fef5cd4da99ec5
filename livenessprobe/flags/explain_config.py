"""Parses the flags of `livenessprobe explain` into an `ExplainConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe.flags import kinds
from livenessprobe.flags.go import UsageError, quote, scan
from livenessprobe.flags.table import EXPLAIN_FLAGS

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainConfig:
    """The parsed command line.

    Attributes:
        files: names of files with JSON, `-` for standard input; standard input if empty.
        output: `text` or `json`.
        reference: whether this program and the reference are shown side by side.

    """

    files: tuple[str, ...]
    output: str
    reference: bool


def parse_explain(argv: Sequence[str]) -> ExplainConfig:
    """Parse the arguments that follow `explain`.

    Raises:
        UsageError: an argument is not a flag of this command, or its value cannot be parsed.
        HelpRequested: `-h` or `--help` comes before the first error.

    """
    given, files = scan(argv, {name: flag.kind for name, flag in EXPLAIN_FLAGS.items()})
    for name in files:
        if name.startswith("-") and name != "-":
            raise UsageError(f"flags go before the files: {quote(name)} does not")
    texts = {name: flag.default for name, flag in EXPLAIN_FLAGS.items()} | given
    return ExplainConfig(
        files=tuple(files),
        output=texts["output"],
        reference=kinds.boolean(texts["reference"]),
    )
