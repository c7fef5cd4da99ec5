"""Go's flag package: argv to the text of each flag, in Go's syntax and with its messages.

It knows kinds of value, but no flag: which names there are is an argument.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe import strconv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class UsageError(Exception):
    """Go's flag package would refuse this command line: exit status 2, with the usage."""


class HelpRequested(Exception):  # noqa: N818 - to ask for help is no error
    """`-h` or `--help` was given: exit status 0, with the usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a flag takes its value.

    Attributes:
        read: raises ValueError for a text that it cannot read; its message says why.
        switch: the value stands behind `=` or is `true`; it is never the next argument.
        adds_up: a flag given again adds to its text, behind a comma, instead of replacing it.

    """

    read: Callable[[str], object]
    switch: bool = False
    adds_up: bool = False


_ARGUMENT = re.compile(r"--?(?P<name>[^-=][^=]*)(?:=(?P<text>.*))?", re.DOTALL)
_HELP = frozenset({"h", "help"})


def scan(argv: Sequence[str], kinds: Mapping[str, Kind]) -> tuple[dict[str, str], Sequence[str]]:
    """Return the text of each flag given, in order of first appearance, and the arguments left.

    `kinds` has every flag by its name, without dashes.

    Raises:
        UsageError: an argument is no such flag, or its kind cannot read its value.
        HelpRequested: help was asked for, before anything wrong.

    """
    given: dict[str, str] = {}
    rest = deque(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.popleft()
        if argument == "--":
            break
        match = _ARGUMENT.fullmatch(argument)
        if match is None:
            raise UsageError(f"bad flag syntax: {_plain(argument)}")
        name = match["name"]
        kind = _kind(name, kinds)
        text = _text(name, kind, match["text"], rest)
        _check(name, kind, text)
        given[name] = f"{given[name]},{text}" if kind.adds_up and name in given else text
    return given, rest


def _kind(name: str, kinds: Mapping[str, Kind]) -> Kind:
    if name in kinds:
        return kinds[name]
    if name in _HELP:
        raise HelpRequested
    raise UsageError(f"flag provided but not defined: -{_plain(name)}")


def _text(name: str, kind: Kind, text: str | None, rest: deque[str]) -> str:
    if text is not None:
        return text
    if kind.switch:
        return "true"
    if not rest:
        raise UsageError(f"flag needs an argument: -{name}")
    return rest.popleft()


def _check(name: str, kind: Kind, text: str) -> None:
    try:
        kind.read(text)
    except ValueError as error:
        what = "boolean value" if kind.switch else "value"
        where = f"-{name}" if kind.switch else f"flag -{name}"
        raise UsageError(f"invalid {what} {quote(text)} for {where}: {error}") from error


# A value is as long as the kernel lets it be; of more than this nobody reads the end.
_SHOWN = 100


def quote(text: str) -> str:
    """Return the first 100 characters of `text` as Go's %q shows them, with dots behind a cut."""
    dots = "..." if len(text) > _SHOWN else ""
    return strconv.quote(text[:_SHOWN]) + dots


def _plain(text: str) -> str:
    """Return `text` without quotes, as Go shows what is no value, if that does no harm."""
    harmless = len(text) <= _SHOWN and text.isprintable()
    return text if harmless else quote(text)
