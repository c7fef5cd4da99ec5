"""Checks that protobuf's own parser accepts what `protobuf.parse` does, with the same result."""

from importlib.resources import files
from typing import Any

import pytest
from google.protobuf import (  # type: ignore[import-untyped]  # protobuf ships no types
    descriptor_pb2,
    message_factory,
)
from grpc_tools import protoc  # type: ignore[import-untyped]  # grpcio-tools likewise
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generated.csi.v1 import GetPluginInfoResponse, ProbeResponse
from generated.grpc.health.v1 import HealthCheckRequest, HealthListRequest
from livenessprobe.protobuf import MAX_CACHED_BYTES, MalformedMessageError, parse

PROTOS = ("csi_identity.proto", "grpc_health.proto")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The message classes of the protobuf library by their full names."""
    descriptors = tmp_path_factory.mktemp("proto") / "descriptors"
    sources = [files("generated") / "proto", files("grpc_tools") / "_proto"]
    options = ["--include_imports", f"--descriptor_set_out={descriptors}"]
    command = ["protoc", *(f"-I{source}" for source in sources), *options, *PROTOS]
    assert protoc.main(command) == 0
    file_set = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    classes: dict[str, Any] = message_factory.GetMessages(file_set.file)
    return classes


@pytest.mark.parametrize(
    ("data", "ready"),
    [
        ("", None),
        ("0a 00", False),
        ("0a 02 08 00", False),
        ("0a 02 08 01", True),
        ("0a 03 08 80 01", True),
        ("0a 04 08 00 08 01", True),
        ("10 05 0a 02 08 01", True),
        ("0a 02 08 01 12 03 61 62 63", True),
        ("0a 02 08 01 1d 00 00 00 00", True),
        ("0a 02 08 01 19 00 00 00 00 00 00 00 00", True),
        ("fa ff ff ff 0f 00", None),
    ],
)
def test_whether_a_probe_reply_is_ready(
    theirs: dict[str, Any], data: str, *, ready: bool | None
) -> None:
    assert parse(bytes.fromhex(data), ProbeResponse).ready is ready
    reply = theirs["csi.v1.ProbeResponse"].FromString(bytes.fromhex(data))
    assert (reply.ready.value if reply.HasField("ready") else None) is ready


MALFORMED = {
    "a tag alone": "0a",
    "half a tag": "8a",
    "half a message": "0a 02 08",
    "a number without an end": "08 80",
    "half a wrapped number": "0a 02 08 80",
    "half of 32 bits": "1d 00 00 00",
    "half of 64 bits": "19 00 00 00 00 00 00 00",
    "ready is a number": "08 01",
    "ready is 32 bits": "0d 01 00 00 00",
    "ready holds a message": "0a 02 0a 00",
    "ready holds packed numbers": "0a 04 0a 02 00 00",
    "ready comes twice": "0a 02 08 01 0a 00",
    "more than 64 bits": "0a 0b 08 80 80 80 80 80 80 80 80 80 02",
    "a tag of more than 32 bits": "fa ff ff ff 1f 00",
    "a tag that is too long": "8a 80 80 80 80 00 00",
    "a length that is too long": "0a 80 80 80 80 80 00",
    "field 0": "02 00",
    "a group": "13 14",
    "no wire type": "0e",
    "text": "48 54 54 50 2f 31 2e 31",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_probe_replies(data: str) -> None:
    with pytest.raises(MalformedMessageError, match=r"is no ProbeResponse$"):
        parse(bytes.fromhex(data), ProbeResponse)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x02\xc3",
        b"\x0a\x01\xff",
        b"\x0a\x03\xed\xa0\x80",
        b"\x08\x01",
        b"\x0a\x01a\x1a\x01\x0a",
        b"\x0a\x01a\x1a\x02\x08\x01",
        b"\x0a\x01a\x1a\x03\x0a\x01\xff",
    ],
)
def test_malformed_names_and_manifests(data: bytes) -> None:
    with pytest.raises(MalformedMessageError, match=r"is no GetPluginInfoResponse$"):
        parse(data, GetPluginInfoResponse)


def test_only_the_start_of_a_long_reply_is_shown() -> None:
    with pytest.raises(MalformedMessageError) as caught:
        parse(b"\xff" * 1_000_000, ProbeResponse)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("spare", [0, -1])
def test_a_short_message_is_cached_and_a_long_one_is_not(spare: int) -> None:
    name = "x" * (MAX_CACHED_BYTES - 3 - spare)
    data = b"\x0a" + varint(len(name)) + name.encode()
    first, second = (parse(data, GetPluginInfoResponse) for _ in range(2))
    assert first.name == second.name == name
    assert (first is second) is (len(data) <= MAX_CACHED_BYTES)


def test_the_same_bytes_may_be_two_messages() -> None:
    data = b"\x0a\x02\x08\x01"
    assert parse(data, ProbeResponse).ready is True
    assert parse(data, GetPluginInfoResponse).name == "\x08\x01"
    assert parse(data, ProbeResponse).ready is True


def varint(value: int, padding: int = 0) -> bytes:
    """Encode a number in `padding` bytes more than necessary."""
    size = max(1, -(-value.bit_length() // 7)) + padding
    groups = [value >> 7 * i & 0x7F | 0x80 for i in range(size)]
    return bytes([*groups[:-1], groups[-1] & 0x7F])


def field(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Any field, well-formed or nearly so; `content` is that of a field with a length."""
    number = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 16, 2**29 - 1, 2**29])
    padding = st.sampled_from([0, 0, 0, 0, 1, 4, 5])
    values = {
        0: st.builds(varint, st.sampled_from([0, 1, 2, 2**63, 2**64 - 1, 2**64]), padding),
        1: st.binary(min_size=8, max_size=8),
        2: st.builds(lambda body, pad: varint(len(body), pad) + body, content, padding),
        5: st.binary(min_size=4, max_size=4),
        6: st.just(b""),
    }
    wire_type = st.sampled_from([0, 1, 2, 2, 2, 5, 6])
    return wire_type.flatmap(
        lambda kind: st.builds(
            lambda number, pad, value: varint(number << 3 | kind, pad) + value,
            number,
            padding,
            values[kind],
        )
    )


