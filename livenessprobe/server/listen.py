"""Opens the listening sockets for an address in Go's form.

:9808  0.0.0.0:9808  [::]:9808    every address of the host, IPv4 and IPv6
127.0.0.1:http                    one address; a service name for the port
[::1]:9808  [fe80::1%eth0]:9808   one IPv6 address; the brackets may hold an IPv4 address too
localhost:9808                    whatever the name resolves to
localhost:  localhost:0           any free port, the same one for all addresses
"""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from livenessprobe import klog

if TYPE_CHECKING:
    from collections.abc import Sequence

# As in Go, each of these stands for both families.
_EVERY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104 - the user's choice

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_HIGHEST_PORT = 65535

# A host without IPv6 still resolves "localhost" to ::1.
_NO_SUCH_PROTOCOL = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


ATTEMPTS = 10
"""How many ports to try, if a port that is free for one address is taken for another one."""

log = klog.get_logger(__name__)


class ListenError(Exception):
    """An address cannot be listened on. The message begins as Go's does."""


class PortTakenError(ListenError):
    """The port is taken by another socket."""


class Address(NamedTuple):
    """An address that a host name resolves to."""

    family: int
    ip: str
    flow_and_scope: tuple[int, ...]
    """The flow label and the number of the interface; IPv6 only."""

    def with_port(self, port: int) -> tuple[Any, ...]:
        """Return the address and a port in the form of the socket module."""
        return (self.ip, port, *self.flow_and_scope)


async def open_listeners(address: str) -> list[socket.socket]:
    """Listen on `address`; return one socket for each address that it resolves to.

    The caller closes them. Port 0 becomes the same free port for all. Raises `ListenError` for an
    address that is malformed, unknown, taken or forbidden; no socket is left open then.
    """
    host, port = _split(address)
    addresses = await _resolve(host)
    for _ in range(0 if port else ATTEMPTS - 1):
        with suppress(PortTakenError):
            return _listen_on_each(addresses, port)
    return _listen_on_each(addresses, port)


def _listen_on_each(addresses: Sequence[Address], port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    refusals: list[tuple[str, OSError]] = []
    for address in addresses:
        try:
            listeners.append(_listen(address, port))
        except OSError as refusal:
            refusals.append((_shown(address.with_port(port)), refusal))
        else:
            port = listeners[0].getsockname()[1]
    fatal = [(where, why) for where, why in refusals if why.errno not in _NO_SUCH_PROTOCOL]
    if fatal or not listeners:
        for listener in listeners:
            listener.close()
        where, why = (fatal or refusals)[0]
        reason = os.strerror(why.errno).lower() if why.errno else str(why)
        error_type = PortTakenError if why.errno == errno.EADDRINUSE else ListenError
        raise error_type(f"listen tcp {where}: bind: {reason}") from why
    return listeners


def _listen(address: Address, port: int) -> socket.socket:
    listener = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        _reuse_address(listener)
        if address.ip == "::":
            _leave_out_ipv4(listener)
        listener.bind(address.with_port(port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def _reuse_address(listener: socket.socket) -> None:
    """Allow a port whose earlier connections the kernel still keeps in TIME_WAIT."""
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        log.info("Listening without SO_REUSEADDR", v=2, err=error)


def _leave_out_ipv4(listener: socket.socket) -> None:
    """Listen on IPv6 only, as IPv4 has a socket of its own."""
    try:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    except OSError as error:
        log.info("Listening on IPv4 only, without IPV6_V6ONLY", v=2, err=error)
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT)) from error


def bound_address(listener: socket.socket) -> str:
    """Return the address of a listening socket as text."""
    return _shown(listener.getsockname())


def _shown(address: tuple[Any, ...]) -> str:
    host, port = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(address: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^][]*\]|[^][:]*):([^][:]*)", address)
    if match is None:
        forms = "want host:port or [IPv6 address]:port, such as :9808"
        raise ListenError(f"listen tcp: address {address}: {forms}")
    host, port = match.groups()
    return host.strip("[]"), _port(port)


def _port(port: str) -> int:
    if not port:
        return 0  # any free port
    try:
        number = int(port) if _NUMBER.fullmatch(port) else socket.getservbyname(port, "tcp")
    except (OSError, UnicodeError) as error:
        raise ListenError(f"listen tcp: lookup tcp/{port}: unknown port") from error
    if not 0 <= number <= _HIGHEST_PORT:
        raise ListenError(f"listen tcp: address {port}: invalid port")
    return number


async def _resolve(host: str) -> list[Address]:
    """Return the addresses of `host`, each once."""
    try:
        found = await trio.socket.getaddrinfo(
            None if host in _EVERY_ADDRESS else host,
            0,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except OSError as error:
        raise ListenError(f"listen tcp: lookup {host}: {error.strerror}") from error
    except UnicodeError as error:  # characters or a length that no name has
        raise ListenError(f"listen tcp: lookup {host}: no such host") from error
    addresses = (
        Address(family, str(ip), tuple(flow_and_scope))
        for family, *_, (ip, _port, *flow_and_scope) in found
    )
    return list(dict.fromkeys(addresses))
