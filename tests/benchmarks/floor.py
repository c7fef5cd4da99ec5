"""The cheapest server there can be in Python, as the floor of what any answer costs.

It stands in the table beside the programs: the more they are slower than this one, the less the
client matters. Run as a command it takes the one flag of a livenessprobe's that it needs.
"""

import select
import socket
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
ENDS = HEAD + b"Connection: close\r\n\r\nok"
STAYS = HEAD + b"\r\nok"

ENDPOINT = "--http-endpoint="


def serve(listener: socket.socket) -> None:
    """Answer every read with "ok", for ever."""
    listener.settimeout(0)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                connections[connection.fileno()] = connection
                epoll.register(connection, select.EPOLLIN)
            elif not _answer(connections[descriptor]):
                connections.pop(descriptor).close()


def _answer(connection: socket.socket) -> bool:
    """Answer the request and return whether there may be another."""
    try:
        request = connection.recv(65536)
        stays = b"Connection: keep-alive\r\n" in request
        if request:
            connection.send(STAYS if stays else ENDS)
    except OSError:
        return False
    return stays


def main() -> None:
    endpoint = next(flag for flag in sys.argv if flag.startswith(ENDPOINT))
    host, _, port = endpoint.removeprefix(ENDPOINT).rpartition(":")
    serve(socket.create_server((host, int(port)), backlog=1024))


if __name__ == "__main__":
    main()
