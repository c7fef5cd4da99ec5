"""A CSI driver that costs next to nothing, in a process of its own.

The driver is on the same machine as what is measured, and a program that asks it for every request
is slowed down by all that the driver takes. `tests/csi_driver.py`, on grpcio, takes as much CPU
for a Probe as a program in Go needs to ask for it; this one a fraction. It reads just enough to see
that a call is there, and of which of the two methods, and answers with bytes made once. The calls
of a connection come one after the other, as those of all livenessprobes do.

As a command: `python -m tests.benchmarks.driver SOCKET`, then on stdin a number of seconds that
answers to Probes take from now on, `inf` for a driver that hangs, or `count`. To each line it
replies with the number of Probes so far.
"""

import asyncio
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Self

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from tests.driver.peer import PREFACE, data, headers, message

PATH = b"/csi.v1.Identity/GetPluginInfo"
ENCODED = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(PATH)

NAME = b"bench.csi.example.com"
INFO = b"\x0a" + bytes([len(NAME)]) + NAME
READY = b"\x0a\x02\x08\x01"


@cache
def end_of_request(stream: int) -> bytes:
    """Return how a request ends: with an empty message and the end of its stream."""
    return data(message(), end=True, stream=stream)


@cache
def reply(body: bytes, stream: int) -> bytes:
    """Return a reply with this message."""
    return b"".join(
        [
            headers((":status", "200"), ("content-type", "application/grpc"), stream=stream),
            data(message(body), stream=stream),
            headers(("grpc-status", "0"), end=True, stream=stream),
        ]
    )


class Driver:
    """The process, from the program's point of view; in a `with` block."""

    def __init__(self, path: Path) -> None:
        self.socket = path
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tests.benchmarks.driver", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        self._reply()  # it listens
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.communicate()

    def kill(self) -> None:
        """Let it be gone; its socket stays."""
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def delay(self, seconds: float) -> None:
        """Let the answer to each Probe take so many seconds from now on."""
        self._tell(str(seconds))

    def count(self) -> int:
        """Return how many Probes have come."""
        return int(self._tell("count"))

    def _tell(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the driver has ended")
        return line


class _Identity:
    """What all connections share: how long a Probe takes, in seconds, and how many there were."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.probes = 0


class _Connection(asyncio.Protocol):
    """One connection, with its calls one after the other."""

    def __init__(self, identity: _Identity) -> None:
        self._identity = identity
        self._received = b""
        self._stream = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(PREFACE)

    def data_received(self, received: bytes) -> None:
        self._received += received
        if end_of_request(self._stream) not in self._received:
            return
        if PATH in self._received or ENCODED in self._received:
            self._reply(INFO, self._stream)
        else:
            self._identity.probes += 1
            self._probed(self._identity.delay)
        self._received = b""
        self._stream += 2

    def _probed(self, delay: float) -> None:
        if delay:
            asyncio.get_running_loop().call_later(delay, self._reply, READY, self._stream)
        else:
            self._reply(READY, self._stream)

    def _reply(self, body: bytes, stream: int) -> None:
        self._transport.write(reply(body, stream))


async def serve(path: str) -> None:
    """Serve on the socket at `path` until stdin ends."""
    loop = asyncio.get_running_loop()
    identity = _Identity()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    server = await loop.create_unix_server(lambda: _Connection(identity), path, backlog=1024)
    async with server:
        line = "count"
        while line:
            if line != "count":
                identity.delay = float(line)
            sys.stdout.write(f"{identity.probes}\n")
            sys.stdout.flush()
            line = (await stdin.readline()).decode().strip()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
