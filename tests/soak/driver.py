"""A CSI driver that plays faults in turn and counts: `-m tests.soak.driver SOCKET PROBES NAMES`.

It answers byte for byte from `tests/driver/peer.py`, since a whole gRPC server would take more of
the machine than the program under test. What the n-th Probe gets depends on n alone, and is noted
before it gets it. A driver that kills itself is followed by another one at once, which goes on
with the count. Once stdin has ended, the next Probe is the last.
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


class Fate(StrEnum):
    """What a Probe gets, and its letter in the tally."""

    READY = "r"
    NOT_READY = "n"
    ERROR = "e"
    CUT = "c"
    """The first bytes of a good answer, then the end of the connection."""
    HANG_UP = "u"
    """A good answer and, at once, the end of the connection, which is the tripwire's."""
    RECREATE = "s"
    """A good answer, and another socket in the place of this one."""
    HANG = "h"
    KILL = "k"
    LATE = "l"
    """Nothing, as it has timed out before this driver ran."""


STATUS = {
    Fate.READY: "OK",
    Fate.NOT_READY: "OK",
    Fate.ERROR: "FailedPrecondition",
    Fate.CUT: "Unavailable",
    Fate.HANG_UP: "OK",
    Fate.RECREATE: "OK",
    Fate.HANG: "DeadlineExceeded",
    Fate.KILL: "Unavailable",
    Fate.LATE: "DeadlineExceeded",
}

USUAL = [Fate(letter) for letter in "rrnrecrrurrercrrnrcr"]

# Each of these takes time in which there is no load: a timeout, or a new driver's start.
RARE = {500: Fate.KILL, 400: Fate.HANG, 100: Fate.RECREATE}

ANSWER = {
    Fate.READY: peer.VALID,
    Fate.NOT_READY: peer.PREFACE + peer.OK_200 + peer.NOT_READY + peer.STATUS_0,
    Fate.ERROR: peer.PREFACE
    + peer.headers(
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "9"),
        ("grpc-message", "not healthy"),
        end=True,
    ),
    Fate.HANG: b"",
    Fate.LATE: b"",
}

_NAME = b"soak.csi.example.com"
NAME = (
    peer.PREFACE
    + peer.OK_200
    + peer.data(peer.message(bytes([0x0A, len(_NAME)]) + _NAME))
    + peer.STATUS_0
)

# Seconds for the last Probe to come; the program may have ended.
TIMEOUT = 10.0

# As the path of a connection's first request looks, after the octets of its name and length.
PROBE_PATH = Encoder().encode([(":path", "/csi.v1.Identity/Probe")])[2:]


def fate(number: int) -> Fate:
    for every, rare in RARE.items():
        if number % every == every // 4:  # early: a short run has them too
            return rare
    return USUAL[number % len(USUAL)]


class Driver:
    """What the connections share, until `done`."""

    def __init__(self, path: Path, probes: Tally, names: Tally) -> None:
        self.path = path
        self.probes = probes
        self.names = names
        self.is_ending = False
        self.done = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Put a socket in the place of the one that is there, if any."""
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
        # The listener first, and not in whatever order the kernel takes: the next Probe could
        # connect to it in between, unseen.
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
    """One connection, with the one call that it is for."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._heard = b""
        self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._heard += data
        if peer.END_OF_REQUEST in self._heard:
            self._is_answered = True
            if PROBE_PATH in self._heard:
                self._answer_probe()
            else:
                self._driver.names.note("i")
                self._transport.write(NAME)

    def _answer_probe(self) -> None:
        number = len(self._driver.probes)
        its = self._fate(number)
        self._driver.probes.note(its)
        match its:
            case Fate.KILL:
                self._driver.die()
            case Fate.CUT:
                self._transport.write(peer.VALID[: number % len(peer.VALID)])
                self._transport.close()
            case Fate.HANG_UP:
                self._transport.write(peer.VALID)
                self._transport.close()
            case Fate.RECREATE:
                self._recreating = asyncio.ensure_future(self._recreate())
            case Fate():
                self._transport.write(ANSWER[its])

    async def _recreate(self) -> None:
        await self._driver.listen()  # first, while no other Probe can be on its way
        self._transport.write(peer.VALID)

    def _fate(self, number: int) -> Fate:
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), select.POLLRDHUP)
        if poll.poll(0):
            return Fate.LATE
        return Fate.KILL if self._driver.is_ending else fate(number)


async def serve(driver: Driver) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, driver.end)
    await driver.listen()
    await driver.done.wait()


def main() -> None:
    path, probes, names = map(Path, sys.argv[1:])
    # Forked, for a start that takes a few milliseconds and not as long as all the imports.
    while not (child := os.fork()) or os.waitpid(child, 0)[1] == signal.SIGKILL:
        if not child:
            asyncio.run(serve(Driver(path, Tally(probes), Tally(names))))
            os._exit(0)
    with suppress(FileNotFoundError):
        path.unlink()


if __name__ == "__main__":
    main()
