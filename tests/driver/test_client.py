"""Calls to an independent gRPC server, and to peers whose HTTP/2 is right, and their gRPC wrong."""

import re
from pathlib import Path
from typing import cast

import pytest
import trio
from grpclib.metadata import decode_timeout
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.driver import Driver
from livenessprobe.driver.client import DEADLINE_GRACE, _wire_timeout
from livenessprobe.driver.codec import StrictCodec
from livenessprobe.driver.reply import MAX_MESSAGE_BYTES, Reply
from livenessprobe.health.errors import (
    DeadlineExceededError,
    DriverUnreachableError,
    RPCError,
)
from livenessprobe.probing.deadline import call_within
from tests.csi_driver import (
    DRIVER_NAME,
    HANG,
    NOT_READY,
    READY,
    READY_ABSENT,
    Behaviour,
    CsiDriver,
    error,
    named,
)
from tests.driver import deprived, peer
from tests.driver.peer import (
    answer,
    data,
    failure,
    headers,
    leaving_nothing,
    listening,
    message,
    until,
)

OK = ("grpc-status", "0")


@pytest.mark.parametrize(
    ("behaviour", "ready"), [(READY_ABSENT, True), (READY, True), (NOT_READY, False)]
)
async def test_probe_says_whether_the_driver_is_ready(
    csi_driver: CsiDriver, driver: Driver, behaviour: Behaviour, *, ready: bool
) -> None:
    csi_driver.probe = behaviour
    assert await driver.probe(peer.PATIENCE) is ready
    assert csi_driver.counts.probes == 1


@pytest.mark.parametrize("name", [DRIVER_NAME, "é ☃ 😀", "x"])
async def test_get_name(csi_driver: CsiDriver, driver: Driver, name: str) -> None:
    csi_driver.plugin_info = named(name)
    assert await driver.get_name(peer.PATIENCE) == name
    assert csi_driver.counts.plugin_infos == 1


@pytest.mark.parametrize(
    ("behaviour", "length"),
    [
        (named(""), 0),
        (Behaviour(reply=b""), 0),
        (Behaviour(reply=b"\x0a\x80\x02" + b"x" * 256), 256),
    ],
)
async def test_a_name_that_is_none(
    csi_driver: CsiDriver, csi_socket: Path, driver: Driver, behaviour: Behaviour, length: int
) -> None:
    csi_driver.plugin_info = behaviour
    flaw = f"desc = {csi_socket}: the driver's name has {length} characters$"
    with pytest.raises(RPCError, match=flaw):
        await driver.get_name(peer.PATIENCE)


ERRORS = [
    (9, "not healthy", "rpc error: code = FailedPrecondition desc = not healthy"),
    (14, "", "rpc error: code = Unavailable desc = "),
    (12, "Probe: no such method", "rpc error: code = Unimplemented desc = Probe: no such method"),
    (2, 'bad "quoted" thing', 'rpc error: code = Unknown desc = bad "quoted" thing'),
    (4, "its own deadline", "rpc error: code = DeadlineExceeded desc = its own deadline"),
    (1, "stopping", "rpc error: code = Canceled desc = stopping"),
    (16, "%41 100% %zz", "rpc error: code = Unauthenticated desc = %41 100% %zz"),
    (13, "two\nlines\r\n\ttabbed", "rpc error: code = Internal desc = two\nlines\r\n\ttabbed"),
    (15, "é ☃ 😀", "rpc error: code = DataLoss desc = é ☃ 😀"),
    (8, "long " * 2000, "rpc error: code = ResourceExhausted desc = " + ("long " * 2000)[:1024]),
]


@pytest.mark.parametrize(("code", "text", "shown"), ERRORS)
async def test_an_error_is_worded_as_go_words_it(
    csi_driver: CsiDriver, csi_socket: Path, code: int, text: str, shown: str
) -> None:
    csi_driver.probe = csi_driver.plugin_info = error(code, text)
    driver = Driver(str(csi_socket))
    for call in driver.probe, driver.get_name:
        with pytest.raises(RPCError) as caught:
            await call(peer.PATIENCE)
        assert type(caught.value) is RPCError
        assert str(caught.value) == shown
        assert caught.value.grpc_status == shown.split()[4]


