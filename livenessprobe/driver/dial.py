"""From a socket path to a connected socket, or to the reason why there is none."""

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path

from livenessprobe.errors import DriverUnreachableError

RETRY = 0.02
"""Seconds between attempts while the driver's queue of connections is full.

The kernel does not tell when there is room again; this is short beside any timeout.
"""


async def dial(path: str) -> socket.socket:
    """Connect to the UNIX socket at `path`; raise `DriverUnreachableError` if that cannot be.

    Unlike asyncio's own connect, this one waits as long as the queue of connections is full,
    instead of taking the socket for connected.
    """
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            while not _connect(sock, path):  # noqa: ASYNC110 - the kernel tells no event
                await asyncio.sleep(RETRY)
        except:
            sock.close()
            raise
    except OSError as error:
        raise DriverUnreachableError(f"{path}: {_reason(path, error)}") from error
    return sock


def _connect(sock: socket.socket, path: str) -> bool:
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    return True


def _reason(path: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "no such file: no driver has made this socket, or its directory is not mounted"
        case errno.ECONNREFUSED if _is_something_else(path):
            return "not a socket"
        case errno.ECONNREFUSED:
            return "connection refused: no driver listens on this socket"
        case errno.EACCES:
            return f"permission denied for uid {os.geteuid()}, gid {os.getegid()}"
        case _:
            return error.strerror or str(error)


def _is_something_else(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:  # it is gone since; the next Probe says so
        return False
