"""Calls to an independent gRPC server, and to peers whose HTTP/2 is right, and their gRPC wrong."""

from pathlib import Path
from typing import cast

import pytest
import trio
from grpclib.const import Status

from livenessprobe.deadline import call_within
from livenessprobe.driver import Driver
from livenessprobe.driver.client import GO_STATUS, TOLD_MORE
from livenessprobe.errors import (
    DeadlineExceededError,
    DriverUnreachableError,
    RPCError,
)
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
    csi_driver: CsiDriver, csi_socket: Path, behaviour: Behaviour, length: int
) -> None:
    csi_driver.plugin_info = behaviour
    flaw = f"desc = {csi_socket}: malformed reply: the driver's name has {length} characters$"
    with pytest.raises(RPCError, match=flaw):
        await Driver(str(csi_socket)).get_name(peer.PATIENCE)


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


def test_every_status_has_gos_spelling() -> None:
    assert [GO_STATUS[status] for status in Status] == [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ]


@pytest.mark.parametrize("seconds", [3, 10, 10.9, 11, 60])
async def test_the_driver_is_told_the_deadline(
    csi_driver: CsiDriver, driver: Driver, seconds: float
) -> None:
    # Not less than it has but for the time that the call took to arrive; at most a second more.
    await driver.probe(seconds)
    assert seconds - 0.5 < csi_driver.counts.last_timeout <= seconds + TOLD_MORE


@pytest.mark.parametrize("seconds", [0.3, 0.0])
async def test_the_callers_deadline_ends_a_call(
    csi_driver: CsiDriver, csi_socket: Path, seconds: float
) -> None:
    csi_driver.probe = HANG
    async with leaving_nothing():
        with pytest.raises(DeadlineExceededError) as caught:
            await call_within(seconds, Driver(str(csi_socket)).probe)
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


def test_repr(csi_socket: Path) -> None:
    assert repr(Driver(str(csi_socket))) == f"<Driver '{csi_socket}'>"


def reply(
    *trailers: tuple[str, str | bytes],
    status: str = "200",
    content_type: str = "application/grpc",
    body: bytes = peer.READY,
) -> bytes:
    start = headers((":status", status), ("content-type", content_type))
    return peer.PREFACE + start + body + headers(*trailers, end=True)


def trailers_only(*pairs: tuple[str, str | bytes], end: bool = True) -> bytes:
    start = ((":status", "200"), ("content-type", "application/grpc"))
    return peer.PREFACE + headers(*start, *pairs, end=end)


GOOD_REPLIES = {
    "the usual": peer.VALID,
    "a content-type with +proto": reply(OK, content_type="application/grpc+proto"),
    "a content-type with another subtype": reply(OK, content_type="application/grpc+json"),
    "a content-type with a parameter": reply(OK, content_type="application/grpc;charset=utf-8"),
    "a content-type with both": reply(OK, content_type="application/grpc+proto; charset=utf-8"),
    "metadata": reply(OK, ("x-text", "é"), ("x-bin", "YQ"), ("y-bin", "YWJj,YQ==")),
    "unread details": reply(OK, ("grpc-status-details-bin", "!")),
}


@pytest.mark.parametrize("chunk", GOOD_REPLIES.values(), ids=GOOD_REPLIES)
async def test_a_good_reply(csi_socket: Path, chunk: bytes) -> None:
    assert await peer.probe(csi_socket, answer(chunk)) is True


