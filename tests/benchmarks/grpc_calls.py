"""How long a gRPC health check takes on a connection of its own, as the kubelet's `grpc` probes.

Like grpc-go, the client sends its request once it has the server's settings. Only programs of this
kind have the service; the others take no part. Its time runs from before the connection is made to
the end of the stream.
"""

import socket
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, StreamEnded

from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import Program, Running, asks_by_itself, cpu
from tests.benchmarks.readings import Reading, Scale, histogram, quantile
from tests.e2e.harness import Address

GROUP = "gRPC health"
ROW = "Check on a new connection, one at a time"
ROWS = (ROW,)

REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/grpc.health.v1.Health/Check"),
    (":authority", "127.0.0.1"),
    ("content-type", "application/grpc"),
    ("user-agent", "kube-probe/1.34 grpc-go/1.72.0"),
    ("te", "trailers"),
    ("grpc-timeout", "999996u"),
)
NO_SERVICE = bytes(5)
SERVING = b"\0\0\0\0\x02\x08\x01"

WARM_UP = 50


def measure(programs: Sequence[Program], _rows: Container[str], scale: Scale) -> Iterator[Reading]:
    """Yield the readings."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        sides: list[Running] = []
        for program in filter(asks_by_itself, programs):
            driver = Path(folder, f"{program.name}.sock")
            stack.enter_context(Driver(driver))
            sides.append(stack.enter_context(Running(program, driver)))
        for side in sides:
            side.wait_for_first()
            for _ in range(WARM_UP):
                check(side.address)
        for _ in range(scale.rounds):
            for side in sides:
                yield _read(side, scale.seconds)


def check(address: Address) -> float:
    """Make one call, and return how many seconds it took. Raises ValueError if it failed."""
    client, body, is_over = H2Connection(H2Configuration(header_encoding="utf-8")), b"", False
    client.initiate_connection()
    hello = client.data_to_send()
    began_at = time.perf_counter()
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(hello)
        while not is_over and (received := connection.recv(65536)):
            for event in client.receive_data(received):
                if isinstance(event, RemoteSettingsChanged):
                    client.send_headers(1, REQUEST)
                    client.send_data(1, NO_SERVICE, end_stream=True)
                elif isinstance(event, DataReceived):
                    body += event.data
                is_over |= isinstance(event, StreamEnded)
            if not is_over:
                connection.sendall(client.data_to_send())
        seconds = time.perf_counter() - began_at
    if not is_over or body != SERVING:
        raise ValueError(f"not a healthy answer: {body!r}")
    return seconds


def _read(side: Running, seconds: float) -> Reading:
    before, began_at = cpu(side.pid), time.perf_counter()
    latencies: list[float] = []
    while time.perf_counter() < began_at + seconds:
        latencies.append(check(side.address))
    return Reading(
        group=GROUP,
        row=ROW,
        program=side.name,
        values={
            "p50 ms": quantile(latencies, 0.50) * 1000,
            "p99 ms": quantile(latencies, 0.99) * 1000,
            "CPU ms/request": (cpu(side.pid) - before) / len(latencies) * 1000,
        },
        latencies=histogram(latencies),
    )
