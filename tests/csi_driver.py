"""A scripted CSI driver on grpcio: a peer that shares no code with the program under test.

Each call waits out its behaviour's delay, then gets its error or its reply; a hang is a delay
without end. A behaviour may be replaced at any time and holds for the calls that arrive from then
on. A wait ends early when the caller gives up, on `release()`, or when the driver stops, so no
thread outlives it. Messages are encoded by hand: three short byte strings need no code generator.

In a test's own process: `with CsiDriver(socket) as driver: driver.probe = NOT_READY`. As a process
that can be killed or stopped: `python tests/csi_driver.py SOCKET`, then commands on stdin (see
`obey`), each answered by one line on stdout.
"""

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import grpc  # type: ignore[import-untyped]  # grpcio ships no types

DRIVER_NAME = "fake.csi.example.com"

# A hung call holds its thread; this many can hang before one would have to wait for its turn.
WORKERS = 64

STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a call gets: after `delay` seconds an error if `code` is not OK, else `reply`."""

    reply: bytes = b""
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    delay: float = 0.0


READY_ABSENT = Behaviour()
READY = Behaviour(reply=b"\x0a\x02\x08\x01")
NOT_READY = Behaviour(reply=b"\x0a\x00")
HANG = Behaviour(delay=threading.TIMEOUT_MAX)


def error(code: int, message: str = "") -> Behaviour:
    """Fail with a gRPC status, by its number."""
    return Behaviour(code=STATUS_CODES[code], message=message)


def named(name: str) -> Behaviour:
    """Answer GetPluginInfo with this name, at most 127 bytes long."""
    encoded = name.encode()
    return Behaviour(reply=b"\x0a" + bytes([len(encoded)]) + encoded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the driver has seen; `last_timeout` is the last Probe's grpc-timeout in seconds."""

    probes: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    plugin_infos: int = 0
    last_timeout: float = 0.0


class CsiDriver:
    """`csi.v1.Identity` on a UNIX socket while its `with` block runs.

    `probe` and `plugin_info` may be assigned at any time. Stopping removes the socket file, even
    if another driver has put its own there. Connections without a call are closed after
    `max_idle_ms` milliseconds.
    """

    def __init__(self, socket: Path, max_idle_ms: int = 2**31 - 1) -> None:
        self.probe = READY_ABSENT
        self.plugin_info = named(DRIVER_NAME)
        self.counts = Counts()
        self._lock = threading.Lock()
        self._waiting: set[threading.Event] = set()
        self._workers = ThreadPoolExecutor(WORKERS)
        self._server = grpc.server(
            self._workers,
            handlers=[self._identity()],
            options=[("grpc.max_connection_idle_ms", max_idle_ms)],
        )
        self._server.add_insecure_port(f"unix:{socket}")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()
        self._workers.shutdown()

    def release(self) -> None:
        """Let every call that is waiting go on to its reply now."""
        with self._lock:
            for go_on in self._waiting:
                go_on.set()

    def _identity(self) -> grpc.GenericRpcHandler:
        methods = {"Probe": self._probe, "GetPluginInfo": self._get_plugin_info}
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        return grpc.method_handlers_generic_handler("csi.v1.Identity", handlers)

    def _probe(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._in_flight(context):
            return self._answer(self.probe, context)

    def _get_plugin_info(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.counts = replace(self.counts, plugin_infos=self.counts.plugin_infos + 1)
        return self._answer(self.plugin_info, context)

    def _answer(self, behaviour: Behaviour, context: grpc.ServicerContext) -> bytes:
        if behaviour.delay:
            self._wait(behaviour.delay, context)
        if behaviour.code is not grpc.StatusCode.OK:
            context.abort(behaviour.code, behaviour.message)
        return behaviour.reply

    def _wait(self, delay: float, context: grpc.ServicerContext) -> None:
        go_on = threading.Event()
        with self._lock:
            self._waiting.add(go_on)
        if context.add_callback(go_on.set):
            go_on.wait(delay)
        with self._lock:
            self._waiting.remove(go_on)

    @contextmanager
    def _in_flight(self, context: grpc.ServicerContext) -> Iterator[None]:
        with self._lock:
            in_flight = self.counts.in_flight + 1
            self.counts = replace(
                self.counts,
                probes=self.counts.probes + 1,
                in_flight=in_flight,
                max_in_flight=max(in_flight, self.counts.max_in_flight),
                last_timeout=context.time_remaining(),
            )
        try:
            yield
        finally:
            with self._lock:
                self.counts = replace(self.counts, in_flight=self.counts.in_flight - 1)


PLAIN = {"ready-absent": READY_ABSENT, "ready": READY, "not-ready": NOT_READY, "hang": HANG}


def parse(words: list[str]) -> Behaviour:
    """Read a behaviour as the commands spell it."""
    match words:
        case [word] if word in PLAIN:
            return PLAIN[word]
        case ["delay", seconds]:
            return Behaviour(delay=float(seconds))
        case ["error", code, *message]:
            return error(int(code), " ".join(message))
        case ["name", *name]:
            return named("".join(name))
        case _:
            raise ValueError(f"no such behaviour: {' '.join(words)}")


def obey(driver: CsiDriver, command: str) -> str:
    """Carry out one command and return its answer, `ok` or the counts as JSON.

    `counts`, `release`, `info BEHAVIOUR` for GetPluginInfo, and `BEHAVIOUR` for Probe, where
    BEHAVIOUR is ready-absent, ready, not-ready, hang, delay SECONDS, error CODE [MESSAGE] or
    name [NAME].
    """
    match command.split():
        case ["counts"]:
            return json.dumps(asdict(driver.counts))
        case ["release"]:
            driver.release()
        case ["info", *words]:
            driver.plugin_info = parse(words)
        case words:
            driver.probe = parse(words)
    return "ok"


def main() -> None:
    """Serve on the socket named by the first argument until stdin ends."""
    with CsiDriver(Path(sys.argv[1])) as driver:
        print("listening", flush=True)  # noqa: T201 - stdout is the answer channel
        for line in sys.stdin:
            print(obey(driver, line), flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
