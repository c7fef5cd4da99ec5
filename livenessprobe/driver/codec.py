"""Replies, read strictly: a driver that answers garbage must not be called healthy."""

from typing import Any

from grpclib.encoding.proto import ProtoCodec

from livenessprobe import protobuf
from livenessprobe.health.errors import RPCError


class StrictCodec(ProtoCodec):
    """grpclib's codec for the replies that `protobuf` can read."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Return the message; raise `RPCError` if `data` is not exactly one."""
        try:
            return protobuf.parse(data, message_type)
        except protobuf.MalformedMessageError as error:
            text = f"grpc: failed to unmarshal the received message: {error}"
            raise RPCError("Internal", text) from error
