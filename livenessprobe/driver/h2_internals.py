"""An HTTP/2 client connection that sends and reads as grpc-go does, made of h2 and hpack.

Where h2 and hpack differ from grpc-go, and why it matters:

- h2's first SETTINGS frame has entries; grpc-go's is empty, and drivers are tested with that one.
- h2 limits a header block to 64 KiB. With more, hpack is too slow: it copies the rest of a block
  for each field, and accepts any number of table size updates, 0.7 s for a megabyte of them.
- h2 takes any number of frames. Each costs some 10 us, and one of DATA some 400 bytes until it is
  read.
- h2 refuses everything after a GOAWAY, even replies in flight and PINGs.
- hpack encodes the same headers anew for each connection.

What this module relies on beyond the documentation, tested in tests/upstream/test_h2.py:

    h2.connection   H2Connection._receive_goaway_frame, overridden; _data_to_send;
                    _frame_dispatch_table; state_machine, given an input; encoder and decoder,
                    replaced; incoming_buffer, replaced; the text of one error
    h2.frame_buffer FrameBuffer._update_header_buffer, overridden: it is given every frame
    hpack           Decoder._decode_literal and _update_encoding_context, overridden;
                    Encoder.header_table.resized
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.frame_buffer import FrameBuffer
from hpack import Decoder, Encoder, HPACKDecodingError
from hyperframe.frame import SettingsFrame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.events import Event
    from hpack import HeaderTuple
    from hyperframe.frame import Frame, GoAwayFrame

MAX_HEADER_LIST_BYTES = 1024 * 1024
"""Size of the response headers, and of the trailers, as RFC 9113 section 10.5.1 counts it."""

MAX_FRAMES = 16 * 1024
"""Frames of all kinds received during one call; the largest message has 4,097 of 1 KiB."""

MAX_SIZE_UPDATES = 2
"""Dynamic table size updates in one header block: RFC 7541 section 4.2."""

# RFC 9113 section 3.4, with the empty SETTINGS frame of grpc-go.
_CONNECTION_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()

_CONFIG = H2Configuration(
    client_side=True,
    header_encoding=None,  # bytes: `grpclib_internals` decodes them
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)


class ClientConnection(H2Connection):
    """The client side of a connection, without IO. The owner calls `close` when it is done."""

    DEFAULT_MAX_HEADER_LIST_SIZE = MAX_HEADER_LIST_BYTES

    _timeout = ""

    def __init__(self) -> None:
        super().__init__(_CONFIG)
        self.incoming_buffer: _FrameBuffer = _FrameBuffer()
        self.encoder = _Encoder()
        self.decoder = _Decoder(MAX_HEADER_LIST_BYTES)

    def initiate_connection(self) -> None:
        """Send the preface with empty SETTINGS: HTTP/2's default values, which h2 keeps to."""
        self.state_machine.process_input(ConnectionInputs.SEND_SETTINGS)
        self._data_to_send += _CONNECTION_PREFACE

    def start_call(self, timeout: str) -> None:
        """Set the `grpc-timeout` of the next request, and allow its reply `MAX_FRAMES`."""
        self._timeout = timeout
        self.incoming_buffer.frames = 0

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
            ("grpc-timeout", self._timeout),
        ]
        super().send_headers(stream_id, ordered, *args, **kwargs)

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = 0) -> None:  # noqa: ARG002 - see below
        """Cancel a request with the error code CANCEL, whatever `error_code` is.

        grpclib gives NO_ERROR, which RFC 9113 section 7 has for a graceful end.
        """
        super().reset_stream(stream_id, ErrorCodes.CANCEL)

    def close(self) -> None:
        """Break a reference cycle, so that no full garbage collection has to find it."""
        self._frame_dispatch_table.clear()

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]  # the connection's state stays open, so that more can be received


def exceeded_limit(error: Exception) -> str:
    """Return which limit of ours an error of `receive_data` is about, or "" for the protocol."""
    if isinstance(error, _TooManyFramesError):
        return f"{MAX_FRAMES} frames for a reply"
    if isinstance(error, DenialOfServiceError) or (
        isinstance(error, ProtocolError) and "Too many continuation frames" in str(error)
    ):
        return f"{MAX_HEADER_LIST_BYTES} bytes of headers"
    return ""


class _TooManyFramesError(DenialOfServiceError):
    pass


class _FrameBuffer(FrameBuffer):
    """Parses frames, and counts them."""

    frames = 0

    def _update_header_buffer(self, f: Frame | None) -> Frame | None:
        self.frames += 1
        if self.frames > MAX_FRAMES:
            raise _TooManyFramesError
        return super()._update_header_buffer(f)


class _Encoder(Encoder):
    """Encodes headers as a new connection would, and caches the result.

    Such a header block does not refer to the dynamic table, so it is valid on any connection.
    """

    def encode(self, headers: Any, huffman: bool = True) -> bytes:  # noqa: FBT001, FBT002 - hpack's
        if self.header_table.resized:  # by the driver's SETTINGS: the block has to start with it
            return super().encode(headers, huffman)
        return _encode(tuple(headers))


@lru_cache(maxsize=16)
def _encode(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return Encoder().encode(headers)


class _Decoder(Decoder):
    """Decodes in time proportional to the size of the block and of its fields."""

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
            except HPACKDecodingError:  # the field is longer, or invalid
                pass
        return super()._decode_literal(data, should_index)
