"""A grpclib codec that refuses malformed replies, which must not count as healthy."""

from typing import Any

from grpclib.encoding.proto import ProtoCodec

from livenessprobe import protobuf
from livenessprobe.health.errors import RPCError


class StrictCodec(ProtoCodec):
    """grpclib's protobuf codec, with the strict parser of `livenessprobe.protobuf`."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Return the message; raise `RPCError` unless `data` is exactly one."""
        try:
            return protobuf.parse(data, message_type)
        except protobuf.MalformedMessageError as error:
            text = f"grpc: failed to unmarshal the received message: {error}"
            raise RPCError("Internal", text) from error