HEADER_FAULTS = {
    "HTTP 404": (reply(OK, status="404"), "Unimplemented", "Received :status = '404'"),
    "HTTP 502": (reply(OK, status="502"), "Unavailable", "Received :status = '502'"),
    "HTTP 301": (reply(OK, status="301"), "Unknown", "Received :status = '301'"),
    "no number": (reply(OK, status="OK"), "Unknown", "Received :status = 'OK'"),
    "HTML": (
        reply(OK, content_type="text/html"),
        "Unknown",
        "Invalid content-type: 'text/html'",
    ),
    "gRPC for browsers": (
        reply(OK, content_type="application/grpc-web"),
        "Unknown",
        "Invalid content-type: 'application/grpc-web'",
    ),
    "no content-type": (
        peer.PREFACE + headers((":status", "200")) + peer.READY + peer.STATUS_0,
        "Unknown",
        "Missing content-type header",
    ),
    "no :status": (
        peer.PREFACE + headers(("content-type", "application/grpc")) + peer.READY + peer.STATUS_0,
        "Internal",
        "it has no ':status' header",
    ),
    "no header": (
        peer.PREFACE + headers() + peer.READY + peer.STATUS_0,
        "Internal",
        "it has no ':status' header",
    ),
    "no grpc-status": (reply(), "Unknown", "Missing grpc-status header"),
    "an end without a status": (
        peer.PREFACE + peer.OK_200 + data(message(), end=True),
        "Unknown",
        "Missing grpc-status header",
    ),
    "an end without a message and a status": (
        peer.PREFACE + peer.OK_200 + data(end=True),
        "Unknown",
        "Missing grpc-status header",
    ),
    "nothing but headers": (trailers_only(), "Unknown", "Missing grpc-status header"),
    "grpc-status is no number": (
        reply(("grpc-status", "zero")),
        "Unknown",
        "Invalid grpc-status: 'zero'",
    ),
    "unknown grpc-status": (
        reply(("grpc-status", "77"), ("grpc-message", "hello")),
        "Unknown",
        "Invalid grpc-status: '77'",
    ),
    "no base64": (
        reply(OK, ("x-bin", "YQ=b")),
        "Internal",
        "Incorrect padding",
    ),
    "no base64 beside an error": (
        reply(("grpc-status", "9"), ("x-bin", "YQ=b")),
        "Internal",
        "Incorrect padding",
    ),
}


@pytest.mark.parametrize(("chunk", "status", "text"), HEADER_FAULTS.values(), ids=HEADER_FAULTS)
async def test_faulty_headers(csi_socket: Path, chunk: bytes, status: str, text: str) -> None:
    assert await failure(csi_socket, chunk) == (status, f"{csi_socket}: malformed reply: {text}")


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


CUT_SHORT = "malformed reply: a message in it is cut short"
NOT_ONE = "malformed reply: status OK without exactly one message"
NO_MESSAGE = "malformed reply: status OK without a message"

BODY_FAULTS = {
    "compressed": (
        data(message(b"\x0a\x02\x08\x01", compressed=1)),
        "malformed reply: Compression not implemented",
    ),
    "no protobuf": (
        data(message(b"\x0a\x05")),
        r"malformed reply: b'\n\x05' is no ProbeResponse",
    ),
    "1 GiB announced": (data(b"\0\x40\0\0\0\x0a\x02\x08\x01"), CUT_SHORT),
    "a byte is missing": (data(b"\0\0\0\0\x04\x0a\x02\x08"), CUT_SHORT),
    "all of it is missing": (data(b"\0\0\0\0\x04"), CUT_SHORT),
    "half of a length": (data(b"\0\0\0"), CUT_SHORT),
    "two messages": (peer.READY + peer.READY, NOT_ONE),
    "two in a frame": (data(message() + message()), NOT_ONE),
    "something behind it": (data(message() + b"\0\0"), CUT_SHORT),
    "no message": (b"", NOT_ONE),
    "no byte of a message": (data(), NOT_ONE),
}


@pytest.mark.parametrize(("body", "text"), BODY_FAULTS.values(), ids=BODY_FAULTS)
async def test_a_faulty_body(csi_socket: Path, body: bytes, text: str) -> None:
    assert await failure(csi_socket, reply(OK, body=body)) == ("Internal", f"{csi_socket}: {text}")


EARLY_STATUS = {
    "alone": trailers_only(OK),
    "before the message": trailers_only(OK, end=False) + peer.READY,
    "before another one": (
        trailers_only(OK, end=False) + peer.READY + headers(("grpc-status", "13"), end=True)
    ),
}


@pytest.mark.parametrize("chunk", EARLY_STATUS.values(), ids=EARLY_STATUS)
async def test_a_status_comes_behind_the_message(csi_socket: Path, chunk: bytes) -> None:
    assert await failure(csi_socket, chunk) == ("Internal", f"{csi_socket}: {NO_MESSAGE}")


UNFINISHED = {
    "nothing": b"",
    "a preface": peer.PREFACE,
    "headers": peer.PREFACE + peer.OK_200,
    "the start of 4 GiB": peer.PREFACE + peer.OK_200 + data(b"\0\xff\xff\xff\xff"),
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
        ("threads", [f"{OWN_FAULT}can't start new thread"], 0),
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
