"""The accept loop of one listening socket.

`trio.serve_listeners` is not used: it has no limit of connections, and logs a traceback ten times a
second once there are no more descriptors. Here

- a lack of descriptors or memory evicts an idle connection, see `registry`;
- the kernel's queue is short, so that a flood of connections makes nobody wait long in it;
- several connections are accepted before other tasks run, as a client that connects and closes is
  faster than trio's scheduler.
"""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

import trio

from livenessprobe import klog
from livenessprobe.server.limits import READ_BYTES

if TYPE_CHECKING:
    from livenessprobe.server.registry import ConnectionRegistry

BURST = 8
"""How many connections are accepted, and answered if they can be, before other tasks run.

A response takes 0.2 ms, or 1 ms for the metrics.
"""

QUEUE = 128
"""How many connections may wait in the kernel; the last of them waits for 0.1 s.

A client that sends a request and closes is faster than the server, and fills a queue of any length;
in the usual one of 4096 everybody waits for seconds. When the queue is full, the kernel drops the
SYN, and the client repeats it after 1 s.
"""

OPTIONS = {
    # Seconds for which the kernel keeps a connection that sends nothing, as in HTTP the client
    # sends first. There it costs no descriptor, and one that is reset never gets to the program.
    socket.TCP_DEFER_ACCEPT: 1,
    # A response is written whole, and sent at once.
    socket.TCP_NODELAY: 1,
    # Bytes below which the kernel asks for more of a response that is being sent. A client that
    # does not read could have it keep megabytes, which count as memory of the container.
    socket.TCP_NOTSENT_LOWAT: 16 * 1024,
}
"""TCP options that connections inherit. The server works without any of them."""

RETRY = 0.1
"""Seconds until the next attempt after an error, if there is no connection to evict."""

WARN_INTERVAL = 60.0
"""Seconds between two warnings about an error, which may last."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC}
"""The system lacks something; ENOSPC is epoll_ctl's."""

BROKEN = {errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK}
"""The listener cannot be used any more. All other errors concern one connection, see accept(2)."""

log = klog.get_logger(__name__)


Handler = Callable[[socket.socket, bytes], Awaitable[None]]
"""Takes ownership of a connection and what it has received so far, and does not wait."""


async def accept(
    listener: socket.socket, registry: ConnectionRegistry, handle: Handler
) -> NoReturn:
    """Accept connections from `listener` until cancelled, and close it then.

    Raises OSError if the socket is broken.
    """
    warned_at = -math.inf
    with listener:
        prepare(listener)
        while True:
            try:
                if await accept_burst(listener, handle):
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_readable(listener)
            except OSError as error:
                if error.errno in BROKEN:
                    raise
                now = trio.current_time()
                if now >= warned_at + WARN_INTERVAL:
                    warned_at = now
                    log.warning("A connection could not be accepted", err=error)
                if not (error.errno in EXHAUSTED and registry.evict()):
                    await trio.sleep(RETRY)


def prepare(listener: socket.socket) -> None:
    """Make a listening socket ready for `accept_burst`."""
    listener.setblocking(False)  # noqa: FBT003 - that is how it is spelt
    for option, value in OPTIONS.items():
        try:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError as error:
            log.info("Listening without a TCP option", v=2, option=option, err=error)
    listener.listen(QUEUE)  # once more, with another length


async def accept_burst(listener: socket.socket, handle: Handler) -> bool:
    """Accept the connections that wait, `BURST` at most.

    Returns whether more of them may wait. Raises OSError if not even one can be accepted.
    """
    for accepted in range(BURST):
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return False
        except OSError:
            if accepted:
                return True  # accept(2) may report EMFILE although no connection waits
            raise
        try:
            received = receive_nowait(connection)
        except OSError:
            connection.close()
        else:
            await handle(connection, received)
    return True


def receive_nowait(connection: socket.socket) -> bytes:
    """Return what a new connection has received, nothing if that is yet to come.

    Raises OSError if the client has closed or reset the connection.
    """
    connection.setblocking(False)  # noqa: FBT003 - that is how it is spelt
    try:
        received = connection.recv(READ_BYTES)
    except BlockingIOError:
        return b""
    if not received:
        raise ConnectionResetError
    return received
