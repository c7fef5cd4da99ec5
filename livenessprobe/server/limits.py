"""Received bytes in chunks, each of them small enough to be handled in one go. Sans IO.

hypercorn 0.18 handles all that one read brings before any other task runs, and neither h11 nor h2
limits everything that a client can make large; tests/upstream shows each case. Hence

HTTP/1    a chunk ends where a head does, and a head has few blanks in a row
HTTP/2    a chunk is one frame or a part of it; frames and header blocks are as large as announced

How many requests or frames a client sends is not limited: each waits for its turn, see
`connection`, so a flood of them delays its own connection and nobody else's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 4096
"""How much to receive at once. A request has 200 bytes, and many clients may send at once."""

BODY_CHUNK_BYTES = 256
"""The largest chunk of an HTTP/1 body. Heads that follow it in one chunk are not checked."""

HEAD_BYTES = 64 * 1024
"""The largest head of an HTTP/1 request; hypercorn answers a larger one with 431."""

BLANKS = 256
"""The most blanks in a row in a head; usual are one or two.

h11 takes time that grows with the square of their number: 0.3 ms for 256, 8 s for `HEAD_BYTES`.
"""

FRAME_BYTES = 16_384
"""The largest payload of an HTTP/2 frame; h2 announces no other (RFC 9113, 4.2).

It is the limit of a header block too, however many CONTINUATION frames it comes in.
"""

LIST_BYTES = 8192
"""The largest list that a header block unpacks to, with 32 bytes for each field (RFC 9113, 6.5.2).

A field that is repeated takes one byte in HPACK, and hypercorn keeps all fields of a request until
its response is taken.
"""

PREFACE_BYTES = 24
"""The client's connection preface, without its SETTINGS (RFC 9113, 3.4)."""

_MANY_BLANKS = re.compile(rb"[ \t]{%d}" % (BLANKS + 1))
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_FRAME_HEADER_BYTES, _LENGTH_BYTES, _CONTINUATION = 9, 3, 9  # RFC 9113, 4.1 and 6.10


class AbuseError(Exception):
    """A client exceeds a limit; HTTP/1 answers it with 400, HTTP/2 with ENHANCE_YOUR_CALM."""


def is_one_head(received: bytes) -> bool:
    """Return whether this is one whole head of HTTP/1 and nothing else."""
    end = received.find(b"\r\n\r\n")
    return 0 <= end == len(received) - 4 and not received.startswith(b"PRI")


class _Input:
    """The bytes that were received and are not handled yet."""

    def __init__(self, received: bytes) -> None:
        self.unread = received

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self.unread += data

    def _take(self, end: int) -> bytes:
        chunk, self.unread = self.unread[:end], self.unread[end:]
        return chunk


class Http1Input(_Input):
    """Chunks of a body while `receives_body` says so, else up to the end of a head."""

    def __init__(self, received: bytes, receives_body: Callable[[], bool]) -> None:
        super().__init__(received)
        self._receives_body = receives_body
        self._tail = b""
        """The end of the chunks of an unfinished head."""

    def take(self) -> bytes:
        """Return the next chunk; nothing if more must be received first.

        Raises:
            AbuseError: a head has too many blanks in a row.

        """
        return self._take(BODY_CHUNK_BYTES if self._receives_body() else self._head_end())

    def _head_end(self) -> int:
        """Return where the head ends, or what has been received of it."""
        head = self._tail + self.unread
        if found := _EMPTY_LINE.search(head):
            head = head[: found.end()]
        if _MANY_BLANKS.search(head):
            raise AbuseError("too many blanks in a head")
        end = len(head) - len(self._tail)
        self._tail = b"" if found else head[-BLANKS:]
        return end


class Http2Input(_Input):
    """Frames, the preface before the first of them."""

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self._remaining = PREFACE_BYTES
        """Bytes of the current frame that have not been taken."""
        self._block_bytes = 0

    def take(self) -> bytes:
        """Return the next chunk; nothing if more must be received first.

        Raises:
            AbuseError: a frame or a header block is too large.

        """
        if not self._remaining and len(self.unread) >= _FRAME_HEADER_BYTES:
            self._start_frame()
        chunk = self._take(self._remaining)
        self._remaining -= len(chunk)
        return chunk

    def _start_frame(self) -> None:
        length = int.from_bytes(self.unread[:_LENGTH_BYTES], "big")
        kind = self.unread[_LENGTH_BYTES]
        self._block_bytes = length + (self._block_bytes if kind == _CONTINUATION else 0)
        if self._block_bytes > FRAME_BYTES:
            raise AbuseError(f"a frame or header block of {self._block_bytes} bytes")
        self._remaining = _FRAME_HEADER_BYTES + length
