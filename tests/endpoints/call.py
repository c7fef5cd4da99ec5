"""gRPC's side of HTTP/2, by hand: what a call is made of, and a client that shows every part."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, TrailersReceived

from tests.server.harness import H2Client

CHECK = "/grpc.health.v1.Health/Check"
LIST = "/grpc.health.v1.Health/List"

HEADERS = {b"content-type": b"application/grpc", b"te": b"trailers"}


def framed(message: bytes) -> bytes:
    """Return a message behind its prefix: not compressed, and its length."""
    return struct.pack(">BI", 0, len(message)) + message


def request_for(service: str) -> bytes:
    """Return the framed request for the health of a service with a short name."""
    return framed(b"\x0a" + bytes([len(service)]) + service.encode() if service else b"")


@dataclass(slots=True)
class Answered:
    """What came on one stream, in this order."""

    headers: dict[str, str]
    body: bytes = b""
    trailers: dict[str, str] | None = None


class Caller:
    """A connection that makes calls, one after another or at once."""

    def __init__(self, client: H2Client) -> None:
        self.connection = client.connection
        self.stream = client.stream
        self._answered: dict[int, Answered] = {}
        self._ended: set[int] = set()

    async def flush(self) -> None:
        """Send what there is to send."""
        await self.stream.send_all(self.connection.data_to_send())

    async def begin(
        self, path: str = CHECK, method: str = "POST", headers: Mapping[bytes, bytes] = HEADERS
    ) -> int:
        """Send the head of a call and return the number of its stream."""
        stream_id: int = self.connection.get_next_available_stream_id()
        pseudo = {":method": method, ":scheme": "http", ":authority": "x", ":path": path}
        self.connection.send_headers(stream_id, [*pseudo.items(), *headers.items()])
        await self.flush()
        return stream_id

    async def end(self, stream_id: int, *parts: bytes) -> None:
        """Send the body of a call in these parts, and end it."""
        for part in parts:
            self.connection.send_data(stream_id, part)
        self.connection.end_stream(stream_id)
        await self.flush()

    async def answer(self, stream_id: int) -> Answered:
        """Read until this stream has ended."""
        while stream_id not in self._ended:
            received = bytes(await self.stream.receive_some())
            assert received, "the server hung up"
            for event in self.connection.receive_data(received):
                self._note(event)
            await self.flush()
        return self._answered[stream_id]

    async def call(
        self,
        *parts: bytes,
        path: str = CHECK,
        method: str = "POST",
        headers: Mapping[bytes, bytes] = HEADERS,
    ) -> Answered:
        """Make one call, its body in these parts, and read the answer."""
        stream_id = await self.begin(path, method, headers)
        await self.end(stream_id, *parts)
        return await self.answer(stream_id)

    def _note(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self._answered[event.stream_id] = Answered(dict(event.headers))  # type: ignore[arg-type]  # str, see header_encoding
            case DataReceived():
                self._answered[event.stream_id].body += event.data
            case TrailersReceived():
                self._answered[event.stream_id].trailers = dict(event.headers)  # type: ignore[arg-type]  # likewise
            case StreamEnded():
                self._ended.add(event.stream_id)
