"""From a listen address in Go's form to listening sockets.

:9808  0.0.0.0:9808  [::]:9808    every address of the host, IPv4 and IPv6
127.0.0.1:http                    one address; a service name for the port
[::1]:9808                        one IPv6 address; the brackets may hold an IPv4 address too
localhost:9808                    whatever the name resolves to
localhost:  localhost:0           any free port
"""

from __future__ import annotations

import errno
import os
import re
import socket

import trio

# As in Go, each of these stands for both families.
_EVERY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104 - the user's choice

# What is wrong with an address that is not "host:port"; the first row that fits counts.
_MALFORMED = (
    (r"[^:]*", "missing port"),
    (r"\[[^]]*", "missing ']'"),
    (r"\[[^]]*\]([^:].*)?", "missing port"),
    (r"(\[[^]]*\]|[^[].*)?:.*:.*", "too many colons"),
    (r".+\[.*", "unexpected '['"),
    (r"(?s).*", "unexpected ']'"),
)

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_HIGHEST_PORT = 65535

# A host without IPv6 still resolves "localhost" to ::1.
_NO_SUCH_PROTOCOL = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class ListenError(Exception):
    """An address cannot be listened on; worded as Go words it."""


async def open_listeners(address: str) -> list[trio.SocketListener]:
    """Listen on `address`; return one listener for each socket address that it stands for.

    Raises `ListenError` for an address that is malformed, unknown, taken or forbidden; no
    socket is left open then.
    """
    host, port = _split(address)
    listeners: list[trio.SocketListener] = []
    refusals: list[tuple[str, OSError]] = []
    for ip in await _resolve(host):
        try:
            listeners += await trio.open_tcp_listeners(port, host=ip)
        except OSError as refusal:
            refusals.append((ip, refusal))
    fatal = [(ip, why) for ip, why in refusals if why.errno not in _NO_SUCH_PROTOCOL]
    if fatal or not listeners:
        for listener in listeners:
            listener.socket.close()
        ip, why = (fatal or refusals)[0]
        reason = os.strerror(why.errno).lower() if why.errno else str(why)
        raise ListenError(f"listen tcp {join_host_port(ip, port)}: bind: {reason}") from why
    return listeners


def join_host_port(host: str, port: int) -> str:
    """Return "host:port", with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(address: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^][]*)\]|([^][:]*)):([^][:]*)", address)
    if match is None:
        problem = next(problem for form, problem in _MALFORMED if re.fullmatch(form, address))
        raise ListenError(f"listen tcp: address {address}: {problem} in address")
    ip, name, port = match.groups()
    return ip or name or "", _port(port)


def _port(port: str) -> int:
    if not port:
        return 0  # which is any free one
    try:
        number = int(port) if _NUMBER.fullmatch(port) else socket.getservbyname(port, "tcp")
    except (OSError, UnicodeError) as error:
        raise ListenError(f"listen tcp: lookup tcp/{port}: unknown port") from error
    if not 0 <= number <= _HIGHEST_PORT:
        raise ListenError(f"listen tcp: address {port}: invalid port")
    return number


async def _resolve(host: str) -> list[str]:
    """Return the IP addresses of `host`, each once."""
    try:
        found = await trio.socket.getaddrinfo(
            None if host in _EVERY_ADDRESS else host,
            0,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except OSError as error:
        raise ListenError(f"listen tcp: lookup {host}: {error.strerror}") from error
    except UnicodeError as error:  # what cannot be a name, for its characters or its length
        raise ListenError(f"listen tcp: lookup {host}: no such host") from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
