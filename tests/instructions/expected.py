"""The numbers of instructions that are committed, for each minor version of Python.

Builds of the same version differ, too: Debian's 3.11 takes a tenth less for an answer and a fifth
less for the start than one made with the defaults of Python's own sources. So these numbers are for
the build that the guard always runs with, and tell which it was.
"""

import json
import platform
from dataclasses import asdict
from pathlib import Path

from tests.instructions.measure import Instructions

FILE = Path(__file__).with_name("expected.json")

RECORD = "python -m tests.instructions"


def expected() -> Instructions:
    """Return the numbers for this Python; raise `LookupError` if there are none."""
    if (python := _python()) not in (known := _read()):
        raise LookupError(
            f"no numbers for Python {python}, only for {', '.join(known)}: "
            f"if they are right as they are now, record them with `{RECORD}`"
        )
    return known[python]


def record(counted: Instructions) -> None:
    """Let these be the numbers for this Python."""
    known = _read() | {_python(): counted}
    rows = {python: asdict(instructions) for python, instructions in sorted(known.items())}
    FILE.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _read() -> dict[str, Instructions]:
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return {python: Instructions(**row) for python, row in rows.items()}
