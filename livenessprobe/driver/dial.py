"""From a socket path to a connected socket, or to the reason why there is none.

The reasons are for whoever is woken up by them: what is in the way, where, and whose it is.
"""

import asyncio
import errno
import os
import re
import socket
import stat
from pathlib import Path

from livenessprobe.health.errors import DriverUnreachableError

RETRY = 0.02
"""Seconds between attempts while the driver's queue of connections is full.

The kernel does not tell when there is room again; this is short beside any timeout.
"""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN}

_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFREG: "a file", stat.S_IFIFO: "a fifo"}


async def dial(path: str) -> socket.socket:
    """Connect to the UNIX socket at `path`; raise `DriverUnreachableError` if that cannot be.

    Unlike asyncio's own connect, this one waits as long as the queue of connections is full,
    instead of taking the socket for connected. It says so if it is cancelled meanwhile.
    """
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise not_asked(path, error) from error
    try:
        while not _connect(sock, path):  # noqa: ASYNC110 - the kernel tells no event
            await asyncio.sleep(RETRY)
    except OSError as error:
        sock.close()
        raise DriverUnreachableError(f"{path}: {_reason(path, error)}") from error
    except asyncio.CancelledError:
        sock.close()
        raise DriverUnreachableError(
            f"{path}: context deadline exceeded: the driver does not accept connections and its "
            "queue of them is full, so it hangs or has more clients than it can serve"
        ) from None
    return sock


def not_asked(path: str, error: OSError) -> DriverUnreachableError:
    """Return the failure of a Probe that this program had no means for."""
    lack = "has no descriptor, thread or memory left"
    reason = lack if error.errno in _EXHAUSTED else "may not open a socket"
    return DriverUnreachableError(
        f"{path}: the driver was not asked, livenessprobe itself {reason}: {error.strerror}"
    )


def _connect(sock: socket.socket, path: str) -> bool:
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    return True


def _reason(path: str, error: OSError) -> str:
    words = error.strerror or str(error)
    try:
        match error.errno:
            case errno.ENOENT:
                return _missing(Path(path).absolute())
            case errno.ECONNREFUSED:
                return _refused(Path(path))
            case errno.EACCES:
                return _denied(Path(path))
            case errno.EPROTOTYPE:
                return "not a stream socket, which gRPC needs"
            case _:
                return words
    except OSError:  # what is in the way has changed since; the next Probe says so
        return words


def _missing(path: Path) -> str:
    for place in path, path.parent:
        if place.is_symlink() and not place.exists():
            return f"no such file: the link {place} leads to {place.readlink()}, which is not there"
    directory = path.parent
    if not directory.is_dir():
        return f"no such directory: {directory}, where the driver's volume should be mounted"
    if path.exists():
        raise FileExistsError  # since a moment ago
    if _is_in_a_volume(directory):
        return f"no such file: the driver has made no socket of this name in {directory}"
    return f"no such file: there is no socket of this name in {directory}, and no volume is there"


def _is_in_a_volume(directory: Path) -> bool:
    """Return whether anything but the root is mounted at `directory` or above it.

    Asked of the kernel's list, since a volume may be a directory of the same file system.
    """
    real = directory.resolve()
    mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").split("\n")
    points = {line.split(" ")[4] for line in mounts if line}
    return any(
        re.sub(r"[ \t\n\\]", lambda char: f"\\{ord(char[0]):03o}", str(place)) in points
        for place in [real, *real.parents][:-1]
    )


def _refused(path: Path) -> str:
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind == stat.S_IFSOCK:
        return "connection refused: no driver listens on this socket"
    return f"not a socket but {_KINDS.get(kind, 'a device')}"


def _denied(path: Path) -> str:
    place, status, wanted = _innermost(Path(os.path.realpath(path)), os.W_OK)
    reason = (
        f"permission denied for uid {os.geteuid()}, gid {os.getegid()}: {place} belongs to "
        f"uid {status.st_uid}, gid {status.st_gid} and has mode {stat.S_IMODE(status.st_mode):04o}"
    )
    if _mode_allows(status, wanted) or os.access(place, wanted, effective_ids=True):
        reason += (
            ", which allows it: a security module such as SELinux or AppArmor, or an access "
            "control list, forbids it"
        )
    return reason


def _innermost(path: Path, wanted: int) -> tuple[Path, os.stat_result, int]:
    """Return the socket, or the first directory on the way to it that may not be searched.

    And as what it is wanted: to be written to, or to be searched.
    """
    try:
        return path, path.stat(), wanted
    except PermissionError:
        return _innermost(path.parent, os.X_OK)


def _mode_allows(status: os.stat_result, wanted: int) -> bool:
    """Return whether the mode gives these rights to this process; the first class counts."""
    if status.st_uid == os.geteuid():
        rights = status.st_mode >> 6
    elif status.st_gid in {os.getegid(), *os.getgroups()}:
        rights = status.st_mode >> 3
    else:
        rights = status.st_mode
    return bool(rights & wanted)
