"""How much a client may send at once. Sans IO.

hypercorn 0.18 handles all that one read brings before any other task runs, and h11 and h2 have no
limit for some of what only abuse looks like; tests/upstream shows each case. Hence

HTTP/1    a chunk ends where a head does; a head has few lines, and few blanks in a row
HTTP/2    a chunk has a few whole frames, and one request at most; frames and header blocks are as
          large as announced; frames that are not requests are paid for from a budget, to which
          each request and response adds
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

HEAD_LINES = 1000
"""The lines of a head; h11 takes 4 us for each."""

BLANKS = 256
"""Blanks in a row in a head; where a header field begins, there is one as a rule.

There h11 takes a time that grows with their square: 0.3 ms for so many, 8 s for a whole head.
"""

CHUNK_FRAMES = 8
"""In a chunk. They take hypercorn less than a millisecond, and a client begins with three."""

FRAME_BYTES = 16_384
"""The largest payload of a frame; h2 announces no other (RFC 9113, 4.2)."""

BLOCK_BYTES = 16_384
"""The largest header block, however many frames it comes in. It has 20 header fields, not 500."""

LIST_BYTES = 8192
"""The largest list that a header block unpacks to, with 32 bytes for each field (RFC 9113, 6.5.2).

HPACK repeats a field for a single byte, and hypercorn keeps them all until the response is taken.
"""

BUDGET = 200
"""Frames at the start, and the most that a connection may save up.

A client sends SETTINGS, its acknowledgement and a few PINGs.
"""

REQUEST_INCOME = 10
"""Frames that each request adds: PINGs to measure the line, and its body."""

BYTES_PER_FRAME = 1024
"""Each so many bytes of responses add one frame: they are acknowledged by WINDOW_UPDATE. DATA
frames of so many bytes cost nothing."""

RESET_COST = 12
"""Frames for RST_STREAM, so that 100 requests may be given up in a row (CVE-2023-44487)."""

PREFACE_BYTES = 24
"""What HTTP/2 begins with: "PRI * HTTP/2.0", "SM" and empty lines (RFC 9113, 3.4)."""

_MANY_BLANKS = re.compile(rb"[ \t]{%d}" % (BLANKS + 1))
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_FRAME_HEADER_BYTES, _KIND = 9, 3
_DATA, _HEADERS, _RST_STREAM, _CONTINUATION = 0, 1, 3, 9
_INCOME = {_HEADERS: REQUEST_INCOME, _RST_STREAM: -RESET_COST}


class AbuseError(Exception):
    """The client sends what no honest client does.

    Attributes:
        status: what HTTP/1 answers; HTTP/2 has ENHANCE_YOUR_CALM for all of it.

    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def is_one_head(received: bytes) -> bool:
    """Return whether this is one whole head of HTTP/1 and nothing else."""
    end = received.find(b"\r\n\r\n")
    return 0 <= end == len(received) - 4 and not received.startswith(b"PRI")


class _Input:
    """What was received and is not handled yet."""

    __slots__ = ("unread",)

    def __init__(self, received: bytes) -> None:
        self.unread = received

    def __bool__(self) -> bool:
        return bool(self.unread)

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        self.unread += data

    def _take(self, end: int) -> bytes:
        chunk, self.unread = self.unread[:end], self.unread[end:]
        return chunk


class Http1Input(_Input):
    """In chunks of a body, while `receives_body`, or up to the end of a head."""

    __slots__ = ("_lines", "_receives_body", "_tail")

    def __init__(self, received: bytes, receives_body: Callable[[], bool]) -> None:
        super().__init__(received)
        self._receives_body = receives_body
        self._lines = 0
        self._tail = b""

    def take(self) -> bytes:
        """Return the next chunk; nothing if more must be received first.

        Raises:
            AbuseError: a head has too many lines or blanks.

        """
        return self._take(BODY_CHUNK_BYTES if self._receives_body() else self._head_end())

    def _head_end(self) -> int:
        head = self._tail + self.unread
        if found := _EMPTY_LINE.search(head):
            head = head[: found.end()]
        end = len(head) - len(self._tail)
        self._lines += self.unread.count(b"\n", 0, end)
        if self._lines > HEAD_LINES:
            raise AbuseError(431, "too many lines in a head")
        if _MANY_BLANKS.search(head):
            raise AbuseError(400, "too many blanks in a head")
        self._lines = 0 if found else self._lines
        self._tail = b"" if found else head[-BLANKS:]
        return end


class Http2Input(_Input):
    """In chunks of a few frames, the first one after the preface."""

    __slots__ = ("_block_bytes", "_budget", "_remaining")

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self._remaining = PREFACE_BYTES  # of the frame that is being received
        self._block_bytes = 0
        self._budget = float(BUDGET)

    def take(self) -> bytes:
        """Return the next chunk; nothing if more must be received first.

        Raises:
            AbuseError: a frame in it is too large, or one too many.

        """
        end, requests = self._consume(0), 0
        for _ in range(CHUNK_FRAMES):
            header = self.unread[end : end + _FRAME_HEADER_BYTES]
            if self._remaining or len(header) < _FRAME_HEADER_BYTES:
                break
            requests += header[_KIND] == _HEADERS
            if requests > 1:
                break
            self._start_frame(header)
            end = self._consume(end)
        return self._take(end)

    def sent(self, count: int) -> None:
        """Note that so many bytes were sent to the client."""
        self._earn(count / BYTES_PER_FRAME)

    def _consume(self, start: int) -> int:
        """Return where the current frame ends, or what has been received of it."""
        end = min(start + self._remaining, len(self.unread))
        self._remaining -= end - start
        return end

    def _start_frame(self, header: bytes) -> None:
        """Check the frame that begins with this header."""
        length, kind = int.from_bytes(header[:_KIND], "big"), header[_KIND]
        if length > FRAME_BYTES:
            raise AbuseError(400, f"a frame of {length} bytes")
        self._block_bytes = length + (self._block_bytes if kind == _CONTINUATION else 0)
        if kind in {_HEADERS, _CONTINUATION} and self._block_bytes > BLOCK_BYTES:
            raise AbuseError(400, "a header block that does not end")
        self._remaining = _FRAME_HEADER_BYTES + length
        is_long_body = kind == _DATA and length >= BYTES_PER_FRAME  # no abuse
        self._earn(0 if is_long_body else _INCOME.get(kind, -1))
        if self._budget < 0:
            raise AbuseError(400, "too many frames that are not requests")

    def _earn(self, frames: float) -> None:
        self._budget = min(BUDGET, self._budget + frames)
