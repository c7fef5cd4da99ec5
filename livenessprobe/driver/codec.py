"""Replies, read strictly: a driver that answers garbage must not be called healthy."""

from typing import Any

from grpclib.encoding.proto import ProtoCodec

from livenessprobe import protobuf


class MalformedReplyError(ValueError):
    """The driver's reply is not one message of its type."""


class StrictCodec(ProtoCodec):
    """grpclib's codec for the replies that `protobuf` can read."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Return the message; raise `MalformedReplyError` if `data` is not exactly one."""
        try:
            return protobuf.parse(data, message_type)
        except protobuf.MalformedMessageError as error:
            raise MalformedReplyError(str(error)) from error
