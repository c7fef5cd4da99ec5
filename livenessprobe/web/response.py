"""A response as a value, so that an endpoint is a plain function."""

from dataclasses import dataclass, replace

MAX_TEXT_BYTES = 8 * 1024
"""Reasons are for a person's eyes; and the kubelet reads 10 KiB at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer; it can be sent any number of times."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def make(status: int, content_type: str, body: bytes) -> Response:
    """Return an answer with the header fields that every answer has."""
    return Response(
        status=status,
        headers=(
            (b"content-type", content_type.encode("ascii")),
            (b"content-length", b"%d" % len(body)),
            (b"x-content-type-options", b"nosniff"),
        ),
        body=body,
    )


def text(status: int, words: str) -> Response:
    """Return a plain-text answer; `words` are cut to `MAX_TEXT_BYTES` of valid UTF-8."""
    cut = words.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
    return make(status, "text/plain; charset=utf-8", cut.encode())


def aged(response: Response, age: float) -> Response:
    """Return `response` with the age, in seconds, of what it tells (RFC 9111, 5.1)."""
    return replace(response, headers=(*response.headers, (b"age", b"%d" % age)))