@pytest.mark.parametrize("seconds", [0.1, 3, 9.2, 10, 10.9, 11, 60, 600])
async def test_the_drivers_deadline_is_behind_ours(
    csi_driver: CsiDriver, driver: Driver, seconds: float
) -> None:
    await driver.probe(seconds)
    # The call took less than half a second to arrive.
    assert seconds + DEADLINE_GRACE - 0.5 < csi_driver.counts.last_timeout
    assert csi_driver.counts.last_timeout <= seconds + DEADLINE_GRACE + 1


@given(seconds=st.floats(0.1, 2e9))
def test_every_deadline_is_behind_ours_in_the_format_of_grpc(seconds: float) -> None:
    text = _wire_timeout(seconds)
    assert re.fullmatch(r"[0-9]{1,8}m", text)
    assert decode_timeout(text) >= min(seconds + DEADLINE_GRACE, 99_999)


@pytest.mark.parametrize("seconds", [0.3, 0.0])
async def test_the_callers_deadline_ends_a_call(
    csi_driver: CsiDriver, driver: Driver, seconds: float
) -> None:
    csi_driver.probe = HANG
    async with leaving_nothing():
        with pytest.raises(DeadlineExceededError) as caught:
            await call_within(seconds, driver.probe)
    assert str(caught.value) == (
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    )


async def test_a_cancelled_call_is_cancelled_at_the_driver_too(
    csi_driver: CsiDriver, csi_socket: Path
) -> None:
    csi_driver.probe = HANG
    driver = Driver(str(csi_socket))
    async with leaving_nothing():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.probe, peer.PATIENCE)
            await until(lambda: csi_driver.counts.in_flight == 1)
            nursery.cancel_scope.cancel()
        await until(lambda: csi_driver.counts.in_flight == 0)


async def test_each_call_has_a_connection_of_its_own(csi_socket: Path, driver: Driver) -> None:
    opened = closed = 0

    async def script(stream: trio.SocketStream) -> None:
        nonlocal opened, closed
        opened += 1
        await answer(peer.VALID)(stream)
        closed += 1

    async with listening(csi_socket, script):
        for _ in range(3):
            assert await driver.probe(peer.PATIENCE)
        await until(lambda: (opened, closed) == (3, 2))  # that of the last Probe is held
        driver.close()
        await until(lambda: (opened, closed) == (3, 3))


async def test_a_driver_that_came_back_is_found(csi_socket: Path, driver: Driver) -> None:
    for _ in range(2):
        with CsiDriver(csi_socket):
            assert await driver.probe(peer.PATIENCE)
        with pytest.raises(DriverUnreachableError, match="no such file"):
            await driver.probe(peer.PATIENCE)


async def test_a_driver_that_stops_tidily_still_answers(
    csi_driver: CsiDriver, driver: Driver, nursery: trio.Nursery
) -> None:
    csi_driver.probe = HANG
    answers: list[bool] = []

    async def probe() -> None:
        answers.append(await call_within(peer.PATIENCE, driver.probe))

    nursery.start_soon(probe)
    await until(lambda: csi_driver.counts.in_flight == 1)
    stopped = csi_driver._server.stop(grace=peer.PATIENCE)  # noqa: SLF001 - what its `with` ends, gently
    csi_driver.release()
    await until(lambda: answers == [True])
    await trio.to_thread.run_sync(stopped.wait)


async def test_a_bug_is_not_taken_for_a_fault_of_the_driver(
    csi_driver: CsiDriver, csi_socket: Path
) -> None:
    with pytest.raises(TypeError):
        await Driver(str(csi_socket)).probe(cast("float", "soon"))
    assert csi_driver.counts.probes == 0


