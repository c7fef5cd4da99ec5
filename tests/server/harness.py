"""`server.serve` on a port of its own, and clients that speak HTTP/1 and HTTP/2 to it.

Real sockets and the real clock: what hypercorn does, it does with both. No bound here is an
expectation, only a reason to give up; a test that is about time sets the server's constants.
"""

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import h11
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded
from hpack import Encoder
from hyperframe.frame import HeadersFrame, SettingsFrame

from livenessprobe.endpoints.health import health
from livenessprobe.endpoints.not_found import not_found
from livenessprobe.health.verdict import Verdict
from livenessprobe.server import response, server
from livenessprobe.server.asgi import Application, Routes
from livenessprobe.server.listen import open_listeners

HEALTHY = Verdict(healthy=True, reason="ok")

PATIENCE = 30.0

# More than the kernel buffers for one connection.
HUGE = 8 << 20

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
GET_HUGE = b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /healthz HTTP/1.1\r\nHost: x\r\n"
POST_CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
H2C = UPGRADE + b"h2c\r\n\r\n"
KEYLESS_WEBSOCKET = UPGRADE + b"websocket\r\n\r\n"
WEBSOCKET = (
    UPGRADE + b"websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2_HELLO = H2_PREFACE + SettingsFrame(0).serialize()
H2_GET = {b":method": b"GET", b":scheme": b"http", b":authority": b"x", b":path": b"/healthz"}


def h2_request(fields: Iterable[tuple[bytes, bytes]] = H2_GET.items(), stream_id: int = 1) -> bytes:
    """Return a request of these header fields, whatever they are, without a body."""
    flags = ["END_HEADERS", "END_STREAM"]
    return HeadersFrame(stream_id, Encoder().encode(fields), flags=flags).serialize()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer; header names are in lower case, `informational` has the 1xx before it."""

    status: int
    headers: dict[str, str]
    body: bytes
    informational: tuple[int, ...] = ()


class Client:
    """One connection that sends raw bytes and reads HTTP/1 answers."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unread = b""

    async def send(self, data: bytes) -> None:
        """Send it all, unless the server hangs up first."""
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def answer(self, method: str = "GET") -> Answer:
        """Read the next answer, to a request of this method."""
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        reader.send(h11.EndOfMessage())
        received, informational, body = self._unread, [], b""
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(received or await self.stream.receive_some())
                received = b""
            elif isinstance(event, h11.InformationalResponse):
                informational.append(event.status_code)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage)
                break
        self._unread, _ = reader.trailing_data
        return Answer(
            status=head.status_code,
            headers={name.decode(): value.decode() for name, value in head.headers},
            body=body,
            informational=tuple(informational),
        )

    async def rest(self) -> bytes:
        """Read until the server closes or resets the connection."""
        received = bytearray(self._unread)
        with suppress(trio.BrokenResourceError):
            async for data in self.stream:
                received += data
        return bytes(received)

    async def close(self) -> None:
        """End the connection with a FIN, or with a RST if there is something to read."""
        await self.stream.aclose()

    async def reset(self) -> None:
        """End the connection with a RST."""
        linger = struct.pack("ii", 1, 0)  # on, for 0 seconds
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await self.stream.aclose()

    async def half_close(self) -> None:
        """Say that there is nothing more to come, and read what there is."""
        with suppress(trio.BrokenResourceError):
            await self.stream.send_eof()
        await self.rest()
        await self.stream.aclose()


