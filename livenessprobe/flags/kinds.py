"""Converts the text of a flag's value, with the reference's error texts.

Each function raises ValueError with the reason, to which `go` adds the flag's name and value. Each
takes time proportional to the length of the text, whatever it contains.
"""

from __future__ import annotations

import re
from typing import NoReturn

from livenessprobe.flags.go import Kind, quote

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def boolean(text: str) -> bool:
    """Convert the text of a boolean as Go's `flag.Bool` does."""
    if text not in _TRUE | _FALSE:
        raise ValueError("parse error")
    return text in _TRUE


def automaxprocs(text: str) -> bool:
    """Convert as the `flag.BoolFunc` of csi-lib-utils does: an empty text is true."""
    if text not in _TRUE | _FALSE | {""}:
        _refuse("ParseBool", text, "invalid syntax")
    return text not in _FALSE


def _refuse(function: str, text: str, reason: str) -> NoReturn:
    raise ValueError(f"strconv.{function}: parsing {quote(text)}: {reason}")


_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "\N{MICRO SIGN}s": 10**3,
    "\N{GREEK SMALL LETTER MU}s": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
# More than 19 digits before the point overflow in every unit, and a digit after the 18th behind
# the point is less than a nanosecond. Go ignores it too, and int() refuses thousands of digits.
_TERM = rf"(?=\.?[0-9])0*+([0-9]{{0,19}})(?:\.([0-9]{{0,18}})[0-9]*)?({'|'.join(_NANOSECONDS)})"
_DURATION_TEXT = re.compile(rf"([+-]?)(0|(?:{_TERM})+)")


def duration(text: str) -> float:
    """Convert a duration such as `1m1.5s`, `300ms` or `0` to seconds."""
    match = _DURATION_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("parse error")
    nanoseconds: int = sum(
        int(whole or 0) * _NANOSECONDS[unit]
        + int(fraction or 0) * _NANOSECONDS[unit] // 10 ** len(fraction)
        for whole, fraction, unit in re.findall(_TERM, match[2])
    )
    if match[1] == "-":
        nanoseconds = -nanoseconds
    if not -(2**63) <= nanoseconds < 2**63:
        raise ValueError("parse error")
    return nanoseconds / 10**9


def interval(text: str) -> float | None:
    """Convert `auto` to None, or a duration to seconds."""
    if text == "auto":
        return None
    try:
        return duration(text)
    except ValueError:
        raise ValueError("give auto, or a duration such as 500ms or 10s") from None


def output(text: str) -> str:
    """Return the name of an output format."""
    if text not in {"text", "json"}:
        raise ValueError("give text or json")
    return text


# klog keeps a level in an int32.
_HIGHEST_LEVEL = 2**31 - 1


def level(text: str) -> int:
    """Convert a verbosity: decimal digits without a sign, at most 2**31 - 1."""
    if not text:
        _refuse("ParseUint", text, "invalid syntax")
    number = 0
    for digit in text:
        if digit not in "0123456789":
            _refuse("ParseUint", text, "invalid syntax")
        number = 10 * number + int(digit)
        if number > _HIGHEST_LEVEL:
            _refuse("ParseUint", text, "value out of range")
    return number


def vmodule(text: str) -> tuple[tuple[str, int], ...]:
    """Convert `pattern=N,...` to pairs of a pattern and a level."""
    return tuple(_vmodule_item(item) for item in text.split(",") if item)


def _vmodule_item(item: str) -> tuple[str, int]:
    pattern, _, number = item.partition("=")
    if not pattern or not number or "=" in number:
        raise ValueError(f"{quote(item)} does not have the pattern=N format")
    try:
        return pattern, level(number)
    except ValueError as error:
        raise ValueError(f"parsing verbosity in {quote(item)}: {error}") from error


_QUANTITY = re.compile(
    r"[+-]?(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)


def nonzero(text: str) -> bool:
    """Return whether a Kubernetes quantity such as `4Ki` is not zero; its size is not needed."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError("not a quantity such as 512, 1k or 4Ki")
    return match["number"].strip("0.") != ""


TEXT = Kind(read=str)
BOOLEAN = Kind(read=boolean, switch=True)
AUTOMAXPROCS = Kind(read=automaxprocs, switch=True)
DURATION = Kind(read=duration)
INTERVAL = Kind(read=interval)
OUTPUT = Kind(read=output)
LEVEL = Kind(read=level)
VMODULE = Kind(read=vmodule, adds_up=True)
QUANTITY = Kind(read=nonzero)