@pytest.mark.parametrize("bug", [ValueError, LookupError, AssertionError, MemoryError])
@pytest.mark.parametrize(
    "place", [(Reply, "headers"), (Reply, "trailers"), (StrictCodec, "decode")]
)
async def test_a_bug_while_a_reply_is_read_is_none_either(
    csi_driver: CsiDriver,
    driver: Driver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: tuple[type, str],
    bug: type[Exception],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise bug

    monkeypatch.setattr(*place, fail)
    async with leaving_nothing():
        with pytest.raises(bug):
            await driver.probe(peer.PATIENCE)
    caplog.clear()  # asyncio logs it too


def reply(
    *trailers: tuple[str, str | bytes],
    status: str = "200",
    content_type: str = "application/grpc",
    encoding: str | None = None,
    body: bytes = peer.READY,
) -> bytes:
    encodings = () if encoding is None else (("grpc-encoding", encoding),)
    start = headers((":status", status), ("content-type", content_type), *encodings)
    return peer.PREFACE + start + body + headers(*trailers, end=True)


def trailers_only(*pairs: tuple[str, str | bytes], status: str = "200", end: bool = True) -> bytes:
    start = ((":status", status), ("content-type", "application/grpc"))
    return peer.PREFACE + headers(*start, *pairs, end=end)


GOOD_REPLIES = {
    "the usual": peer.VALID,
    "a content-type with +proto": reply(OK, content_type="application/grpc+proto"),
    "a content-type with another subtype": reply(OK, content_type="application/grpc+json"),
    "a content-type with a parameter": reply(OK, content_type="application/grpc;charset=utf-8"),
    "a content-type with both": reply(OK, content_type="application/grpc+proto; charset=utf-8"),
    "metadata": reply(OK, ("x-text", "é"), ("x-bin", "YQ"), ("y-bin", "YWJj,YQ==")),
    "an HTTP status that gRPC's content-type makes void": reply(OK, status="404"),
    "no :status, likewise": (
        peer.PREFACE + headers(("content-type", "application/grpc")) + peer.READY + peer.STATUS_0
    ),
    "a status before the message too": trailers_only(OK, end=False) + peer.READY + peer.STATUS_0,
    "an encoding that is not used": reply(OK, encoding="gzip"),
    "a status of two zeros": reply(("grpc-status", "00")),
    "unread details": reply(OK, ("grpc-status-details-bin", "!")),
}


@pytest.mark.parametrize("chunk", GOOD_REPLIES.values(), ids=GOOD_REPLIES)
async def test_a_good_reply(csi_socket: Path, chunk: bytes) -> None:
    assert await peer.probe(csi_socket, answer(chunk)) is True


def unexpected(status: str, content_type: str) -> str:
    return (
        f"unexpected HTTP status code received from server: {status}; transport: received "
        f'unexpected content-type "{content_type}"'
    )


NO_STATUS = "server closed the stream without sending trailers"

HEADER_FAULTS = {
    "HTTP 404": (
        reply(OK, status="404", content_type="text/html"),
        "Unimplemented",
        unexpected("404 (Not Found)", "text/html"),
    ),
    "HTTP 502": (
        reply(status="502", content_type="text/plain; charset=utf-8"),
        "Unavailable",
        unexpected("502 (Bad Gateway)", "text/plain; charset=utf-8"),
    ),
    "HTTP 301": (
        peer.PREFACE + headers((":status", "301"), ("location", "/"), end=True),
        "Unknown",
        (
            "unexpected HTTP status code received from server: 301 (Moved Permanently); "
            "malformed header: missing HTTP content-type"
        ),
    ),
    "an HTTP status that there is none of": (
        reply(OK, status="799", content_type="text/html"),
        "Unknown",
        unexpected("799 ()", "text/html"),
    ),
    "no number": (
        reply(OK, status="200x", content_type="text/html"),
        "Internal",
        'transport: malformed http-status: "200x"',
    ),
    "HTTP 503 as gRPC without grpc-status": (
        trailers_only(status="503"),
        "Unavailable",
        "unexpected HTTP status code received from server: 503 (Service Unavailable)",
    ),
    "HTML": (
        reply(OK, content_type="text/html"),
        "Unknown",
        unexpected("200 (OK)", "text/html"),
    ),
    "gRPC for browsers": (
        reply(OK, content_type="application/grpc-web"),
        "Unknown",
        unexpected("200 (OK)", "application/grpc-web"),
    ),
    "no content-type": (
        peer.PREFACE + headers((":status", "200")) + peer.READY + peer.STATUS_0,
        "Unknown",
        (
            "unexpected HTTP status code received from server: 200 (OK); "
            "malformed header: missing HTTP content-type"
        ),
    ),
    "no header": (
        peer.PREFACE + headers() + peer.READY + peer.STATUS_0,
        "Internal",
        "malformed header: missing HTTP status; malformed header: missing HTTP content-type",
    ),
    "no grpc-status": (reply(), "Unknown", "the driver sent no grpc-status"),
    "an end without a status": (
        peer.PREFACE + peer.OK_200 + data(message(), end=True),
        "Internal",
        NO_STATUS,
    ),
    "an end without a message and a status": (
        peer.PREFACE + peer.OK_200 + data(end=True),
        "Internal",
        NO_STATUS,
    ),
    "nothing but headers": (trailers_only(), "Unknown", "the driver sent no grpc-status"),
    "grpc-status is no number": (
        reply(("grpc-status", "zero")),
        "Unknown",
        'transport: malformed grpc-status: "zero"',
    ),
    "grpc-status below zero": (reply(("grpc-status", "-1")), "Unknown", "grpc-status -1: "),
    "grpc-status is a number for Python only": (
        reply(("grpc-status", "0_0")),
        "Unknown",
        'transport: malformed grpc-status: "0_0"',
    ),
    "unknown grpc-status": (
        reply(("grpc-status", "77"), ("grpc-message", "hello")),
        "Unknown",
        "grpc-status 77: hello",
    ),
    "no base64": (
        reply(OK, ("x-bin", "YQ=b")),
        "Internal",
        "transport: malformed x-bin: Incorrect padding",
    ),
    "no base64 beside an error": (
        reply(("grpc-status", "9"), ("x-bin", "YQ=b")),
        "Internal",
        "transport: malformed x-bin: Incorrect padding",
    ),
    "no ASCII in base64": (
        reply(OK, ("x-bin", "é")),
        "Internal",
        (
            "transport: malformed x-bin: 'ascii' codec can't encode character '\\xe9' "
            "in position 0: ordinal not in range(128)"
        ),
    ),
}


@pytest.mark.parametrize(("chunk", "status", "text"), HEADER_FAULTS.values(), ids=HEADER_FAULTS)
async def test_faulty_headers(csi_socket: Path, chunk: bytes, status: str, text: str) -> None:
    assert await failure(csi_socket, chunk) == (status, text)


LONG = 5000 * "5"  # more than the 4300 digits that int() takes

LONG_NUMBERS = {
    "grpc-status": (reply(("grpc-status", LONG)), "Unknown", "malformed grpc-status"),
    "grpc-status below zero": (
        reply(("grpc-status", f"-{LONG}")),
        "Unknown",
        "malformed grpc-status",
    ),
    ":status": (trailers_only(status=LONG), "Internal", "malformed http-status"),
    ":status of another protocol": (
        reply(OK, status=LONG, content_type="text/plain"),
        "Internal",
        "malformed http-status",
    ),
    "content-length": (trailers_only(("content-length", LONG)), "Unavailable", "content-length"),
}


@pytest.mark.parametrize(("chunk", "status", "text"), LONG_NUMBERS.values(), ids=LONG_NUMBERS)
async def test_a_number_of_thousands_of_digits(
    csi_socket: Path, chunk: bytes, status: str, text: str
) -> None:
    found, description = await failure(csi_socket, chunk)
    assert found == status
    assert text in description


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"", ""),
        (b"50%25%0Aof %E2%98%83", "50%\nof ☃"),
        (b"% %z %4", "% %z %4"),
        (b"%ff%FE", "\ufffd\ufffd"),
        ("☃ raw".encode(), "☃ raw"),
        (b"\xff raw", "\ufffd raw"),
    ],
)
async def test_a_message_in_any_encoding_keeps_its_status(
    csi_socket: Path, raw: bytes, text: str
) -> None:
    fault = ("grpc-status", "9"), ("grpc-message", raw)
    for chunk in reply(*fault), reply(*fault, body=b""), trailers_only(*fault):
        assert await failure(csi_socket, chunk) == ("FailedPrecondition", text)


