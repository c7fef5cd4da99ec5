"""HTTP/2 as grpc-go speaks it, from h2 and hpack: all that reaches into their private names.

What h2 does otherwise, and why that matters here:

- It begins with a list of settings. grpc-go's SETTINGS frame is empty, and drivers know no other.
- It takes 64 KiB of headers. For more, hpack is too slow: it copies what is left of a block for
  each field in it, and takes any number of table size updates, a byte each, 0.7 s for a megabyte.
- It refuses what follows a GOAWAY: answers that are in flight, and PINGs.
- It encodes the same headers anew on each connection.

tests/upstream/test_h2.py fails when one of these changes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from h2.exceptions import DenialOfServiceError, ProtocolError
from hpack import Decoder, Encoder, HPACKDecodingError
from hyperframe.frame import SettingsFrame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.events import Event
    from hpack import HeaderTuple
    from hyperframe.frame import Frame, GoAwayFrame

MAX_HEADER_LIST_BYTES = 1024 * 1024
"""Size of the response headers, and of the trailers, as RFC 9113 section 10.5.1 counts it."""

MAX_SIZE_UPDATES = 2
"""Of the table, in one block: RFC 7541, section 4.2."""

_BEGINNING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()

_CONFIG = H2Configuration(
    client_side=True,
    header_encoding=None,  # bytes, whose encoding is the reader's business
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)


class ClientConnection(H2Connection):
    """A connection that begins, asks and reads as one of grpc-go does."""

    DEFAULT_MAX_HEADER_LIST_SIZE = MAX_HEADER_LIST_BYTES

    timeout = ""
    """The `grpc-timeout` of the next request."""

    def __init__(self) -> None:
        super().__init__(_CONFIG)
        self.encoder = _Encoder()
        self.decoder = _Decoder(MAX_HEADER_LIST_BYTES)

    def initiate_connection(self) -> None:
        """Send the preface and empty SETTINGS; what it keeps to is HTTP/2's default."""
        super().initiate_connection()
        self.clear_outbound_data_buffer()
        self._data_to_send += _BEGINNING

    def send_headers(self, stream_id: int, headers: Any, *args: Any, **kwargs: Any) -> None:
        """Send a request's headers, in grpc-go's order, with `:authority: localhost`."""
        grpc = dict(headers)
        ordered = [
            (":method", grpc[":method"]),
            (":scheme", grpc[":scheme"]),
            (":path", grpc[":path"]),
            (":authority", "localhost"),
            ("content-type", grpc["content-type"]),
            ("user-agent", grpc["user-agent"]),
            ("te", grpc["te"]),
            ("grpc-timeout", self.timeout),
        ]
        super().send_headers(stream_id, ordered, *args, **kwargs)

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = 0) -> None:  # noqa: ARG002 - see below
        """Cancel a request; grpclib would say NO_ERROR, which means that all is well."""
        super().reset_stream(stream_id, ErrorCodes.CANCEL)

    def close(self) -> None:
        """Break a reference cycle, so that no full collection has to find it."""
        self._frame_dispatch_table.clear()

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]  # and the state stays what it was


def limit_exceeded(error: Exception) -> bool:
    """Return whether `error`, of `receive_data`, is about a limit of ours, not of the protocol."""
    return isinstance(error, DenialOfServiceError) or (
        isinstance(error, ProtocolError) and "Too many continuation frames" in str(error)
    )


class _Encoder(Encoder):
    """Encodes headers as on a new connection, and keeps the result for the next one.

    Such a block refers to nothing that came before it, so it is valid on any connection.
    """

    def encode(self, headers: Any, huffman: bool = True) -> bytes:  # noqa: FBT001, FBT002 - hpack's
        if self.header_table.resized:  # the driver has asked for that, and expects the new size
            return super().encode(headers, huffman)
        return _encode(tuple(headers))


@lru_cache(maxsize=16)
def _encode(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return Encoder().encode(headers)


class _Decoder(Decoder):
    """hpack's, in a time that grows as the block and its fields do."""

    _size_updates = 0

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:  # noqa: FBT001, FBT002 - hpack's
        self._size_updates = 0
        return super().decode(data, raw)

    def _update_encoding_context(self, data: bytes | memoryview) -> int:
        self._size_updates += 1
        if self._size_updates > MAX_SIZE_UPDATES:
            raise HPACKDecodingError("too many table size updates")
        return super()._update_encoding_context(data)

    def _decode_literal(
        self,
        data: bytes | memoryview,
        should_index: bool,  # noqa: FBT001 - hpack's
    ) -> tuple[HeaderTuple, int]:
        for size in 512, 32 * 1024:
            try:
                return super()._decode_literal(data[:size], should_index)
            except HPACKDecodingError:  # cut short, or really broken
                pass
        return super()._decode_literal(data, should_index)
