"""Parses protobuf messages, and rejects those that betterproto would misread.

betterproto drops a truncated field and accepts a value of the wrong type. A Probe reply without
fields means "ready", and a health request without fields means the whole server, so it would read
a malformed message as a valid one. So each message is first checked against the wire format and
the types of its fields, including those inside wrappers and map entries.

The check is slow, and a healthy driver sends the same few bytes in every reply, as callers do in
every request. So the results for short messages are cached.
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import betterproto
from betterproto import FieldMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T", bound=betterproto.Message)

# The types of the fields in the messages that are parsed here, CSI's and the health service's.
_WIRE_TYPES = {
    betterproto.TYPE_BOOL: betterproto.WIRE_VARINT,
    betterproto.TYPE_STRING: betterproto.WIRE_LEN_DELIM,
    betterproto.TYPE_MESSAGE: betterproto.WIRE_LEN_DELIM,
    betterproto.TYPE_MAP: betterproto.WIRE_LEN_DELIM,
}

MAX_CACHED_BYTES = 256
"""Longer messages are not cached, so that no peer can fill the memory."""

_CACHE_SIZE = 16


class MalformedMessageError(ValueError):
    """The bytes are not a valid message of the expected type."""


def parse(data: bytes, message_type: type[T]) -> T:
    """Return the message in `data`, or raise `MalformedMessageError` if it is not exactly one.

    The fields of the message may be strings, maps of strings, and wrapped bools. The returned
    object may be shared with other callers and must not be changed.
    """
    parse_bytes = _cached_parse if len(data) <= MAX_CACHED_BYTES else _check_and_parse
    try:
        return cast("T", parse_bytes(data, message_type))
    except (LookupError, ValueError) as error:
        raise MalformedMessageError(f"{data[:64]!r} is no {message_type.__name__}") from error


def _check_and_parse(data: bytes, message_type: type[T]) -> T:
    # Every message class is a dataclass, but betterproto.Message is not.
    schema = [FieldMetadata.get(field) for field in fields(cast("Any", message_type))]
    _check(data, schema)
    return message_type.FromString(data)


_cached_parse = lru_cache(_CACHE_SIZE)(_check_and_parse)


def _check(data: bytes, schema: Iterable[FieldMetadata]) -> None:
    known = {meta.number: meta for meta in schema}
    seen: set[int] = set()
    for number, wire_type, value in _parse(data):
        meta = known.get(number)
        if meta is None:
            continue
        if wire_type != _WIRE_TYPES[meta.proto_type]:
            raise ValueError(f"field {number} has wire type {wire_type}")
        if meta.wraps and number in seen:
            raise ValueError(f"field {number} occurs twice")  # protobuf would merge the two
        seen.add(number)
        if parts := _parts(meta):
            _check(value, parts)


def _parts(meta: FieldMetadata) -> list[FieldMetadata]:
    types = (meta.wraps,) if meta.wraps else meta.map_types or ()
    return [FieldMetadata(number, type_) for number, type_ in enumerate(types, start=1)]


def _parse(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the number, wire type and value of each field; raise LookupError or ValueError."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at, bits=32)
        number, wire_type = tag >> 3, tag & 0b111
        match wire_type:
            case betterproto.WIRE_VARINT:
                _, end = _varint(data, at, bits=64)
            case betterproto.WIRE_FIXED_32:
                end = at + 4
            case betterproto.WIRE_FIXED_64:
                end = at + 8
            case betterproto.WIRE_LEN_DELIM:
                length, at = _varint(data, at, bits=32)
                end = at + length
            case _:
                raise ValueError(f"proto3 has no wire type {wire_type}")
        if number == 0 or end > len(data):
            raise ValueError(f"field {number} ends at byte {end} of {len(data)}")
        yield number, wire_type, data[at:end]
        at = end


def _varint(data: bytes, at: int, *, bits: int) -> tuple[int, int]:
    """Return the number that starts at offset `at`, and the offset of its end."""
    value = 0
    for shift in range(0, bits, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80 and value < 1 << bits:
            return value, at
    raise ValueError(f"a number of more than {bits} bits")
