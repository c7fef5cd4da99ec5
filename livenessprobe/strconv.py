"""Quotes and escapes strings, for flags and logs as Go's strconv.Quote does, and for JSON."""

import re

_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
}

# Python decodes a byte of a path that is not UTF-8 to a lone surrogate (PEP 383): 0xff to U+DCFF.
_UNDECODED_BYTES = range(0xDC80, 0xDD00)
_SURROGATE = re.compile("[\ud800-\udfff]")


def quote(text: str) -> str:
    """Return `text` in double quotes; characters that are not printable are escaped."""
    backslashed = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(backslashed)}"'


def escape(text: str, *, keep: str = "") -> str:
    """Return `text`; characters that are neither printable nor in `keep` are escaped."""
    if text.isprintable():  # str.isprintable() and Go's unicode.IsPrint agree
        return text
    return "".join(char if char.isprintable() or char in keep else _escape(char) for char in text)


def without_surrogates(text: str) -> str:
    """Return `text` with lone surrogates replaced, which UTF-8 and strict JSON parsers reject."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _escape(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if code in _UNDECODED_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    if char.isascii():
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - \u has four digits
