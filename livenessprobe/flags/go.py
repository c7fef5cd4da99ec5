"""Parses argv like Go's flag package, with its syntax and its error messages.

The flags, with the kind of value of each, are an argument.
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
    """The command line is invalid to Go's flag package: exit code 2, with the usage."""


class HelpRequested(Exception):  # noqa: N818 - not an error
    """`-h` or `--help` was given: exit code 0, with the usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of flag, by its value.

    Attributes:
        read: converts the text of a value, or raises ValueError with the reason.
        switch: the value follows `=`, or is `true` without it; it is never the next argument.
        adds_up: a repeated flag appends its text after a comma, instead of replacing it.

    """

    read: Callable[[str], object]
    switch: bool = False
    adds_up: bool = False


_ARGUMENT = re.compile(r"--?(?P<name>[^-=][^=]*)(?:=(?P<text>.*))?", re.DOTALL)
_HELP = frozenset({"h", "help"})


def scan(argv: Sequence[str], kinds: Mapping[str, Kind]) -> tuple[dict[str, str], Sequence[str]]:
    """Return the text of each flag given, in order of first appearance, and the arguments left.

    `kinds` has the kind of every flag by its name, without dashes.

    Raises:
        UsageError: an argument is not one of these flags, or its value cannot be read.
        HelpRequested: `-h` or `--help` comes before the first error.

    """
    given: dict[str, str] = {}
    rest = deque(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.popleft()
        if argument == "--":
            break
        match = _ARGUMENT.fullmatch(argument)
        if match is None:
            raise UsageError(f"bad flag syntax: {_unquoted(argument)}")
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
    raise UsageError(f"flag provided but not defined: -{_unquoted(name)}")


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


# An argument may be as long as the kernel allows, 128 KiB; messages show its beginning.
_SHOWN = 100


def quote(text: str) -> str:
    """Return the first 100 characters of `text` as Go's %q, with dots if that cuts it short."""
    dots = "..." if len(text) > _SHOWN else ""
    return strconv.quote(text[:_SHOWN]) + dots


def _unquoted(text: str) -> str:
    """Return `text` as it is, as Go shows names and arguments, if it is short and printable."""
    return text if len(text) <= _SHOWN and text.isprintable() else quote(text)
