import pytest

from generated.csi.v1 import ProbeRequest, ProbeResponse
from livenessprobe.driver.codec import StrictCodec
from livenessprobe.health.errors import RPCError


def test_requests_are_encoded() -> None:
    assert StrictCodec().encode(ProbeRequest(), ProbeRequest) == b""


def test_replies_are_decoded() -> None:
    assert StrictCodec().decode(b"\x0a\x02\x08\x01", ProbeResponse).ready is True


def test_a_malformed_reply_is_named() -> None:
    with pytest.raises(
        RPCError, match=r"failed to unmarshal the received message: b'\\n' is no ProbeResponse$"
    ):
        StrictCodec().decode(b"\x0a", ProbeResponse)
