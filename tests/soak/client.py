"""Sends requests of every kind in turn and counts: `-m tests.soak.client HOST PORT ANSWERS`.

Each request gets exactly one complete response or is aborted by the client itself; anything else
ends this process with a traceback. It runs until its stdin is closed.
"""

import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no types

from tests.soak.tally import Tally

# Seconds after which a response counts as missing; one takes milliseconds.
TIMEOUT = 30.0


class Outcome(StrEnum):
    """The outcome of a request; the value is its letter in the tally."""

    HEALTHY = "y"
    UNHEALTHY = "n"
    OTHER_PAGE = "p"
    GRPC = "g"
    ABORTED = "x"


PATHS = ("/healthz", "/livez", "/readyz")


def request(target: str, connection: str = "close") -> bytes:
    return (
        f"GET {target} HTTP/1.1\r\nHost: localhost:9808\r\nUser-Agent: kube-probe/1.34\r\n"
        f"Accept: */*\r\nConnection: {connection}\r\n\r\n"
    ).encode()


class Client:
    """The kinds of request; each method records the outcome of its requests."""

    def __init__(self, host: str, port: int, tally: Tally) -> None:
        self._address = host, port
        self._tally = tally
        self._abortions = count()

    def as_kubelet(self, target: str = "/healthz") -> None:
        with self._connected() as connection:
            connection.sendall(request(target))
            self._note(*_only_answer(connection))

    def kept_alive(self, times: int = 20) -> None:
        with self._connected() as connection:
            for number in range(times):
                connection.sendall(request(PATHS[number % len(PATHS)], "keep-alive"))
                self._note(*_next_answer(connection))

    def aborted(self) -> None:
        """Reset the connection after some bytes of a request, or after the whole of it."""
        whole = request("/healthz")
        with self._connected() as connection:
            connection.sendall(whole[: next(self._abortions) % (len(whole) + 1)])
            no_linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        self._tally.note(Outcome.ABORTED)

    def verbose(self) -> None:
        self.as_kubelet("/healthz?verbose")

    def scraped(self) -> None:
        with self._connected() as connection:
            connection.sendall(request("/metrics"))
            status, body = _only_answer(connection)
        assert status == 200
        assert b"csi_sidecar_operations_seconds_count" in body
        self._tally.note(Outcome.OTHER_PAGE)

    def grpc_checked(self, times: int = 3) -> None:
        host, port = self._address
        own = ("grpc.use_local_subchannel_pool", 1)
        with grpc.insecure_channel(f"{host}:{port}", options=[own]) as channel:
            check: Callable[..., Any] = channel.unary_unary("/grpc.health.v1.Health/Check")
            for _ in range(times):
                assert check(b"", timeout=TIMEOUT) in {b"\x08\x01", b"\x08\x02"}
                self._tally.note(Outcome.GRPC)

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(self._address, timeout=TIMEOUT) as connection:
            yield connection

    def _note(self, status: int, body: bytes) -> None:
        assert status in {200, 500}
        assert body
        self._tally.note(Outcome.HEALTHY if status == 200 else Outcome.UNHEALTHY)


def _next_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one response, after which there must be no further data."""
    received = b""
    while not _is_whole(received):
        more = connection.recv(65536)
        assert more, received
        received += more
    return _parse(received)


def _only_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one response, after which the server must close the connection."""
    received = b""
    while more := connection.recv(65536):
        received += more
    return _parse(received)


def _is_whole(received: bytes) -> bool:
    head, blank_line, body = received.partition(b"\r\n\r\n")
    return bool(blank_line) and len(body) >= _length(head)


def _parse(received: bytes) -> tuple[int, bytes]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), received
    assert len(body) == _length(head), received
    return int(head.split()[1]), body


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length: ")
    return int(rest.partition(b"\r\n")[0])


def main() -> None:
    host, port, answers = sys.argv[1:]
    client = Client(host, int(port), Tally(Path(answers)))
    # A fifth of the requests has its own connection, like those of kubelet. The others share one,
    # like those of proxies, since more connections would make the run longer.
    turn: dict[Callable[[], None], int] = {
        client.as_kubelet: 20,
        client.kept_alive: 5,
        client.aborted: 5,
        client.verbose: 1,
        client.scraped: 1,
        client.grpc_checked: 1,
    }
    while not select.select([sys.stdin], [], [], 0)[0]:
        for ask, times in turn.items():
            for _ in range(times):
                ask()


if __name__ == "__main__":
    main()