class H2Client:
    """One connection that speaks HTTP/2."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.connection = H2Connection(H2Configuration(header_encoding="utf-8"))

    async def start(self) -> None:
        """Begin with prior knowledge."""
        self.connection.initiate_connection()
        await self.stream.send_all(self.connection.data_to_send())

    async def ask(self, path: str = "/healthz", method: str = "GET", body: bytes = b"") -> Answer:
        """Send a request and read its answer."""
        return await self.answer(await self.request(path, method, body))

    async def request(self, path: str, method: str = "GET", body: bytes = b"") -> int:
        """Send a request and return the number of its stream."""
        stream_id = self.connection.get_next_available_stream_id()
        pseudo = {":method": method, ":scheme": "http", ":authority": "x", ":path": path}
        self.connection.send_headers(stream_id, list(pseudo.items()), end_stream=not body)
        if body:
            self.connection.send_data(stream_id, body, end_stream=True)
        await self.stream.send_all(self.connection.data_to_send())
        return stream_id

    async def answer(self, stream_id: int, received: bytes = b"") -> Answer:
        """Read the answer on this stream, of which some may have been received already."""
        headers: dict[str, str] = {}
        body = b""
        while True:
            for event in self.connection.receive_data(received):
                if isinstance(event, ResponseReceived):
                    headers = dict(event.headers)  # type: ignore[arg-type]  # str, see header_encoding
                elif isinstance(event, DataReceived):
                    body += event.data
                    self.connection.acknowledge_received_data(len(event.data), stream_id)
                elif isinstance(event, StreamEnded | ConnectionTerminated):
                    # A server that stops may say goodbye (GOAWAY) instead of ending the stream.
                    return Answer(status=int(headers.pop(":status")), headers=headers, body=body)
            await self.stream.send_all(self.connection.data_to_send())
            received = bytes(await self.stream.receive_some())
            assert received, "the server hung up"


class Server:
    """A running server."""

    def __init__(self, listener: socket.socket) -> None:
        self.stopped = trio.Event()
        self.observed: list[tuple[str, int]] = []
        """The path and the status of each answer."""
        self.listener = listener
        self.address = listener.getsockname()
        self._scope = trio.CancelScope()

    async def run(self, routes: Routes, task_status: trio.TaskStatus[None]) -> None:
        """Serve until stopped."""
        application = Application(routes, not_found(routes), self._observe)
        with self._scope:
            await server.serve(application, [self.listener], task_status=task_status)
        self.stopped.set()

    def _observe(self, path: str, status: int, _seconds: float) -> None:
        self.observed.append((path, status))

    def stop(self) -> None:
        """Cancel `serve`; when it has returned, `stopped` is set."""
        self._scope.cancel()

    @asynccontextmanager
    async def client(self, request: bytes = b"") -> AsyncIterator[Client]:
        """Open a connection for this block and send the request."""
        async with await trio.open_tcp_stream(*self.address) as stream:
            client = Client(stream)
            await client.send(request)
            yield client

    async def ask(self, request: bytes = GET, method: str = "GET") -> Answer:
        """Send one request over a connection of its own."""
        async with self.client(request) as client:
            return await client.answer(method)

    async def assert_unharmed(self) -> None:
        """Require that somebody else gets an answer."""
        answer = await self.ask()
        assert (answer.status, answer.body) == (200, b"ok")


def census() -> tuple[int, int]:
    """Count the open files of this process and the tasks of this run."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    open_files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return open_files, _tasks_below(root)


def _tasks_below(task: trio.lowlevel.Task) -> int:
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return len(children) + sum(map(_tasks_below, children))


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """Wait, after this block, until there are no more open files and tasks than before it."""
    before = census()
    yield
    while any(now > then for now, then in zip(census(), before, strict=True)):  # noqa: ASYNC110 - no event tells of it
        await trio.sleep(0.001)


@asynccontextmanager
async def serving(
    judge: Callable[[], Verdict] = lambda: HEALTHY, *, patience: float = PATIENCE
) -> AsyncIterator[Server]:
    """Serve while the block runs. When its clients are gone, nothing of them must be left."""
    routes = {
        "/healthz": health("healthz", judge, lambda: None),
        "/huge": lambda _: response.make(200, "text/plain", bytes(HUGE)),
        "/echo": lambda request: response.make(200, "text/plain", request.body),
    }
    with trio.fail_after(patience):
        async with leaving_nothing(), trio.open_nursery() as nursery:
            [listener] = await open_listeners("127.0.0.1:0")
            web = Server(listener)
            await nursery.start(web.run, routes)
            async with leaving_nothing():
                yield web
            web.stop()
