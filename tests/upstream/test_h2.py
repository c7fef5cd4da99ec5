"""Where h2 needs something around it.

A strict xfail that passes tells of a release without that need.
"""

import time

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Decoder, HPACKDecodingError
from hyperframe.frame import (
    ContinuationFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
)

from tests.server.harness import H2_HELLO


def server() -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=False))
    agreed = {SettingCodes.MAX_HEADER_LIST_SIZE: 16_384}
    connection.local_settings = Settings(client=False, initial_values=agreed)
    connection.initiate_connection()
    connection.receive_data(H2_HELLO)
    return connection


@pytest.mark.xfail(
    strict=True, reason="frames that ask nothing are not counted: server/limits.py does"
)
@pytest.mark.parametrize("frame", [PingFrame(0, bytes(8)), SettingsFrame(0)])
def test_a_flood_is_refused(frame: PingFrame | SettingsFrame) -> None:
    connection = server()
    with pytest.raises(ProtocolError):
        connection.receive_data(frame.serialize() * 5_000)


@pytest.mark.xfail(
    strict=True, reason="1 MB is kept before a header block is judged: server/limits.py"
)
def test_a_header_block_larger_than_agreed_is_refused_before_its_end() -> None:
    connection = server()
    connection.receive_data(HeadersFrame(1, b"").serialize())
    with pytest.raises(ProtocolError):
        connection.receive_data(ContinuationFrame(1, bytes(16_000)).serialize() * 60)


def client() -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    request = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/x"}
    connection.send_headers(1, list(request.items()), end_stream=True)
    connection.receive_data(SettingsFrame(0).serialize())
    return connection


@pytest.mark.xfail(
    strict=True,
    reason="SETTINGS are never empty: livenessprobe/driver/h2_internals.py sends its own",
)
def test_a_client_sends_empty_settings() -> None:
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    assert connection.data_to_send().endswith(SettingsFrame(0).serialize())


@pytest.mark.xfail(
    strict=True,
    raises=ProtocolError,
    reason="nothing may follow a GOAWAY: livenessprobe/driver/h2_internals.py takes it as no end",
)
def test_what_is_in_flight_is_read_after_goaway() -> None:
    connection = client()
    connection.receive_data(GoAwayFrame(0, last_stream_id=1).serialize())
    connection.receive_data(PingFrame(0, bytes(8)).serialize())


def seconds_to_decode(fields: int) -> float:
    block = b"\x88" + fields * b"\0\1x\1y"
    started_at = time.process_time()
    Decoder(max_header_list_size=2**30).decode(block)
    return time.process_time() - started_at


@pytest.mark.xfail(
    strict=True,
    reason="hpack copies the rest of a block for each field: livenessprobe/driver/h2_internals.py",
)
def test_sixteen_times_the_fields_take_sixteen_times_as_long() -> None:
    least = min(seconds_to_decode(3_000) for _ in range(3))
    assert seconds_to_decode(48_000) < 32 * least


@pytest.mark.xfail(
    strict=True, reason="any number is taken: livenessprobe/driver/h2_internals.py takes two"
)
def test_table_size_updates_are_limited() -> None:
    with pytest.raises(HPACKDecodingError):
        Decoder().decode(1000 * b"\x20" + b"\x88")


def test_a_client_can_be_made_to_begin_otherwise() -> None:
    """What livenessprobe/driver/h2_internals.py reaches into."""
    connection = client()
    assert isinstance(connection._data_to_send, bytearray)  # noqa: SLF001 - see above
    assert GoAwayFrame in connection._frame_dispatch_table  # noqa: SLF001 - see above
    assert "_receive_goaway_frame" in vars(H2Connection)
    assert {"_decode_literal", "_update_encoding_context"} <= set(vars(Decoder))


def test_the_limit_of_continuation_frames_is_told_by_its_text() -> None:
    connection = client()
    frames = HeadersFrame(1, b"").serialize() + 100 * ContinuationFrame(1, b"").serialize()
    with pytest.raises(ProtocolError, match="Too many continuation frames"):
        connection.receive_data(frames)
