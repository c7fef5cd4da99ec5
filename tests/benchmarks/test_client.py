"""The client counts what comes, as it comes, whatever the server does with the connections."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from tests.benchmarks.client import Pattern, drive, is_whole
from tests.e2e.harness import Address

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "whole"),
    [
        (b"", False),
        (OK[:-1], False),
        (OK, True),
        (FAILED, True),
        (FAILED[:-2], False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_when_its_body_is(received: bytes, *, whole: bool) -> None:
    assert is_whole(received) == whole


class Server:
    """Serves one connection after the other, and counts them and what they ask."""

    def __init__(self, listener: socket.socket, script: Callable[[socket.socket], None]) -> None:
        self.address = Address(*listener.getsockname())
        self.connections = 0
        self._listener, self._script = listener, script

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection:
                    self._script(connection)


@contextmanager
def serving(script: Callable[[socket.socket], None]) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, script)
        thread = Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def once(reply: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(reply)

    return script


def always(reply: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        while connection.recv(1000):
            connection.sendall(reply)

    return script


def test_every_request_has_a_connection_of_its_own() -> None:
    with serving(always(OK)) as server:
        answers = drive(server.address, Pattern(name="", callers=3), requests=10)
    assert answers.statuses == {200: 10}
    assert len(answers.latencies) == 10
    assert server.connections == 10


def test_a_connection_is_kept_alive() -> None:
    with serving(always(OK)) as server:
        answers = drive(server.address, Pattern(name="", keep_alive=True), requests=10)
    assert answers.statuses == {200: 10}
    assert server.connections == 1


def test_a_connection_is_kept_no_longer_than_the_server_wants() -> None:
    with serving(once(LAST)) as server:
        answers = drive(server.address, Pattern(name="", keep_alive=True), requests=3)
    assert answers.statuses == {200: 3}
    assert answers.unanswered == 0
    assert server.connections == 3


def test_statuses_are_told_apart() -> None:
    with serving(once(FAILED)) as server:
        assert drive(server.address, Pattern(name=""), requests=2).statuses == {500: 2}


@pytest.mark.parametrize("reply", [b"", OK[:-1]])
def test_a_request_without_a_whole_answer_is_no_answer(reply: bytes) -> None:
    with serving(once(reply)) as server:
        answers = drive(server.address, Pattern(name=""), requests=3)
    assert answers.unanswered == 3
    assert answers.latencies == []


def test_nobody_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
    assert drive(address, Pattern(name="", callers=2), requests=4).unanswered == 4


def test_an_answer_may_come_in_pieces() -> None:
    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # noqa: FBT003 - an option's value
        connection.recv(1000)
        for byte in OK:
            connection.sendall(bytes([byte]))

    with serving(script) as server:
        assert drive(server.address, Pattern(name=""), requests=2).statuses == {200: 2}


def test_callers_with_a_period_ask_once_in_it() -> None:
    with serving(always(OK)) as server:
        # At 0, 0.05, 0.1, ... and 0.45: two callers five times each.
        pattern = Pattern(name="", callers=2, period=0.1)
        answers = drive(server.address, pattern, seconds=0.475)
    assert answers.statuses == {200: 10}
    assert answers.seconds >= 0.475


def test_a_path_may_be_asked_for() -> None:
    asked = []

    def script(connection: socket.socket) -> None:
        asked.append(connection.recv(1000))
        connection.sendall(OK)

    with serving(script) as server:
        drive(server.address, Pattern(name="", target="/metrics"), requests=1)
    assert asked[0].startswith(b"GET /metrics HTTP/1.1\r\n")
    assert b"\r\nConnection: close\r\n" in asked[0]
