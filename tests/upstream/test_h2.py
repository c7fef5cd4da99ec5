"""Where h2 needs something around it.

A strict xfail that passes tells of a release without that need.
"""

import gc
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from hpack import Decoder, Encoder, HPACKDecodingError
from hyperframe.frame import (
    ContinuationFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
)

from tests.server.harness import H2_HELLO

if TYPE_CHECKING:
    from h2.events import Event
    from hpack import HeaderTuple
    from hyperframe.frame import Frame


def server() -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=False))
    agreed = {SettingCodes.MAX_HEADER_LIST_SIZE: 16_384}
    connection.local_settings = Settings(client=False, initial_values=agreed)
    connection.initiate_connection()
    connection.receive_data(H2_HELLO)
    return connection


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
def test_the_time_to_decode_grows_as_the_number_of_fields() -> None:
    # Of 24 times as many fields; what a copy for each takes grows with their square.
    least = min(seconds_to_decode(3_000) for _ in range(3))
    assert seconds_to_decode(72_000) < 30 * least


@pytest.mark.xfail(
    strict=True, reason="any number is taken: livenessprobe/driver/h2_internals.py takes two"
)
def test_table_size_updates_are_limited() -> None:
    with pytest.raises(HPACKDecodingError):
        Decoder().decode(1000 * b"\x20" + b"\x88")


# What livenessprobe/driver/h2_internals.py relies on beyond the documentation of h2 and hpack.


def test_a_connection_begins_with_an_input_and_sends_what_it_is_given() -> None:
    connection = H2Connection(H2Configuration(client_side=True))
    connection.state_machine.process_input(ConnectionInputs.SEND_SETTINGS)
    begun = connection.state_machine.state
    assert connection.data_to_send() == b""
    connection.initiate_connection()
    assert connection.state_machine.state is begun


def test_what_a_connection_has_to_send_can_be_replaced() -> None:
    connection = client()
    connection.clear_outbound_data_buffer()
    connection._data_to_send += b"preface"  # noqa: SLF001 - see above
    assert connection.data_to_send() == b"preface"


def test_a_goaway_frame_is_received_by_an_overridden_method() -> None:
    class Ignoring(H2Connection):
        def _receive_goaway_frame(self, frame: GoAwayFrame) -> "tuple[list[Frame], list[Event]]":
            received.append(frame.error_code)
            return [], []

    received: list[int] = []
    connection = Ignoring(H2Configuration(client_side=True))
    connection.initiate_connection()
    goaway = SettingsFrame(0).serialize() + GoAwayFrame(0, error_code=11).serialize()
    connection.receive_data(goaway + PingFrame(0, bytes(8)).serialize())
    assert received == [11]


def test_a_frame_buffer_can_be_replaced_by_one_that_limits_the_number_of_frames() -> None:
    class CountingBuffer(FrameBuffer):
        frames = 0

        def _update_header_buffer(self, f: "Frame | None") -> "Frame | None":
            self.frames += 1
            if self.frames > 4:
                raise DenialOfServiceError
            return super()._update_header_buffer(f)

    connection = client()
    connection.incoming_buffer = buffer = CountingBuffer()
    continued = HeadersFrame(1, b"\x88").serialize() + ContinuationFrame(1, b"").serialize()
    unknown = b"\0\0\0\x42" + bytes(5)
    connection.receive_data(PingFrame(0, bytes(8)).serialize() + unknown + continued)
    assert buffer.frames == 4
    with pytest.raises(DenialOfServiceError):
        connection.receive_data(PingFrame(0, bytes(8)).serialize())


def test_a_connection_is_in_a_reference_cycle_with_its_table_of_frames_alone() -> None:
    connection = client()
    kept = weakref.ref(connection)
    connection._frame_dispatch_table.clear()  # noqa: SLF001 - see above
    gc.disable()
    try:
        del connection
        assert kept() is None
    finally:
        gc.enable()


def test_the_coders_of_a_connection_can_be_replaced() -> None:
    class CountingDecoder(Decoder):
        fields = updates = 0

        def _decode_literal(
            self, data: bytes | memoryview, should_index: Any
        ) -> "tuple[HeaderTuple, int]":
            self.fields += 1
            return super()._decode_literal(data, should_index)

        def _update_encoding_context(self, data: bytes | memoryview) -> int:
            self.updates += 1
            return super()._update_encoding_context(data)

    class FixedEncoder(Encoder):
        def encode(self, *_: Any, **__: Any) -> bytes:
            return b"\x82"

    connection = client()
    connection.decoder, connection.encoder = decoder, _ = CountingDecoder(), FixedEncoder()
    connection.send_headers(3, [(":method", "GET")])
    assert connection.data_to_send().endswith(b"\x82")
    headers = HeadersFrame(1, b"\x20\x88\0\1x\1y\0\1x\1y", flags=["END_HEADERS"])
    connection.receive_data(headers.serialize())
    assert (decoder.fields, decoder.updates) == (2, 1)


def test_an_encoder_knows_that_its_table_was_resized() -> None:
    encoder = Encoder()
    assert not encoder.header_table.resized
    encoder.header_table_size = 0
    assert encoder.header_table.resized
    encoder.encode([(":method", "GET")])
    assert not encoder.header_table.resized


def test_a_limit_that_is_exceeded_has_its_own_error() -> None:
    connection = client()
    connection.decoder.max_header_list_size = 1
    headers = HeadersFrame(1, b"\x88", flags=["END_HEADERS"])
    with pytest.raises(DenialOfServiceError):
        connection.receive_data(headers.serialize())


def test_the_limit_of_continuation_frames_is_told_by_its_text() -> None:
    connection = client()
    frames = HeadersFrame(1, b"").serialize() + 100 * ContinuationFrame(1, b"").serialize()
    with pytest.raises(ProtocolError, match="Too many continuation frames"):
        connection.receive_data(frames)
