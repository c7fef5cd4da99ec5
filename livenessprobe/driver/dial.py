"""Connects the driver's UNIX socket, or explains why it cannot be connected.

The text of an error names the path at fault, its owner and mode where permissions matter, and
whether the driver or livenessprobe itself has failed.
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
"""Seconds between attempts while the queue of the driver's listening socket is full.

The kernel reports no event when it has room again. This is short beside any timeout.
"""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN}

_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFREG: "a file", stat.S_IFIFO: "a fifo"}


async def dial(path: str) -> socket.socket:
    """Return a non-blocking socket connected to `path`, owned by the caller.

    Raises `DriverUnreachableError` if that fails, and also if it is cancelled: until then it waits
    while the queue of the listening socket is full. asyncio's own connect takes EAGAIN, which a
    full queue gives (unix(7)), for EINPROGRESS, and the socket for connected.
    """
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise own_failure(path, error) from error
    try:
        while not _connect(sock, path):  # noqa: ASYNC110 - there is no event
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


def own_failure(path: str, error: OSError) -> DriverUnreachableError:
    """Return the error of a call for which this program itself lacked something."""
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
    text = error.strerror or str(error)
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
                return text
    except OSError:  # the path has changed meanwhile: the next Probe explains its new state
        return text


def _missing(path: Path) -> str:
    for place in path, path.parent:
        if place.is_symlink() and not place.exists():
            return f"no such file: the link {place} leads to {place.readlink()}, which is not there"
    directory = path.parent
    if not directory.is_dir():
        return f"no such directory: {directory}, where the driver's volume should be mounted"
    if _is_in_a_volume(directory):
        return f"no such file: the driver has made no socket of this name in {directory}"
    where = f"{directory}, which is not a mounted volume"
    return f"no such file: there is no socket of this name in {where}"


def _is_in_a_volume(directory: Path) -> bool:
    """Return whether anything but the root is mounted at `directory` or above it.

    Read from mountinfo (proc(5)), which has octal escapes: a bind mount, such as a hostPath
    volume, may have the device number of the directory that it is mounted on.
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
    """Return the socket, or the directory above it that may not be searched.

    With it come its status and the permission that is wanted: `os.W_OK` to connect the socket,
    `os.X_OK` to search the directory.
    """
    try:
        return path, path.stat(), wanted
    except PermissionError:
        return _innermost(path.parent, os.X_OK)


def _mode_allows(status: os.stat_result, wanted: int) -> bool:
    """Return whether the mode bits of the process's class (owner, group, others) allow `wanted`."""
    if status.st_uid == os.geteuid():
        rights = status.st_mode >> 6
    elif status.st_gid in {os.getegid(), *os.getgroups()}:
        rights = status.st_mode >> 3
    else:
        rights = status.st_mode
    return bool(rights & wanted)