CUT_SHORT = "unexpected EOF"
TWO = (
    "cardinality violation: expected <EOF> for non server-streaming RPCs, "
    "but received another message"
)
NONE = "cardinality violation: received no response message from non-server-streaming RPC"

BODY_FAULTS = {
    "compressed, and nobody said how": (
        data(message(b"\x0a\x02\x08\x01", compressed=1)),
        "grpc: compressed flag set with identity or empty encoding",
    ),
    "neither compressed nor not": (
        data(message(compressed=2)),
        "grpc: received unexpected payload format 2",
    ),
    "no protobuf": (
        data(message(b"\x0a\x05")),
        r"grpc: failed to unmarshal the received message: b'\n\x05' is no ProbeResponse",
    ),
    "a byte is missing": (data(b"\0\0\0\0\x04\x0a\x02\x08"), CUT_SHORT),
    "all of it is missing": (data(b"\0\0\0\0\x04"), CUT_SHORT),
    "half of a length": (data(b"\0\0\0"), CUT_SHORT),
    "two messages": (peer.READY + peer.READY, TWO),
    "two in a frame": (data(message() + message()), TWO),
    "something behind it": (data(message() + b"\0\0"), TWO),
    "no message": (b"", NONE),
    "no byte of a message": (data(), NONE),
}


