"""A request as a value, so that an endpoint is a plain function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_REFUSED = re.compile(rb"q=0(\.0*)?")
_AUTHORITY = re.compile(r"https?://[^/]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client wants to know; anything in it may be hostile."""

    path: str
    """Decoded, without the query."""
    query: bytes = b""
    headers: Iterable[tuple[bytes, bytes]] = ()
    """Names in lower case."""
    method: str = "GET"
    """Matters to gRPC; for the rest, the question is the same whatever the method."""
    http_version: str = "1.1"
    """The word "2" for HTTP/2."""
    body: bytes = b""
    """Of a gRPC call, and of one that is too long only the beginning."""

    def asks_for(self, name: bytes) -> bool:
        """Return whether the query has this parameter, whatever its value."""
        return any(part.partition(b"=")[0] == name for part in self.query.split(b"&"))

    def accepts(self, what: bytes, *, by: bytes = b"accept") -> bool:
        """Return whether the header `by` names this very media type, or coding, as acceptable."""
        fields = b",".join(value for name, value in self.headers if name == by).lower()
        for element in fields.split(b","):
            name, *parameters = (part.strip() for part in element.split(b";"))
            if name == what:
                return not any(_REFUSED.fullmatch(parameter) for parameter in parameters)
        return False

    def header(self, name: bytes) -> bytes:
        """Return the value of the first header field of this name, or nothing."""
        return next((value for key, value in self.headers if key == name), b"")


def path_of(target: str) -> str:
    """Return the path of a request target, of one in the absolute form too (RFC 9112, 3.2.2)."""
    authority = _AUTHORITY.match(target)
    return target[authority.end() :] if authority else target
