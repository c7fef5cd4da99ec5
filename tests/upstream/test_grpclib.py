"""What grpclib does wrong when it is used alone; each is worked around in livenessprobe/driver."""

import asyncio
import inspect
import re
from contextlib import closing
from pathlib import Path

import pytest
from grpclib import client
from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import decode_timeout, encode_timeout
from grpclib.protocol import Connection, EventsProcessor, H2Protocol, Stream
from grpclib.utils import Wrapper
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from generated.csi.v1 import IdentityStub, ProbeRequest
from livenessprobe.driver.grpclib_internals import CallChannel, _Call, _Connection
from tests.driver import peer
from tests.driver.peer import OK_200, PREFACE, READY, STATUS_0, VALID, data, frame, headers, uint

# Nothing here takes long; a call that is never ended shows after this.
PATIENCE = 0.5


def probe(path: Path, said: bytes) -> bool | None:
    """Call `Probe` of a driver that says this, and nothing more."""
    return asyncio.run(_probe(path, said))


async def _probe(path: Path, said: bytes) -> bool | None:
    closed = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readuntil(peer.END_OF_REQUEST)
            writer.write(said)
            await reader.read()
        closed.set()

    async with await asyncio.start_unix_server(play, path):
        try:
            async with Channel(path=str(path)) as channel:
                reply = await IdentityStub(channel).probe(ProbeRequest(), timeout=PATIENCE)
                return reply.ready
        finally:
            await closed.wait()


def worked_around(where: str, what: str) -> pytest.MarkDecorator:
    return pytest.mark.xfail(strict=True, reason=f"{what}; see livenessprobe/driver/{where}")


PING = frame(peer.PING, bytes(8), stream=0)
GOAWAY = frame(peer.GOAWAY, uint(4, 1, 0), stream=0)
WITH_PARAMETER = headers((":status", "200"), ("content-type", "application/grpc;charset=utf-8"))

VALID_REPLIES = [
    pytest.param(VALID, id="the usual"),
    pytest.param(
        PREFACE + GOAWAY + OK_200 + READY + STATUS_0,
        marks=worked_around(
            "grpclib_internals.py",
            "a GOAWAY ends the streams too that the server is going to answer",
        ),
        id="GOAWAY",
    ),
    pytest.param(
        VALID + GOAWAY + PING,
        marks=worked_around(
            "grpclib_internals.py",
            "h2 refuses what follows a GOAWAY, and what came before is lost too",
        ),
        id="GOAWAY and PING at the end",
    ),
    pytest.param(
        PREFACE + OK_200 + data() + READY + STATUS_0,
        marks=worked_around("grpclib_internals.py", "an empty DATA frame is taken for the end"),
        id="empty DATA",
    ),
    pytest.param(
        PREFACE + frame(0x42, b"?", stream=0) + OK_200 + READY + STATUS_0,
        marks=worked_around(
            "grpclib_internals.py", "an unknown frame, to be ignored, fails the call"
        ),
        id="unknown frame",
    ),
    pytest.param(
        PREFACE + headers((":status", "103")) + OK_200 + READY + STATUS_0,
        marks=worked_around("grpclib_internals.py", "an informational response fails the call"),
        id="Early Hints",
    ),
    pytest.param(
        PREFACE + WITH_PARAMETER + READY + STATUS_0,
        marks=worked_around("reply.py", "a content-type with a parameter is refused"),
        id="content-type",
    ),
]


@pytest.mark.parametrize("said", VALID_REPLIES)
def test_a_valid_reply_counts(csi_socket: Path, said: bytes) -> None:
    assert probe(csi_socket, said) is True


@worked_around("grpclib_internals.py", "a status without a message in ASCII is lost")
def test_a_status_beside_a_message_that_is_not_ascii(csi_socket: Path) -> None:
    error = headers(("grpc-status", "9"), ("grpc-message", "é"), end=True)
    with pytest.raises(GRPCError) as caught:
        probe(csi_socket, PREFACE + OK_200 + error)
    assert caught.value.status is Status.FAILED_PRECONDITION


INVALID_REPLIES = [
    pytest.param(
        PREFACE + OK_200 + data(peer.message(), end=True),
        marks=worked_around(
            "grpclib_internals.py", "an end without a status is waited for for ever"
        ),
        id="no status",
    ),
    pytest.param(
        PREFACE + OK_200 + READY + READY + STATUS_0,
        marks=worked_around("reply.py", "the second message of a unary reply is not noticed"),
        id="two messages",
    ),
]


@pytest.mark.parametrize("said", INVALID_REPLIES)
def test_an_invalid_reply_is_an_error(csi_socket: Path, said: bytes) -> None:
    with pytest.raises(GRPCError):
        probe(csi_socket, said)


@worked_around("client.py", "a timeout above 10 s is told in whole seconds, rounded down")
def test_a_server_is_told_no_less_than_it_has() -> None:
    assert decode_timeout(encode_timeout(10.9)) >= 10.9


@worked_around("grpclib_internals.py", "every RST_STREAM is one error, that has no status")
def test_a_reset_has_the_status_of_its_code(csi_socket: Path) -> None:
    with pytest.raises(GRPCError):
        probe(csi_socket, PREFACE + frame(peer.RST_STREAM, uint(4, 8)))


