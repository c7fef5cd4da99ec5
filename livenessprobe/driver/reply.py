"""Validates one unary reply: response headers, one message, trailers with status OK.

    headers --> data ... --> trailers      complete
    headers with the end of the stream     an error: with status OK, the message is missing

A violation is raised as `RPCError` as soon as it is received, with grpc-go's status and text. The
rules are those of gRPC's PROTOCOL-HTTP2.md, read as grpc-go reads them. No IO; of HTTP/2 it knows
only header fields and bytes of DATA.
"""

from __future__ import annotations

import re
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING

from grpclib.const import Status
from grpclib.metadata import decode_grpc_message, decode_metadata

from livenessprobe.driver.statuses import GO_STATUS, HTTP_STATUS
from livenessprobe.health.errors import RPCError
from livenessprobe.strconv import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    Fields = list[tuple[str, str]]

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Bytes of one message: grpc-go's default limit."""

_PREFIX = struct.Struct(">BI")  # of each message: Compressed-Flag and Message-Length
_GRPC = "application/grpc"
_HTTP_STATUSES = {status.value for status in HTTPStatus}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class Reply:
    """What was received of one reply. Methods raise `RPCError`, and are then called no more."""

    def __init__(self) -> None:
        self.started = False
        """The response headers were received."""
        self.complete = False
        """A whole message and a status OK were received."""
        self._http_status = ""
        self._encoding = ""
        self._prefix = b""
        self._received = 0
        self._missing = _PREFIX.size

    def headers(self, fields: Fields, *, ended: bool) -> None:
        """Receive the response headers, which are the trailers too if the stream has `ended`."""
        self.started = True
        headers = dict(fields)
        self._http_status = headers.get(":status", "")
        self._encoding = headers.get("grpc-encoding", "identity")
        _check_content_type(headers)
        _check_metadata(fields)
        if ended:
            self._finish(headers)

    def data(self, data: bytes) -> None:
        """Receive a part of the message."""
        self._prefix += data[: _PREFIX.size - len(self._prefix)]
        self._received += len(data)
        if len(self._prefix) < _PREFIX.size:
            return
        compressed, length = _PREFIX.unpack(self._prefix)
        if compressed == 1 and self._encoding == "identity":
            raise RPCError("Internal", "grpc: compressed flag set with identity or empty encoding")
        if compressed == 1:
            name = quote(self._encoding)
            text = f"grpc: Decompressor is not installed for grpc-encoding {name}"
            raise RPCError("Internal", text)
        if compressed:
            raise RPCError("Internal", f"grpc: received unexpected payload format {compressed}")
        if length > MAX_MESSAGE_BYTES:
            text = f"grpc: received message larger than max ({length} vs. {MAX_MESSAGE_BYTES})"
            raise RPCError("ResourceExhausted", text)
        self._missing = _PREFIX.size + length - self._received
        if self._missing < 0:
            text = "expected <EOF> for non server-streaming RPCs, but received another message"
            raise RPCError("Internal", f"cardinality violation: {text}")

    def trailers(self, fields: Fields) -> None:
        """Receive the trailers."""
        _check_metadata(fields)
        self._finish(dict(fields))

    def end(self) -> None:
        """Receive the end of the stream."""
        if not self.complete:
            raise RPCError("Internal", "server closed the stream without sending trailers")

    def _finish(self, trailers: Mapping[str, str]) -> None:
        self._check_status(trailers)
        if not self._received:
            text = "received no response message from non-server-streaming RPC"
            raise RPCError("Internal", f"cardinality violation: {text}")
        if self._missing > 0:
            raise RPCError("Internal", "unexpected EOF")
        self.complete = True

    def _check_status(self, trailers: Mapping[str, str]) -> None:
        value = trailers.get("grpc-status")
        if value is None:
            if self._http_status not in ("", "200"):
                raise _http_error(self._http_status)
            raise RPCError("Unknown", "the driver sent no grpc-status")
        code = _integer(value)
        if code is None:
            raise RPCError("Unknown", f"transport: malformed grpc-status: {quote(value)}")
        text = decode_grpc_message(trailers.get("grpc-message", ""))
        if code not in GO_STATUS:
            raise RPCError("Unknown", f"grpc-status {code}: {text}")
        if code != Status.OK.value:
            raise RPCError(GO_STATUS[code], text)


def _check_content_type(headers: Mapping[str, str]) -> None:
    content_type = headers.get("content-type")
    if content_type is None:
        flaw = "malformed header: missing HTTP content-type"
    elif content_type == _GRPC or content_type.startswith((f"{_GRPC}+", f"{_GRPC};")):
        return
    else:
        flaw = f"transport: received unexpected content-type {quote(content_type)}"
    if ":status" not in headers:
        raise RPCError("Internal", f"malformed header: missing HTTP status; {flaw}")
    raise _http_error(headers[":status"], f"; {flaw}")


def _http_error(status: str, details: str = "") -> RPCError:
    code = _integer(status)
    if code is None:
        return RPCError("Internal", f"transport: malformed http-status: {quote(status)}")
    phrase = HTTPStatus(code).phrase if code in _HTTP_STATUSES else ""
    text = f"unexpected HTTP status code received from server: {code} ({phrase}){details}"
    return RPCError(HTTP_STATUS.get(code, "Unknown"), text)


def _integer(text: str) -> int | None:
    """Return a decimal number; None for anything else that int() takes or chokes on."""
    return int(text) if _INTEGER.fullmatch(text) else None


def _check_metadata(fields: Fields) -> None:
    for field in fields:
        try:
            decode_metadata([field])
        except ValueError as error:
            raise RPCError("Internal", f"transport: malformed {field[0]}: {error}") from error
