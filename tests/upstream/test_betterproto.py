"""Bytes that betterproto takes for a message; livenessprobe/protobuf.py refuses them."""

import pytest

from generated.csi.v1 import GetPluginInfoResponse, ProbeResponse

READY = b"\x0a\x02\x08\x01"

PROBE_RESPONSES = {
    "a field that is cut short": b"\x0a\x05",
    "a field of the wrong type": b"\x08\x01",
    "a wrapped field of the wrong type": b"\x0a\x02\x0a\x00",
    "field number 0": READY + b"\x02\x00",
}


@pytest.mark.xfail(strict=True, reason="read as a message; see livenessprobe/protobuf.py")
@pytest.mark.parametrize("said", PROBE_RESPONSES.values(), ids=PROBE_RESPONSES)
def test_what_is_no_message_is_refused(said: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - any, it has none of its own
        ProbeResponse.FromString(said)


def test_a_message() -> None:
    assert ProbeResponse.FromString(READY).ready is True
    assert GetPluginInfoResponse.FromString(b"\x0a\x01x").name == "x"