def fields(content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(field(content), max_size=3).map(b"".join)


TEXT = st.sampled_from([b"", b"a", "é".encode(), b"\xff"])
REPLIES = st.binary(max_size=24) | fields(TEXT | fields(TEXT))


def as_theirs(
    data: bytes, message_type: type, theirs: dict[str, Any], package: str = "csi.v1"
) -> tuple[Any, Any]:
    """Parse with both; the protobuf library has to accept what `parse` accepts."""
    message: Any = parse(data, message_type)
    return message, theirs[f"{package}.{message_type.__name__}"].FromString(data)


@settings(max_examples=300)
@given(data=REPLIES)
@example(data=b"\x0a\x02\x0a\x00")
def test_readiness_is_parsed_as_protobuf_parses_it(theirs: dict[str, Any], data: bytes) -> None:
    try:
        ours, other = as_theirs(data, ProbeResponse, theirs)
    except MalformedMessageError:
        return
    assert ours.ready is (other.ready.value if other.HasField("ready") else None)


@settings(max_examples=300)
@given(data=REPLIES)
def test_names_are_parsed_as_protobuf_parses_them(theirs: dict[str, Any], data: bytes) -> None:
    try:
        ours, other = as_theirs(data, GetPluginInfoResponse, theirs)
    except MalformedMessageError:
        return
    assert (ours.name, ours.vendor_version) == (other.name, other.vendor_version)


@settings(max_examples=300)
@given(data=REPLIES)
def test_health_requests_are_parsed_as_protobuf_parses_them(
    theirs: dict[str, Any], data: bytes
) -> None:
    try:
        ours, other = as_theirs(data, HealthCheckRequest, theirs, "grpc.health.v1")
    except MalformedMessageError:
        return
    assert ours.service == other.service


@pytest.mark.parametrize(
    ("data", "is_message"), [("", True), ("0a 01 61", True), ("08 80", False), ("0b", False)]
)
def test_a_message_type_without_fields_rejects_malformed_bytes(
    data: str, *, is_message: bool
) -> None:
    try:
        parse(bytes.fromhex(data), HealthListRequest)
    except MalformedMessageError:
        assert not is_message
    else:
        assert is_message


@given(name=st.text(), vendor_version=st.text(), manifest=st.dictionaries(st.text(), st.text()))
def test_messages_serialised_by_protobuf_are_parsed(
    theirs: dict[str, Any], **parts: str | dict[str, str]
) -> None:
    data = theirs["csi.v1.GetPluginInfoResponse"](**parts).SerializeToString()
    reply = parse(data, GetPluginInfoResponse)
    assert {part: getattr(reply, part) for part in parts} == parts
