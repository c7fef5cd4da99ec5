"""What one client sends, in pieces, so that others get their turn between two of them.

Worked around: hypercorn 0.18 handles all that one read brings before anybody else runs. In 64 KiB
there are 3,800 PINGs, which take half a second, and h2 counts none of them. (tests/upstream has
both.) Hence

HTTP/1    a piece ends with an empty line at the latest, so it has one request; many blanks after
          a colon are an error
HTTP/2    a piece has a few whole frames, and one request too

A connection may change from one to the other at the end of a request's head, where a piece ends
as well; so the caller says for each piece which it is. Of HTTP/2, what no honest client does is
an error:

- frames and header blocks larger than agreed, before anybody has to keep them;
- frames that ask nothing, such as PING, SETTINGS and DATA of a few bytes, beyond what the answers
  account for;
- giving up requests again and again.

Once hypercorn hands over to others between frames, and bounds what asks nothing, this can go.
"""

from __future__ import annotations

import re

READ_BYTES = 4096
"""How much to receive at once. A request has 200 bytes, and many clients may send at once."""

FRAMES = 8
"""In one piece. They take hypercorn less than a millisecond, and a client begins with three."""

FRAME_BYTES = 16_384
"""The largest payload of a frame; h2 announces no other (RFC 9113, 4.2)."""

BLOCK_BYTES = 16_384
"""The largest header block, however many frames it comes in. It has 20 header fields, not 500."""

LIST_BYTES = 8192
"""The largest list that a header block unpacks to, with 32 bytes for each field (RFC 9113, 6.5.2).

HPACK repeats a field for a single byte, and hypercorn keeps them all until the answer is taken.
"""

FREE_FRAMES = 200
"""How many frames that ask nothing a connection has for nothing.

A client sends SETTINGS, its acknowledgement and a few PINGs in `patience.LIFETIME`.
"""

FRAMES_PER_REQUEST = 10
"""How many more each request brings: PINGs to measure the line, and whatever its body has."""

BYTES_PER_FRAME = 1024
"""Each so many bytes of answers bring one more: they are acknowledged by WINDOW_UPDATE."""

RESETS = 100
"""How often a client may give up. An answer takes a millisecond, so hardly anybody does."""

MAX_BLANKS = 64
"""At the beginning of a header field of HTTP/1; as a rule there is one.

h11 takes a time that grows with their square: half a second for as many as a head can have.
"""

MANY_BLANKS = re.compile(rb":[ \t]{%d}" % (MAX_BLANKS + 1))

_EMPTY_LINE = re.compile(rb"\n\r?\n")
_MAX_PAST_BYTES = MAX_BLANKS + 1  # all but the last byte of what is looked for
_PREFACE_BYTES = {b"P": 24, b"S": 6}  # "PRI * HTTP/2.0 SM", of which hypercorn may have read "PRI"
_HEAD_BYTES = 9
_DATA, _HEADERS, _RST_STREAM, _CONTINUATION = 0, 1, 3, 9


class FloodError(Exception):
    """The client sends what no honest client does."""


class Pieces:
    """What was received and is not handled yet. Sans IO."""

    __slots__ = ("_frames", "_past", "_unread")

    def __init__(self) -> None:
        self._unread = b""
        self._past = b""
        self._frames = _Frames()

    def __bool__(self) -> bool:
        return bool(self._unread)

    def feed(self, data: bytes | bytearray) -> None:
        """Take what was received."""
        self._unread += data

    def sent(self, count: int) -> None:
        """Note that so many bytes were sent to the client."""
        self._frames.allow(count / BYTES_PER_FRAME)

    def take(self, *, http2: bool) -> bytes:
        """Return the next piece; nothing if more must be received first.

        Raises `FloodError`.
        """
        end = self._frames.next_end(self._unread) if http2 else self._line_end()
        piece, self._unread = self._unread[:end], self._unread[end:]
        return piece

    def _line_end(self) -> int:
        seen = self._past + self._unread
        if MANY_BLANKS.search(seen):
            raise FloodError("too many blanks in a header field")
        found = _EMPTY_LINE.search(seen)
        if found is None:
            self._past = seen[-_MAX_PAST_BYTES:]
            return len(self._unread)
        end = found.end() - len(self._past)
        self._past = b""
        return end


class _Frames:
    """Where in its frames a client is, and what it still may send."""

    __slots__ = ("_allowance", "_block_bytes", "_resets", "_rest")

    def __init__(self) -> None:
        self._rest: int | None = None  # of the frame that is being received; None before any
        self._block_bytes = 0
        self._resets = RESETS
        self._allowance = float(FREE_FRAMES)

    def allow(self, frames: float) -> None:
        self._allowance += frames

    def next_end(self, data: bytes) -> int:
        """Return how much of `data` the next piece has."""
        if self._rest is None and data:
            self._rest = _PREFACE_BYTES.get(data[:1], 0)
        end, asks = self._pass(data, 0), False
        for _ in range(FRAMES):
            if self._rest or asks or len(data) < end + _HEAD_BYTES:
                break
            asks = self._begin(data[end : end + _HEAD_BYTES])
            end = self._pass(data, end)
        return end

    def _pass(self, data: bytes, start: int) -> int:
        """Return where the frame that is being received ends, or what there is of it."""
        rest = self._rest or 0
        end = min(start + rest, len(data))
        self._rest = rest - (end - start) if data else self._rest
        return end

    def _begin(self, head: bytes) -> bool:
        """Check the frame that begins so; return whether it is a request."""
        length, kind = int.from_bytes(head[:3], "big"), head[3]
        if length > FRAME_BYTES:
            raise FloodError(f"a frame of {length} bytes")
        self._rest = _HEAD_BYTES + length
        self._check_block(kind, length)
        asks = kind == _HEADERS
        if asks:
            self._allowance += FRAMES_PER_REQUEST
        elif kind != _DATA or length < BYTES_PER_FRAME:  # a long body is no flood
            self._allowance -= 1
        if self._allowance < 0:
            raise FloodError("too many frames that ask nothing")
        self._resets -= kind == _RST_STREAM
        if self._resets < 0:
            raise FloodError("too many requests given up")
        return asks

    def _check_block(self, kind: int, length: int) -> None:
        self._block_bytes = self._block_bytes + length if kind == _CONTINUATION else length
        if kind in {_HEADERS, _CONTINUATION} and self._block_bytes > BLOCK_BYTES:
            raise FloodError("a header block that does not end")
