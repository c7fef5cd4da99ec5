"""Parses `--csi-address`, in the forms that grpc-go dials, into the path of a UNIX socket.

/csi/csi.sock  unix:///csi/csi.sock  unix:/csi/csi.sock    an absolute path
csi.sock       unix:csi.sock                               a path relative to the working directory
"""

from __future__ import annotations

import os
import re

_HINT = "give the path of the CSI driver's socket, such as /csi/csi.sock"
# A pattern for the whole address, and why it is refused; the first row that matches counts.
_REFUSED = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), reason)
    for pattern, reason in (
        (r"(unix:)?/*", f"names no socket: {_HINT}"),
        (r"(unix:)?/*[a-z]:[\\/].*", f"is a Windows path, and this is Linux: {_HINT}"),
        (r".*\0.*", f"holds a NUL byte, which no path can: {_HINT}"),
        (r"(?!unix:)[^/]*:.*", f"is not the address of a UNIX socket: {_HINT}"),
        # grpc-go takes what follows unix:// up to the next slash for a host, and returns an error.
        (r"unix://[^/].*", "has no slash after unix://: write unix:///path or unix:relative/path"),
        (r"(unix:)?@.*", f"is an abstract socket, which has no file: {_HINT}"),
    )
)
_SCHEME = re.compile(r"\Aunix:(//)?", re.IGNORECASE)
# struct sockaddr_un holds 108 bytes, the last of them NUL.
_LONGEST_PATH = 107


def socket_path(address: str) -> str:
    """Return the path in `address`, of at most 107 bytes.

    Raises ValueError if it is not the address of a UNIX socket. The message, which says why and
    what to do, completes a sentence that begins with the address.
    """
    for pattern, reason in _REFUSED:
        if pattern.fullmatch(address):
            raise ValueError(reason)
    path = without_scheme(address)
    size = len(os.fsencode(path))
    if size > _LONGEST_PATH:
        raise ValueError(
            f"is a path of {size} bytes, and a UNIX socket's has at most {_LONGEST_PATH}: "
            "mount the socket's folder at a shorter path"
        )
    return path


def without_scheme(address: str) -> str:
    """Return the path in `address`, whether or not it is a valid one."""
    return _SCHEME.sub("", address)
