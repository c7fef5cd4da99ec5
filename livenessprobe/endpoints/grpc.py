"""Unary gRPC calls as endpoints.

A request that is no gRPC call gets an HTTP status, see `_refusal`. A call that fails gets a gRPC
status in trailers. Headers always come first, as hypercorn cannot send gRPC's "Trailers-Only" form
of an error. Deadlines are not looked at, as no response waits.

A call without exactly one whole message is INTERNAL, as in grpc-go. gRPC's table of statuses has
UNIMPLEMENTED for some of these, which the kubelet would take for "no health service here".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import betterproto
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from livenessprobe import protobuf
from livenessprobe.server import response
from livenessprobe.server.response import Headers, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request

T = TypeVar("T", bound=betterproto.Message)

MAX_MESSAGE_BYTES = 1024
"""A health request is a service's name of nine letters. gRPC's usual 4 MiB for each open call would
take more memory than a sidecar has. It is less than `request.BODY_BYTES`, so that a longer message
can be told from one that fits."""

_PREFIX = struct.Struct(">BI")
"""Precedes each message: whether it is compressed, and its length in bytes."""

_CONTENT_TYPES = {b"application/grpc", b"application/grpc+proto"}

_NO_POST = response.with_header(response.text(405, "a gRPC call is a POST\n"), b"allow", b"POST")
_NO_HTTP_2 = response.text(505, "gRPC needs HTTP/2\n")
_NO_GRPC = response.text(415, "the content type of a gRPC call is application/grpc\n")
_NO_TRAILERS = response.text(400, 'a gRPC call has the header "te: trailers"\n')

_HEADERS = ((b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity"))

_MAX_TEXT_BYTES = 1024
"""Percent-encoding may triple a text, and grpcio takes 8 KiB of header fields."""

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a method returns, unless it raises `GRPCError`."""

    message: betterproto.Message
    metadata: Headers = ()


def is_call(request: Request) -> bool:
    """Return whether a request is a POST with the content type of a gRPC call in protobuf."""
    if request.method != "POST":
        return False
    content_type = request.header(b"content-type").partition(b";")[0]
    return content_type.strip().lower() in _CONTENT_TYPES


def unary(request_type: type[T], method: Callable[[T], Reply]) -> Endpoint:
    """Return the endpoint that answers calls of `method`; its `GRPCError` becomes the status."""

    def endpoint(request: Request) -> Response:
        if refusal := _refusal(request):
            return refusal
        try:
            reply = method(_message(request, request_type))
        except GRPCError as error:
            return _failure(error)
        data = bytes(reply.message)
        return Response(
            status=200,
            headers=_HEADERS + reply.metadata,
            body=_PREFIX.pack(False, len(data)) + data,  # noqa: FBT003 - "compressed", see _PREFIX
            trailers=((b"grpc-status", b"0"),),
        )

    return endpoint


def unimplemented(request: Request) -> Response:
    """Answer a call of an unknown method."""
    error = GRPCError(Status.UNIMPLEMENTED, f"unknown method {request.path}")
    return _refusal(request) or _failure(error)


def percent_encode(string: str) -> bytes:
    """Return `string` in the encoding of the `grpc-message` header, at most 1024 bytes of it."""
    return quote(response.encode(string, _MAX_TEXT_BYTES), safe=_PRINTABLE).encode("ascii")


def _refusal(request: Request) -> Response | None:
    if request.method != "POST":
        return _NO_POST
    if request.http_version != "2":
        return _NO_HTTP_2
    if not is_call(request):
        return _NO_GRPC
    if request.header(b"te") != b"trailers":
        return _NO_TRAILERS  # hypercorn would omit the trailers, which have the status
    return None


def _failure(error: GRPCError) -> Response:
    trailers = (
        (b"grpc-status", b"%d" % error.status.value),
        (b"grpc-message", percent_encode(error.message or "")),
    )
    return Response(status=200, headers=_HEADERS, body=b"", trailers=trailers)


def _message(request: Request, message_type: type[T]) -> T:
    """Return the one message of a call. Raises `GRPCError` if there is no such message."""
    if len(request.body) < _PREFIX.size:
        raise GRPCError(Status.INTERNAL, "a call without a message")
    compressed, length = _PREFIX.unpack_from(request.body)
    if length > MAX_MESSAGE_BYTES:
        error = f"a message of {length} bytes, more than {MAX_MESSAGE_BYTES}"
        raise GRPCError(Status.RESOURCE_EXHAUSTED, error)
    data = request.body[_PREFIX.size :]
    if len(data) != length:
        raise GRPCError(Status.INTERNAL, "a call with something else than one whole message")
    if compressed:
        raise _compressed(compressed, request.header(b"grpc-encoding"))
    try:
        return protobuf.parse(data, message_type)
    except protobuf.MalformedMessageError as malformed:
        raise GRPCError(Status.INTERNAL, str(malformed)) from malformed


def _compressed(flag: int, encoding: bytes) -> GRPCError:
    if flag == 1 and encoding not in {b"", b"identity"}:
        return GRPCError(Status.UNIMPLEMENTED, "compressed messages are not supported")
    return GRPCError(Status.INTERNAL, f"a message flagged {flag}, without an encoding for it")
