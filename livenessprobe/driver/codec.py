"""Protobuf messages, strictly.

betterproto reads what it can: it drops a field that is cut short, and takes a value of the wrong
type as it comes. A Probe reply without fields means "ready", so leniency could call a driver
healthy that answers garbage.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import betterproto
from grpclib.encoding.proto import ProtoCodec

# Stands behind the message, and is found again only if the message is whole: the highest field
# number there is, as a varint 0.
_SENTINEL = b"\xf8\xff\xff\xff\x0f\x00"

_WIRE_TYPES = {
    betterproto.WIRE_VARINT,
    betterproto.WIRE_FIXED_64,
    betterproto.WIRE_LEN_DELIM,
    betterproto.WIRE_FIXED_32,
}


class MalformedReplyError(ValueError):
    """The driver's reply is no valid message of its type."""


class StrictCodec(ProtoCodec):
    """grpclib's codec for replies whose fields are strings, maps and messages: CSI's Identity."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Return the message; raise `MalformedReplyError` if `data` is not exactly one."""
        try:
            _check(data, message_type)
            return super().decode(data, message_type)
        except (EOFError, LookupError, ValueError) as error:
            raise MalformedReplyError(f"{data[:64]!r} is no {message_type.__name__}") from error


def _check(data: bytes, message_type: Any) -> None:
    known = {betterproto.FieldMetadata.get(field).number for field in fields(message_type)}
    *found, last = betterproto.parse_fields(data + _SENTINEL)
    if last.raw != _SENTINEL:
        raise ValueError("cut short")
    for field in found:
        expected = {betterproto.WIRE_LEN_DELIM} if field.number in known else _WIRE_TYPES
        if field.wire_type not in expected:
            raise ValueError(f"field {field.number} has wire type {field.wire_type}")
