"""An HTTP response as a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json import dumps
from typing import TYPE_CHECKING

from livenessprobe.strconv import without_surrogates

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT_BYTES = 8 * 1024
"""The longest text body; the kubelet reads 10 KiB at most."""


PLAIN_TEXT = "text/plain; charset=utf-8"

Headers = tuple[tuple[bytes, bytes], ...]
"""Names in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole HTTP response; it can be sent any number of times."""

    status: int
    headers: Headers
    body: bytes
    trailers: Headers = ()
    """Header fields after the body, in HTTP/2 to a client that sends `te: trailers`."""


def make(status: int, content_type: str, body: bytes) -> Response:
    """Return a response with the header fields that every response has."""
    return Response(
        status=status,
        headers=(
            (b"content-type", content_type.encode("ascii")),
            (b"content-length", b"%d" % len(body)),
        ),
        body=body,
    )


def text(status: int, body: str) -> Response:
    """Return a plain-text response; `body` is cut to `MAX_TEXT_BYTES` of valid UTF-8."""
    return nosniff(make(status, PLAIN_TEXT, encode(body, MAX_TEXT_BYTES)))


def json(fields: Mapping[str, object]) -> Response:
    """Return a response of 200 in JSON."""
    body = without_surrogates(dumps(fields, ensure_ascii=False))
    return nosniff(make(200, "application/json", body.encode()))


def nosniff(response: Response) -> Response:
    """Let no browser take what a driver or a client has written for HTML."""
    return with_header(response, b"x-content-type-options", b"nosniff")


def encode(string: str, max_bytes: int) -> bytes:
    """Return as much of `string` in valid UTF-8 as `max_bytes` hold."""
    return string.encode(errors="replace")[:max_bytes].decode(errors="ignore").encode()


def with_header(response: Response, name: bytes, value: bytes) -> Response:
    """Return `response` with one more header field."""
    return replace(response, headers=(*response.headers, (name, value)))
