"""Who is let in: connections up to a limit, and for a new one the idlest has to go.

    accept ── it has hung up already ───────────► closed at once
           ── it has said something ────────────► answered at once, or served
           ── silent ── its first byte ─────────► served

`trio.serve_listeners` is not used: it starts a task for whoever connects, without a limit, and
logs a traceback ten times a second once there are no more descriptors. Here

- a connection that is new comes in always. At the limit, and when the system has no more
  descriptors or memory, the idlest connection is closed for it: the one silent longest of those
  that have never said anything, else of all. The kubelet's live for a millisecond, so they are
  never it;
- the kernel's queue is short, so that a flood cannot make everybody wait in it;
- to accept costs little, and many are accepted at once, as a client that only connects (and
  resets) can do that ten times faster than it is answered.
"""

from __future__ import annotations

import errno
import math
import resource
import socket
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import trio

from livenessprobe import klog
from livenessprobe.web.pieces import READ_BYTES

CONNECTIONS = 128
"""At once, for each server. Callers are a few, but who is closed for another may come back at once.

That takes more time than to keep it. A connection takes 0.06 MB, and one that makes the most of
every limit 0.3 MB; all of them together leave the program below 100 MB, which manifests allow it.
"""

RESERVED_FILES = 64
"""Descriptors that are not for connections. The program has 10 or so, each call to the driver 4."""

SERVERS = 2
"""How many may share the descriptors: the endpoints' and that of the metrics."""

BURST = 16
"""How many connections are accepted before others run; each takes less than 0.1 ms."""

BURST_SERVED = 4
"""How many of them may be answered; it takes a fifth of a millisecond, or one for the metrics."""

QUEUE = 128
"""How many may wait in the kernel until they are let in. The last of them waits for 0.1 s then.

Whoever sends a request and hangs up can do that faster than it is answered, and has always filled
the queue, whatever its length; in the usual one of 4096 everybody waits for seconds. From a full
one the kernel keeps others out, who knock again after some 0.2 or 1 s.
"""

OPTIONS = {
    # The seconds for which the kernel keeps a connection that says nothing. There it costs no
    # descriptor, and one that is reset is never heard of. In HTTP the client begins.
    socket.TCP_DEFER_ACCEPT: 1,
    # An answer is sent whole, and at once.
    socket.TCP_NODELAY: 1,
    # The bytes up to which the kernel wants more of an answer that is on its way. Who does not
    # read could have it keep megabytes, which count as memory of the container.
    socket.TCP_NOTSENT_LOWAT: 16 * 1024,
}
"""Of TCP; the connections inherit them."""

RETRY = 0.1
"""Seconds until the next attempt if the system lacks something and there is nothing to close."""

WARN_EVERY = 60.0
"""Seconds between two lines about that; it can last, and one line says it all."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# Not the server's fault: accept(2) passes on what befell the connection, or a firewall's refusal.
_GONE = {errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP} | {
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
}

log = klog.get_logger(__name__)


class Guest(Protocol):
    """A connection, as far as it matters here."""

    def close(self) -> None:
        """Close it at once."""
        ...

    def finish(self) -> None:
        """Take no more requests."""
        ...


class Door(Protocol):
    """A listening socket that does not block."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        ...


Welcome = Callable[[socket.socket, bytes], Guest | None]
"""Starts what serves a connection, given the client's first words, if it has said any by now.

None if they have been answered, and the connection is closed.
"""


class Guests:
    """The open connections: those that never said anything, and the others, the idlest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._silent: dict[Guest, None] = {}
        self._others: dict[Guest, None] = {}
        self._warned_at = -math.inf

    def admit(self, guest: Guest) -> None:
        """Add one that has not said anything yet, in place of another at the limit."""
        if len(self._silent) + len(self._others) >= self._limit:
            self._close_idlest()
        self._silent[guest] = None

    def heard(self, guest: Guest) -> None:
        """Note that it has said something just now."""
        self.forget(guest)
        self._others[guest] = None

    def forget(self, guest: Guest) -> None:
        """Remove one that is closed."""
        self._silent.pop(guest, None)
        self._others.pop(guest, None)

    def finish(self) -> None:
        """Let them take no more requests, and close those that never said anything."""
        while self._silent:
            self._close_idlest()
        for guest in self._others:
            guest.finish()

    async def make_room(self, lack: OSError) -> None:
        """Close the idlest for what the system lacks, or wait if there is none."""
        now = trio.current_time()
        if now >= self._warned_at + WARN_EVERY:
            self._warned_at = now
            log.warning("The system lets no connection in: the idlest is closed for it", err=lack)
        if self._silent or self._others:
            self._close_idlest()
        else:
            await trio.sleep(RETRY)

    def _close_idlest(self) -> None:
        guest = next(iter(self._silent or self._others))
        self.forget(guest)
        guest.close()


def limit() -> int:
    """Return how many connections a server may have, given the descriptors of this process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:  # a negative number
        return CONNECTIONS
    return max(1, min(CONNECTIONS, (files - RESERVED_FILES) // SERVERS))


async def accept(listener: trio.SocketListener, guests: Guests, welcome: Welcome) -> NoReturn:
    """Let connections in until cancelled; `listener` is closed then."""
    # trio's own accept() hands over to other tasks after each connection.
    door = socket.socket(fileno=listener.socket.fileno())
    try:
        for option, value in OPTIONS.items():
            door.setsockopt(socket.IPPROTO_TCP, option, value)
        door.listen(QUEUE)  # once more, with another length
        while True:
            await trio.lowlevel.wait_readable(door)
            try:
                accept_burst(door, guests, welcome)
            except OSError as lack:
                if lack.errno not in _EXHAUSTED:
                    raise
                await guests.make_room(lack)
    finally:
        door.detach()
        listener.socket.close()


def accept_burst(door: Door, guests: Guests, welcome: Welcome) -> None:
    """Let in those who wait, as many as can be before others run."""
    speakers = 0
    for accepted in range(BURST):
        try:
            connection, _ = door.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _GONE:
                continue
            if accepted:
                return  # the kernel tells of a lack before it looks whether anybody waits
            raise
        try:
            said = _first_words(connection)
        except OSError:
            connection.close()
            continue
        guest = welcome(connection, said)
        if guest is not None:
            guests.admit(guest)
            if said:
                guests.heard(guest)
        speakers += bool(said)
        if speakers == BURST_SERVED:
            return


def _first_words(connection: socket.socket) -> bytes:
    """Return what the client has said, nothing if that is yet to come.

    Raises OSError if nobody waits for an answer.
    """
    connection.setblocking(False)  # noqa: FBT003 - that is how it is spelt
    try:
        said = connection.recv(READ_BYTES)
    except BlockingIOError:
        return b""
    if not said or connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise ConnectionResetError
    return said
