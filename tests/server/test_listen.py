import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import trio

from livenessprobe.server import listen
from livenessprobe.server.listen import (
    ListenError,
    bound_address,
    open_listeners,
)

V4, V4_2, V6 = "127.0.0.1", "127.0.0.2", "::1"
ANY_V4, ANY_V6 = "0.0.0.0", "::"  # noqa: S104 - on ports of our own


def of_this_host(ip: str) -> bool:
    try:
        listening(ip).close()
    except OSError:
        return False
    return True


def listening(ip: str) -> socket.socket:
    """Listen on a free port of this address, and of no other family's."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.create_server((ip, 0), family=family)


# A machine may lack IPv6: then what needs it fails, and the rest works without.
HERE = {ip for ip in (V4, V4_2, V6, ANY_V4, ANY_V6) if of_this_host(ip)}
LOCALHOST = {str(ip) for *_, (ip, *_) in socket.getaddrinfo("localhost", 0)}


@contextmanager
def leaving_nothing_open() -> Iterator[None]:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = open_files()
    yield
    assert open_files() == before


def close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


async def reached_at(port: int) -> set[str]:
    reached = set()
    for ip in HERE & {V4, V4_2, V6}:
        try:
            stream = await trio.open_tcp_stream(ip, port)
        except OSError:
            continue
        await stream.aclose()
        reached.add(ip)
    return reached


async def refusal_of(address: str) -> str:
    with leaving_nothing_open(), pytest.raises(ListenError) as caught:
        await open_listeners(address)
    return str(caught.value)


# Addresses


@pytest.mark.parametrize(
    ("host", "ips"),
    [
        ("", {V4, V4_2, V6}),
        ("[]", {V4, V4_2, V6}),
        (ANY_V4, {V4, V4_2, V6}),
        ("[0.0.0.0]", {V4, V4_2, V6}),
        ("[::]", {V4, V4_2, V6}),
        ("127.0.0.1", {V4}),
        ("[127.0.0.1]", {V4}),
        ("[::1]", {V6}),
        ("localhost", LOCALHOST),
    ],
)
async def test_a_host_is_reached_at(host: str, ips: set[str]) -> None:
    with listening(V4) as server:
        port = server.getsockname()[1]
    if not ips & HERE:
        assert (await refusal_of(f"{host}:{port}")).startswith(f"listen tcp {host}:{port}: bind: ")
        return
    with leaving_nothing_open():
        listeners = await open_listeners(f"{host}:{port}")
        assert await reached_at(port) == ips & HERE
        close(listeners)


@pytest.mark.parametrize("address", [":", ":0", ":00", "127.0.0.1:", "[127.0.0.1]:", "localhost:0"])
async def test_port_0_and_none_stand_for_any_free_port(address: str) -> None:
    listeners = await open_listeners(address)
    ports = [listener.getsockname()[1] for listener in listeners]
    close(listeners)
    assert ports
    assert all(ports)


# An address that is no host's, since some of these ports are for root only. It is checked first.
@pytest.mark.parametrize(
    ("port", "number"),
    [("http", 80), ("https", 443), ("80", 80), ("0080", 80), ("+80", 80), ("65535", 65535)],
)
async def test_a_port_is_a_number_or_a_service(port: str, number: int) -> None:
    refusal = await refusal_of(f"240.0.0.1:{port}")
    assert refusal == f"listen tcp 240.0.0.1:{number}: bind: cannot assign requested address"


@pytest.mark.parametrize(
    "address",
    [
        *("", "9918", "localhost", "[::1]", "[::1]9918", "[::1"),
        *("a:b:c", "::1:80", "[::1]:80:80", "http://localhost:80"),
        *("a[b]:80", "[a[b]:80", "a]:80", "localhost:80]", "\n]:80"),
    ],
)
async def test_a_malformed_address_is_refused_with_the_forms_that_there_are(address: str) -> None:
    forms = "want host:port or [IPv6 address]:port, such as :9808"
    assert await refusal_of(address) == f"listen tcp: address {address}: {forms}"


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        (":65536", "address 65536: invalid port"),
        (":99999", "address 99999: invalid port"),
        (":-1", "address -1: invalid port"),
        (":nosuch", "lookup tcp/nosuch: unknown port"),
        (": 80", "lookup tcp/ 80: unknown port"),
        (":8_0", "lookup tcp/8_0: unknown port"),
        (":٨٠", "lookup tcp/٨٠: unknown port"),
        (":\udcff", "lookup tcp/\udcff: unknown port"),
        (":" + "9" * 5_000, f"lookup tcp/{'9' * 5_000}: unknown port"),
        ("a..b:80", "lookup a..b: no such host"),
        ("\udcff:80", "lookup \udcff: no such host"),
        ("x" * 70 + ":80", f"lookup {'x' * 70}: no such host"),
    ],
)
async def test_a_port_or_host_that_there_is_none_of_is_refused_in_gos_words(
    address: str, refusal: str
) -> None:
    assert await refusal_of(address) == f"listen tcp: {refusal}"


# Names


class Names(trio.abc.HostnameResolver):
    """The name "twins" has these addresses; no other name has any."""

    def __init__(self, *ips: str) -> None:
        self._ips = ips

    async def getaddrinfo(self, host: bytes | None, port: Any, *_: object) -> Any:
        if host != b"twins":
            raise socket.gaierror(socket.EAI_AGAIN, "Ask again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (ip, port)) for ip in self._ips]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.mark.parametrize(
    "ips",
    [
        (V4, V4),
        (V4, "240.0.0.1"),  # as "localhost" is ::1 too where there is no IPv6
        ("240.0.0.1", V4),
    ],
)
async def test_a_name_stands_for_each_of_its_addresses_that_is_this_hosts(ips: tuple[str]) -> None:
    trio.socket.set_custom_hostname_resolver(Names(*ips))
    [listener] = await open_listeners("twins:0")
    assert listener.getsockname()[0] == V4
    close([listener])


async def test_a_name_of_other_hosts_only_is_refused() -> None:
    trio.socket.set_custom_hostname_resolver(Names("240.0.0.1", "240.0.0.2"))
    refusal = await refusal_of("twins:80")
    assert refusal == "listen tcp 240.0.0.1:80: bind: cannot assign requested address"


async def test_a_name_that_is_not_found_is_refused_with_the_reason() -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    assert await refusal_of("nohost.invalid:80") == "listen tcp: lookup nohost.invalid: Ask again"


# Refusals of the system


@pytest.mark.parametrize("taken", sorted(HERE & {ANY_V4, ANY_V6}))
@pytest.mark.parametrize("host", ["", ANY_V4, "[::]"])
async def test_a_port_taken_in_one_family_is_taken(taken: str, host: str) -> None:
    with listening(taken) as server:
        port = server.getsockname()[1]
        where = bound_address(server)
        assert await refusal_of(f"{host}:{port}") == (
            f"listen tcp {where}: bind: address already in use"
        )
        still_reached = await reached_at(port)
    assert still_reached == HERE & ({V6} if taken == ANY_V6 else {V4, V4_2})


async def test_a_port_taken_at_another_address_is_free() -> None:
    with listening(V4_2) as server:
        port = server.getsockname()[1]
        listeners = await open_listeners(f"{V4}:{port}")
        close(listeners)
    assert len(listeners) == 1


class OldHost(socket.socket):
    """A socket of a host that lacks this family of addresses and refuses these options."""

    missing: int | None = None
    refused: tuple[int, ...] = ()

    def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
        if family == self.missing:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        super().__init__(family, *rest, **more)

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        if option in self.refused:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        super().setsockopt(level, option, *value)


@pytest.fixture
def old_host(monkeypatch: pytest.MonkeyPatch) -> type[OldHost]:
    class Host(OldHost):
        pass

    monkeypatch.setattr(socket, "socket", Host)
    return Host


@pytest.mark.parametrize("address", [":0", "0.0.0.0:0", "[::]:0"])
async def test_a_host_without_ipv6_listens_on_ipv4(address: str, old_host: type[OldHost]) -> None:
    old_host.missing = socket.AF_INET6
    listeners = await open_listeners(address)
    assert [listener.getsockname()[0] for listener in listeners] == [ANY_V4]
    close(listeners)


async def test_a_host_without_ipv6_refuses_its_addresses(old_host: type[OldHost]) -> None:
    old_host.missing = socket.AF_INET6
    assert await refusal_of("[::1]:80") == (
        "listen tcp [::1]:80: bind: address family not supported by protocol"
    )


async def test_a_host_that_cannot_part_the_families_listens_on_ipv4(
    old_host: type[OldHost],
) -> None:
    old_host.refused = (socket.IPV6_V6ONLY,)
    listeners = await open_listeners(":0")
    assert [listener.getsockname()[0] for listener in listeners] == [ANY_V4]
    close(listeners)


async def test_an_address_may_be_listened_on_without_reusing_it(old_host: type[OldHost]) -> None:
    old_host.refused = (socket.SO_REUSEADDR,)
    [listener] = await open_listeners("127.0.0.1:0")
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
    close([listener])


async def test_any_free_port_is_the_same_for_both_families() -> None:
    listeners = await open_listeners(":0")
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    assert len({bound_address(listener) for listener in listeners}) == len(HERE & {ANY_V4, ANY_V6})
    close(listeners)


async def test_a_free_port_that_is_taken_at_another_address_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports: list[int] = []
    really_listen = listen._listen  # noqa: SLF001 - to take the port between two calls of it

    def listen_after_another(address: listen.Address, port: int) -> socket.socket:
        ports.append(port)
        if port and ports.count(port) == 1 and len(ports) == 2:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return really_listen(address, port)

    monkeypatch.setattr(listen, "_listen", listen_after_another)
    trio.socket.set_custom_hostname_resolver(Names(V4, V4_2))
    with leaving_nothing_open():
        listeners = await open_listeners("twins:0")
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        close(listeners)
    assert ports[0::2] == [0, 0]


async def test_a_link_local_address_keeps_its_interface() -> None:
    """Without, it could not be listened on: "invalid argument"."""
    refusal = await refusal_of("[fe80::dead%lo]:80")
    assert refusal == "listen tcp [fe80::dead%lo]:80: bind: cannot assign requested address"


@pytest.mark.parametrize("length", range(6))
async def test_whatever_brackets_and_colons_there_are_it_listens_or_says_why_not(
    length: int,
) -> None:
    refusals = []
    for characters in product("[]:", repeat=length):
        try:
            listeners = await open_listeners("".join(characters))
        except ListenError as refusal:
            refusals.append(str(refusal))
        else:
            for listener in listeners:
                listener.close()
    assert all(refusal.startswith("listen tcp") for refusal in refusals)
    assert len(refusals) >= 3**length - 3  # ":" and "[]:" are addresses
