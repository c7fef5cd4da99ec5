"""Writes text to a stream without blocking.

A write to a pipe whose buffer is full blocks until the pipe is read. In trio's event loop this
would delay every response, and the exit. So each chunk is written only if poll(2) reports the
stream as writable, which for a pipe means that it has room for `PIPE_BUF` bytes (pipe(7)).
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

# In characters, each of which has at most four bytes in UTF-8.
_CHUNK = select.PIPE_BUF // 4


def write_nowait(stream: TextIO, text: str) -> int:
    """Write and flush `text`; return the number of characters written.

    It is less than the length of `text` if the stream is full or closed, or its reader is gone.
    """
    for start in range(0, len(text), _CHUNK):
        try:
            if not _is_writable(stream):
                return start
            stream.write(text[start : start + _CHUNK])
            stream.flush()
        except (OSError, ValueError):
            return start
    return len(text)


def _is_writable(stream: TextIO) -> bool:
    try:
        fd = stream.fileno()
    except OSError:  # a stream in memory
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))  # true if the reader is gone, too: the write then fails at once
