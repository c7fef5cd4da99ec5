"""From a listen address in Go's form to listening sockets.

:9808  [::]:9808       every address of the host, IPv4 and IPv6
0.0.0.0:9808           every IPv4 address
127.0.0.1:http         one address; a service name for the port
[::1]:9808             one IPv6 address; the brackets may hold an IPv4 address too
localhost:9808         whatever the name resolves to
"""

from __future__ import annotations

import errno
import os
import re
import socket

import trio

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
    match = re.fullmatch(r"(?:\[(?P<ip>[^][]*)\]|(?P<host>[^][:]*)):(?P<port>[^:]*)", address)
    if match is None:
        too_many = address.rpartition("]")[2].count(":") > 1
        problem = "too many colons" if too_many else "missing port"
        raise ListenError(f"listen tcp: address {address}: {problem} in address")
    return match["ip"] or match["host"] or "", _port(match["port"], address)


def _port(port: str, address: str) -> int:
    if re.fullmatch(r"[0-9]+", port):
        if int(port) > _HIGHEST_PORT:
            raise ListenError(f"listen tcp: address {address}: invalid port")
        return int(port)
    try:
        return socket.getservbyname(port, "tcp")
    except OSError as error:
        raise ListenError(f"listen tcp: address {address}: unknown port") from error


async def _resolve(host: str) -> list[str]:
    """Return the IP addresses of `host`, each once; of "" those that stand for every address."""
    try:
        found = await trio.socket.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(f"listen tcp: lookup {host}: {error.strerror}") from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
