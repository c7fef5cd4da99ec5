"""A request as a value, so that an endpoint is a plain function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WEIGHT = re.compile(rb"q=([01](?:\.[0-9]{0,3})?)")
_AUTHORITY = re.compile(r"https?://[^/]*", re.IGNORECASE)


BODY_BYTES = 2048
"""What is kept of a request's body. The longest that an endpoint reads is half of that."""


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
    """Its first `BODY_BYTES`."""

    def asks_for(self, name: bytes) -> bool:
        """Return whether the query has this parameter, whatever its value."""
        return any(part.partition(b"=")[0] == name for part in self.query.split(b"&"))

    def accepts(self, what: bytes, *, by: bytes = b"accept", rather_than: bytes = b"") -> bool:
        """Return whether the header `by` names this very media type, or coding, as acceptable.

        If it names `rather_than` with a higher weight, it does not (RFC 9110, 12.4.2).
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
    """Return the path of a request target, of one in the absolute form too (RFC 9112, 3.2.2)."""
    authority = _AUTHORITY.match(target)
    return target[authority.end() :] if authority else target
