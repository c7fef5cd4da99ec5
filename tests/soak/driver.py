"""Runs a CSI driver with faults, and counts: `-m tests.soak.driver SOCKET PROBES NAMES`.

The replies are prepared bytes of `tests/driver/peer.py`, since a gRPC server would use more CPU
than the program under test. The reply to the n-th Probe depends on n alone, and is recorded before
it is sent. A driver that kills itself is replaced at once by a new one, which continues the count.
After stdin is closed, the next Probe is the last one.
"""

import asyncio
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import cast

from hpack import Encoder

from tests.driver import peer
from tests.soak.tally import Tally


class Reply(StrEnum):
    """The reply to a Probe; the value is its letter in the tally."""

    READY = "r"
    NOT_READY = "n"
    ERROR = "e"
    CUT = "c"
    """The first bytes of a good reply, then EOF."""
    CLOSE = "u"
    """A good reply and at once EOF, on the connection that the program holds."""
    RECREATE = "s"
    """A good reply, and a new socket in place of this one."""
    HANG = "h"
    KILL = "k"
    LATE = "l"
    """Nothing, since the Probe has timed out before this process ran."""


STATUS = {
    Reply.READY: "OK",
    Reply.NOT_READY: "OK",
    Reply.ERROR: "FailedPrecondition",
    Reply.CUT: "Unavailable",
    Reply.CLOSE: "OK",
    Reply.RECREATE: "OK",
    Reply.HANG: "DeadlineExceeded",
    Reply.KILL: "Unavailable",
    Reply.LATE: "DeadlineExceeded",
}

USUAL = [Reply(letter) for letter in "rrnrecrrurrercrrnrcr"]

# Rare, since there is no load during a timeout or the start of a new driver.
RARE = {500: Reply.KILL, 400: Reply.HANG, 100: Reply.RECREATE}

ANSWER = {
    Reply.READY: peer.VALID,
    Reply.NOT_READY: peer.PREFACE + peer.OK_200 + peer.NOT_READY + peer.STATUS_0,
    Reply.ERROR: peer.PREFACE
    + peer.headers(
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "9"),
        ("grpc-message", "not healthy"),
        end=True,
    ),
    Reply.HANG: b"",
    Reply.LATE: b"",
}

_NAME = b"soak.csi.example.com"
NAME = (
    peer.PREFACE
    + peer.OK_200
    + peer.data(peer.message(bytes([0x0A, len(_NAME)]) + _NAME))
    + peer.STATUS_0
)

# Seconds to wait for the last Probe; the program may have exited.
TIMEOUT = 10.0

# The path in the HPACK encoding of the first request of a connection, without name and length.
PROBE_PATH = Encoder().encode([(":path", "/csi.v1.Identity/Probe")])[2:]


def reply_to(number: int) -> Reply:
    for every, rare in RARE.items():
        if number % every == every // 4:  # early, so that a short run has them too
            return rare
    return USUAL[number % len(USUAL)]


class Driver:
    """The state that the connections share, until `done`."""

    def __init__(self, path: Path, probes: Tally, names: Tally) -> None:
        self.path = path
        self.probes = probes
        self.names = names
        self.is_ending = False
        self.done = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Create a socket, in place of the present one if there is one."""
        new = self.path.with_suffix(".new")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(new))
        listener.listen()
        loop = asyncio.get_running_loop()
        old = self._server
        self._server = await loop.create_unix_server(lambda: Call(self), sock=listener)
        new.rename(self.path)
        if old is not None:
            old.close()

    def die(self) -> None:
        # The listener is closed first. The kernel may close it last, and a Probe that connects in
        # between would not be counted.
        if self._server is not None:
            self._server.close()
        if self.is_ending:
            self.done.set()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sys.stdin)
        loop.call_later(TIMEOUT, self.done.set)
        self.is_ending = True


class Call(asyncio.Protocol):
    """One connection with its one call."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._received = b""
        self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._received += data
        if peer.END_OF_REQUEST in self._received:
            self._is_answered = True
            if PROBE_PATH in self._received:
                self._answer_probe()
            else:
                self._driver.names.note("i")
                self._transport.write(NAME)

    def _answer_probe(self) -> None:
        number = len(self._driver.probes)
        its = self._reply_to(number)
        self._driver.probes.note(its)
        match its:
            case Reply.KILL:
                self._driver.die()
            case Reply.CUT:
                self._transport.write(peer.VALID[: number % len(peer.VALID)])
                self._transport.close()
            case Reply.CLOSE:
                self._transport.write(peer.VALID)
                self._transport.close()
            case Reply.RECREATE:
                self._recreating = asyncio.ensure_future(self._recreate())
            case Reply():
                self._transport.write(ANSWER[its])

    async def _recreate(self) -> None:
        await self._driver.listen()  # before the reply, while no other Probe can be in flight
        self._transport.write(peer.VALID)

    def _reply_to(self, number: int) -> Reply:
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), select.POLLRDHUP)
        if poll.poll(0):
            return Reply.LATE
        return Reply.KILL if self._driver.is_ending else reply_to(number)


async def serve(driver: Driver) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, driver.end)
    await driver.listen()
    await driver.done.wait()


def main() -> None:
    path, probes, names = map(Path, sys.argv[1:])
    # Forked, so that a new driver starts within milliseconds, without the imports.
    while not (child := os.fork()) or os.waitpid(child, 0)[1] == signal.SIGKILL:
        if not child:
            asyncio.run(serve(Driver(path, Tally(probes), Tally(names))))
            os._exit(0)
    with suppress(FileNotFoundError):
        path.unlink()


if __name__ == "__main__":
    main()