@pytest.mark.parametrize(("body", "text"), BODY_FAULTS.values(), ids=BODY_FAULTS)
async def test_a_faulty_body(csi_socket: Path, body: bytes, text: str) -> None:
    assert await failure(csi_socket, reply(OK, body=body)) == ("Internal", text)


async def test_a_compressed_reply_is_refused_as_it_was_not_asked_for(csi_socket: Path) -> None:
    body = data(message(b"\x0a\x02\x08\x01", compressed=1))
    assert await failure(csi_socket, reply(OK, encoding="gzip", body=body)) == (
        "Internal",
        'grpc: Decompressor is not installed for grpc-encoding "gzip"',
    )


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES + 1, 2**30, 2**32 - 1])
async def test_a_message_that_is_too_large_is_refused_before_it_comes(
    csi_socket: Path, size: int
) -> None:
    body = data(b"\0" + peer.uint(4, size))
    assert await failure(csi_socket, reply(body=body)) == (
        "ResourceExhausted",
        f"grpc: received message larger than max ({size} vs. {MAX_MESSAGE_BYTES})",
    )


@pytest.mark.parametrize("chunk", [trailers_only(OK), trailers_only(OK, end=False) + peer.STATUS_0])
async def test_a_status_alone_is_no_reply(csi_socket: Path, chunk: bytes) -> None:
    assert await failure(csi_socket, chunk) == ("Internal", NONE)


async def test_the_last_status_counts(csi_socket: Path) -> None:
    late = headers(("grpc-status", "13"), ("grpc-message", "late"), end=True)
    for start in trailers_only(OK, end=False), peer.PREFACE + peer.OK_200:
        assert await failure(csi_socket, start + peer.READY + late) == ("Internal", "late")


async def test_python_without_assertions_finds_the_same_faults(csi_socket: Path) -> None:
    """grpclib and h2 have some in what reads replies; `python -O` leaves them out."""
    faults = [(chunk, status, text) for chunk, status, text in HEADER_FAULTS.values()]
    faults += [(reply(OK, body=body), "Internal", text) for body, text in BODY_FAULTS.values()]
    replies = iter([*(chunk for chunk, *_ in faults), peer.VALID])

    async def script(stream: trio.SocketStream) -> None:
        await answer(next(replies))(stream)

    async with listening(csi_socket, script):
        done = await trio.to_thread.run_sync(deprived.run, "assertions", csi_socket, "-O")
    assert done.stdout.splitlines() == [
        *(f"RPCError: rpc error: code = {status} desc = {text}" for _, status, text in faults),
        "answered",
    ]


UNFINISHED = {
    "nothing": b"",
    "a preface": peer.PREFACE,
    "headers": peer.PREFACE + peer.OK_200,
    "the start of 4 MiB": peer.PREFACE + peer.OK_200 + data(b"\0\0\x40\0\0"),
    "a message without a status": peer.PREFACE + peer.OK_200 + peer.READY,
}


@pytest.mark.parametrize("chunk", UNFINISHED.values(), ids=UNFINISHED)
async def test_a_reply_that_stops_halfway_runs_into_the_deadline(
    csi_socket: Path, chunk: bytes
) -> None:
    with pytest.raises(DeadlineExceededError):
        await peer.probe(csi_socket, answer(chunk), seconds=0.3)


OWN_FAULT = (
    "DriverUnreachableError: {socket}: the driver was not asked, "
    "livenessprobe itself has no descriptor, thread or memory left: "
)
TOO_MANY = f"{OWN_FAULT}Too many open files"


@pytest.mark.parametrize(
    ("lacking", "probes", "answered"),
    [
        ("descriptors", [TOO_MANY] * 4 + ["answered"], 1),  # the last one has none to hold with
        ("descriptors, since it answered", ["answered"] * 3, 3),
        ("threads", [f"{OWN_FAULT}can't start new thread", "False"], 0),
        ("space", ["answered"], 1),
    ],
)
def test_a_machine_that_has_nothing_left(
    csi_driver: CsiDriver, csi_socket: Path, lacking: str, probes: list[str], answered: int
) -> None:
    done = deprived.run(lacking, csi_socket)
    assert done.stdout.splitlines() == [line.format(socket=csi_socket) for line in probes]
    assert not done.stderr
    assert csi_driver.counts.probes == answered


async def test_the_name_of_a_driver_that_is_not_there(driver: Driver) -> None:
    with pytest.raises(DriverUnreachableError, match="no such file"):
        await driver.get_name(1.0)