@worked_around("h2_internals.py", "a call that takes too long is reset with NO_ERROR")
def test_a_cancelled_call_is_reset_with_cancel() -> None:
    default = inspect.signature(Stream.reset_nowait).parameters["error_code"].default
    assert default is ErrorCodes.CANCEL


@worked_around("h2_internals.py", "the :authority of a UNIX socket is that of a port")
def test_the_authority_of_a_unix_socket_is_localhost() -> None:
    async def authority() -> object:
        return vars(Channel(path="/csi.sock"))["_authority"]

    assert asyncio.run(authority()) == "localhost"


@worked_around("client.py", "a message counts without a status, if the connection is closing")
def test_the_end_of_a_call_waits_for_its_status_in_any_case() -> None:
    assert "is_closing" not in inspect.getsource(client.Stream._maybe_finish)  # noqa: SLF001 - no other way


# What livenessprobe/driver/grpclib_internals.py relies on beyond grpclib's documentation.

CONFIGURATION = Configuration().__for_client__()


class Transport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False


def h2_connection() -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    return connection


def test_a_channel_connects_by_an_overridden_method_and_keeps_its_loop() -> None:
    class Refusing(Channel):
        async def _create_connection(self) -> H2Protocol:
            raise ConnectionRefusedError(self._loop is asyncio.get_running_loop())

    async def call() -> None:
        await IdentityStub(Refusing(path="/csi.sock")).probe(ProbeRequest())

    with pytest.raises(ConnectionRefusedError, match="True"):
        asyncio.run(call())


@worked_around("grpclib_internals.py", "a configuration is validated anew for each channel")
def test_a_validated_configuration_is_taken_as_it_is() -> None:
    assert CONFIGURATION.__for_client__() is CONFIGURATION


def test_a_channel_takes_the_configuration_that_for_client_returns() -> None:
    class Validated(Configuration):
        def __for_client__(self) -> Configuration:
            return self

    async def configuration() -> object:
        return vars(Channel(path="/csi.sock", config=validated))["_config"]

    validated = Validated(**vars(CONFIGURATION))
    assert asyncio.run(configuration()) is validated


def test_a_channel_asks_the_handler_whether_the_connection_is_lost() -> None:
    handler = Handler()
    protocol = H2Protocol(handler, CONFIGURATION, H2Configuration())
    assert (protocol.handler, protocol.config) == (handler, CONFIGURATION)
    assert not handler.connection_lost
    handler.close()
    assert handler.connection_lost


def test_a_connection_writes_what_h2_has_to_send() -> None:
    transport, http2 = Transport(), h2_connection()
    expected = H2Connection(H2Configuration(client_side=True))
    expected.initiate_connection()
    Connection(http2, transport, config=CONFIGURATION).flush()
    assert transport.written == expected.data_to_send()


PROCESSED = {
    ResponseReceived: "process_response_received",
    DataReceived: "process_data_received",
    TrailersReceived: "process_trailers_received",
    StreamEnded: "process_stream_ended",
    StreamReset: "process_stream_reset",
    ConnectionTerminated: "process_connection_terminated",
}


def test_events_are_processed_by_their_type() -> None:
    connection = Connection(h2_connection(), Transport(), config=CONFIGURATION)
    processor = EventsProcessor(Handler(), connection)
    for event, method in PROCESSED.items():
        assert processor.processors[event] == getattr(processor, method)
    assert {"process", "close"} <= set(vars(EventsProcessor))


def test_a_stream_is_known_to_the_processor_and_has_a_wrapper_that_ends_its_call() -> None:
    async def call() -> None:
        connection = Connection(h2_connection(), Transport(), config=CONFIGURATION)
        processor = EventsProcessor(Handler(), connection)
        stream = connection.create_stream(wrapper=Wrapper())
        fields = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x")]
        release = await stream.send_request(fields, _processor=processor)
        assert processor.streams == {1: stream}
        with stream.wrapper:  # type: ignore[union-attr] # a client's has one
            stream.wrapper.cancel(LookupError("why"))  # type: ignore[union-attr] # likewise
            await stream.recv_headers()
        release()

    with pytest.raises(LookupError, match="why"):
        asyncio.run(call())


def test_no_attribute_of_ours_has_the_name_of_one_of_grpclibs() -> None:
    async def channel() -> set[str]:
        return set(vars(Channel(path="/csi.sock")))

    connection = Connection(h2_connection(), Transport(), config=CONFIGURATION)
    protocol = H2Protocol(Handler(), CONFIGURATION, H2Configuration())
    theirs: list[tuple[object, set[str]]] = [
        (CallChannel, asyncio.run(channel())),
        (_Connection, set(vars(protocol))),
        (_Call, set(vars(EventsProcessor(Handler(), connection)))),
    ]
    for ours, names in theirs:
        source = inspect.getsource(ours.__init__)  # type: ignore[misc] # of these classes
        assert names.isdisjoint(re.findall(r"self\.(\w+)(?::.*)? =", source))
