"""Writing a log without ever waiting for its reader.

A pipe that nobody reads fills up, and the next write to it waits: on trio's loop that would hold
up every answer, and the end of the program too. So the kernel is asked before each piece whether
it has room, which for a pipe means room for `PIPE_BUF` bytes.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

# Characters, of which UTF-8 makes four bytes at most.
_PIECE = select.PIPE_BUF // 4


def write_nowait(stream: TextIO, text: str) -> int:
    """Write and flush `text`; return how many of its characters were written.

    They are fewer if there is no room, or if the stream is closed or its reader gone.
    """
    for start in range(0, len(text), _PIECE):
        try:
            if not _has_room(stream):
                return start
            stream.write(text[start : start + _PIECE])
            stream.flush()
        except (OSError, ValueError):
            # stdlib would now write a traceback to stderr, the very stream that is broken.
            return start
    return len(text)


def _has_room(stream: TextIO) -> bool:
    try:
        fd = stream.fileno()
    except OSError:  # it is in memory
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))  # also if the reader is gone: the write then fails, at once
