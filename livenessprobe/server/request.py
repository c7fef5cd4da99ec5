"""An HTTP request as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WEIGHT = re.compile(rb"q=([01](?:\.[0-9]{0,3})?)")
_AUTHORITY = re.compile(r"https?://[^/]*", re.IGNORECASE)


BODY_BYTES = 2048
"""How much of a request's body is kept. No endpoint reads more than half of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request; any client may have sent it, so everything in it may be malformed."""

    path: str
    """Decoded, without the query."""
    query: bytes = b""
    headers: Iterable[tuple[bytes, bytes]] = ()
    """Names in lower case."""
    method: str = "GET"
    """Only gRPC and CONNECT depend on it."""
    http_version: str = "1.1"
    """"1.0", "1.1" or "2"."""
    body: bytes = b""
    """Its first `BODY_BYTES`."""

    def asks_for(self, name: bytes) -> bool:
        """Return whether the query has a parameter of this name, with or without a value."""
        return any(part.partition(b"=")[0] == name for part in self.query.split(b"&"))

    def accepts(self, what: bytes, *, by: bytes = b"accept", rather_than: bytes = b"") -> bool:
        """Return whether the header `by` accepts this media type, or coding, by its full name.

        It does not if it names `rather_than` with a higher weight (RFC 9110, 12.4.2).
        """
        weights = dict(self._weights(by))
        weight = weights.get(what, 0.0)
        return weight > 0 and weight >= weights.get(rather_than, 0.0)

    def _weights(self, header: bytes) -> Iterator[tuple[bytes, float]]:
        fields = b",".join(value for name, value in self.headers if name == header).lower()
        for element in fields.split(b","):
            name, *parameters = (part.strip() for part in element.split(b";"))
            weights = [float(match[1]) for match in map(_WEIGHT.fullmatch, parameters) if match]
            yield name, weights[0] if weights else 1.0

    def header(self, name: bytes) -> bytes:
        """Return the value of the first header field of this name, or nothing."""
        return next((value for key, value in self.headers if key == name), b"")


def path_of(target: str) -> str:
    """Return the path of a request target in origin or absolute form (RFC 9112, 3.2)."""
    authority = _AUTHORITY.match(target)
    return target[authority.end() :] if authority else target
