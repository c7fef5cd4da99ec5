"""The health service, frame by frame, over real connections."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from h2.settings import SettingCodes

from livenessprobe.endpoints import grpc_health
from livenessprobe.endpoints.health import health
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import NOTHING_KNOWN, SERVICES, Question, Verdict
from livenessprobe.server.listen import open_listeners
from livenessprobe.server.state import TIMEOUTS, State
from tests.endpoints.call import CHECK, HEADERS, LIST, Answered, Caller, framed, request_for
from tests.server.harness import PATIENCE, POST, H2Client, Server, leaving_nothing

HEALTHY = Verdict(healthy=True, reason="ok")
LAST = ProbeResult(
    status=ProbeStatus.NOT_READY,
    message="not ready",
    grpc_status="OK",
    latency=0.001,
    finished_at=0.0,
)
NOT_READY = Verdict(healthy=False, reason="100% busy\n", last=LAST, age=1.9)

VERDICTS = {Question.HEALTHZ: NOT_READY, Question.LIVEZ: HEALTHY, Question.READYZ: NOT_READY}

SERVING, NOT_SERVING = framed(b"\x08\x01"), framed(b"\x08\x02")


@asynccontextmanager
async def serving(
    ask: Callable[[Question], Verdict] = VERDICTS.__getitem__,
) -> AsyncIterator[Server]:
    """Serve while the block runs. When its clients are gone, nothing of them must be left."""
    plain = {"/healthz": health("healthz", lambda: HEALTHY, lambda: None)}
    with trio.fail_after(PATIENCE):
        async with leaving_nothing(), trio.open_nursery() as nursery:
            [listener] = await open_listeners("127.0.0.1:0")
            web = Server(listener)
            await nursery.start(web.run, {**grpc_health.routes(ask), **plain})
            async with leaving_nothing():
                yield web
            web.stop()


@asynccontextmanager
async def connected(web: Server) -> AsyncIterator[Caller]:
    async with web.client() as client:
        h2 = H2Client(client.stream)
        await h2.start()
        yield Caller(h2)


def status(answered: Answered) -> tuple[str, str]:
    """Return the gRPC status and its message, of an answer that has no message else."""
    assert answered.headers[":status"] == "200"
    assert answered.headers["content-type"] == "application/grpc"
    assert answered.body == b""
    assert answered.trailers is not None
    return answered.trailers["grpc-status"], answered.trailers["grpc-message"]


def test_every_question_has_its_service() -> None:
    assert SERVICES == {
        "": Question.HEALTHZ,
        "liveness": Question.LIVEZ,
        "readiness": Question.READYZ,
    }
    assert set(SERVICES.values()) == set(Question)


@pytest.mark.parametrize(
    ("service", "body", "metadata"),
    [
        ("", NOT_SERVING, {"reason": "100%25 busy%0A", "age": "1"}),
        ("liveness", SERVING, {"reason": "ok"}),
        ("readiness", NOT_SERVING, {"reason": "100%25 busy%0A", "age": "1"}),
    ],
)
async def test_check(service: str, body: bytes, metadata: dict[str, str]) -> None:
    async with serving() as web, connected(web) as client:
        answered = await client.call(request_for(service))
    assert answered.headers.pop("date")
    assert answered.headers == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-accept-encoding": "identity",
        **metadata,
    }
    assert answered.body == body
    assert answered.trailers == {"grpc-status": "0"}


async def test_nothing_known_is_not_serving() -> None:
    async with serving(lambda _: NOTHING_KNOWN) as web, connected(web) as client:
        answered = await client.call(request_for("liveness"))
    assert answered.body == NOT_SERVING
    assert answered.headers["reason"] == "no Probe() has finished yet"
    assert "age" not in answered.headers


async def test_list() -> None:
    async with serving() as web, connected(web) as client:
        answered = await client.call(framed(b""), path=LIST)
    entries = {"": 2, "liveness": 1, "readiness": 2}
    values = [
        b"\x0a%c%b\x12\x02\x08%c" % (len(name), name.encode(), value)
        for name, value in entries.items()
    ]
    assert answered.body.endswith(b"\x12\x02\x08\x02")
    assert all(value in answered.body for value in values[1:])
    assert answered.trailers == {"grpc-status": "0"}


@pytest.mark.parametrize("service", ["x", "Liveness", "liveness ", "healthz", "é", "\0"])
async def test_a_service_that_there_is_not(service: str) -> None:
    body = service.encode()
    async with serving() as web, connected(web) as client:
        answered = await client.call(framed(b"\x0a%c%b" % (len(body), body)))
    assert status(answered) == ("5", "unknown service")


@pytest.mark.parametrize(
    "path",
    ["/grpc.health.v1.Health/Watch", f"{CHECK}/", "/grpc.health.v1alpha.Health/Check", "/"],
)
async def test_a_method_that_there_is_not(path: str) -> None:
    async with serving() as web, connected(web) as client:
        answered = await client.call(request_for(""), path=path)
    assert status(answered) == ("12", f"unknown method {path}")


async def test_a_plain_request_for_a_path_that_there_is_not() -> None:
    async with serving() as web, connected(web) as client:
        answered = await client.call(path="/x", headers={})
    assert (answered.headers[":status"], answered.trailers) == ("404", None)


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", HEADERS, "405"),
        ("HEAD", HEADERS, "405"),
        ("POST", {b"te": b"trailers"}, "415"),
        ("POST", {**HEADERS, b"content-type": b"application/grpc+json"}, "415"),
        ("POST", {b"content-type": b"application/grpc"}, "400"),
    ],
)
async def test_what_is_no_call_is_answered_in_http_and_the_next_call_as_ever(
    method: str, headers: dict[bytes, bytes], expected: str
) -> None:
    async with serving() as web, connected(web) as client:
        answered = await client.call(request_for(""), method=method, headers=headers)
        assert (answered.headers[":status"], answered.trailers) == (expected, None)
        assert (await client.call(request_for("liveness"))).body == SERVING


async def test_grpc_over_http_1() -> None:
    head = POST.replace(b"/healthz", CHECK.encode()) + b"TE: trailers\r\nContent-Length: 5\r\n"
    request = head + b"Content-Type: application/grpc\r\n\r\n" + request_for("")
    async with serving() as web, web.client(request * 2) as client:
        for _ in range(2):
            answer = await client.answer()
            assert (answer.status, answer.body) == (505, b"gRPC needs HTTP/2\n")


async def test_a_message_may_come_in_many_parts() -> None:
    parts = [bytes([byte]) for byte in request_for("liveness")]
    async with serving() as web, connected(web) as client:
        assert (await client.call(b"", *parts, b"")).body == SERVING


async def test_the_head_may_be_the_end() -> None:
    async with serving() as web, connected(web) as client:
        assert status(await client.call()) == ("13", "a call without a message")


async def test_a_long_message_costs_its_call_and_not_the_connection() -> None:
    flood = [b"\0\x00\x10\x00\x00", *[bytes(1000)] * 60]
    async with serving() as web, connected(web) as client:
        answered = await client.call(*flood)
        assert status(answered) == ("8", "a message of 1048576 bytes, more than 1024")
        assert (await client.call(request_for("liveness"))).body == SERVING


async def test_calls_at_once_on_one_connection() -> None:
    services = ["liveness", "readiness", "", "x"] * 2
    async with serving() as web, connected(web) as client:
        stream_ids = [await client.begin() for _ in services]
        for stream_id, service in reversed(list(zip(stream_ids, services, strict=True))):
            await client.end(stream_id, request_for(service))
        answered = [await client.answer(stream_id) for stream_id in stream_ids]
    assert [answer.body for answer in answered] == [SERVING, NOT_SERVING, NOT_SERVING, b""] * 2


async def test_a_call_that_is_given_up_costs_the_next_nothing() -> None:
    async with serving() as web, connected(web) as client:
        for _ in range(50):  # more than there may be at once
            client.connection.reset_stream(await client.begin())
            await client.flush()
        assert (await client.call(request_for("liveness"))).body == SERVING


@pytest.mark.parametrize("sent", [b"", b"\0\0\0", request_for("liveness"), bytes(5000)])
async def test_a_call_that_does_not_end_is_held_for_its_time_at_most(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setitem(TIMEOUTS, State.BUSY, 0.1)
    async with serving() as web, connected(web) as client:
        async with leaving_nothing():
            stream_id = await client.begin()
            client.connection.send_data(stream_id, sent)
            await client.flush()
            await client.stream.receive_some(1)
        async with connected(web) as another:
            assert (await another.call(request_for("liveness"))).body == SERVING


async def test_an_answer_waits_for_room_and_its_status_for_the_answer() -> None:
    async with serving() as web, connected(web) as client:
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        stream_id = await client.begin()
        await client.end(stream_id, request_for("liveness"))
        assert status(await client.call(request_for("x"))) == ("5", "unknown service")
        client.connection.increment_flow_control_window(len(SERVING), stream_id)
        await client.flush()
        answered = await client.answer(stream_id)
    assert (answered.body, answered.trailers) == (SERVING, {"grpc-status": "0"})


async def test_a_bug_is_raised() -> None:
    def fail(_: Question) -> Verdict:
        raise KeyError("bug")

    async with leaving_nothing():
        with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
            async with serving(fail) as web, connected(web) as client:
                await client.end(await client.begin(), request_for(""))
                await trio.sleep_forever()
