"""What the flags of `livenessprobe explain` mean."""

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
    """What the command line asks for.

    Attributes:
        files: names of files with JSON, `-` for standard input; empty: standard input.
        output: `text` or `json`.
        reference: whether the other program, of this one and the reference, is shown beside.

    """

    files: tuple[str, ...]
    output: str
    reference: bool


def parse_explain(argv: Sequence[str]) -> ExplainConfig:
    """Read the arguments that follow the word `explain`.

    Raises:
        UsageError: an argument is no flag of ours, or its value cannot be read.
        HelpRequested: help was asked for, before anything wrong.

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
