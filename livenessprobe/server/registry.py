"""The open connections, up to a limit.

A new connection is always accepted. At the limit, and when the system has no descriptors or memory
left, the connection that has been idle longest is closed to make room: of those that have never
sent anything if there are any, else of all. The kubelet's connections live for a millisecond, so
they are never the ones.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 128
"""At once, for each server. Clients are few, but one that is evicted may come back at once.

That takes more time than to keep its connection. A connection takes 0.1 MB of memory, and one that
makes the most of every limit 0.3 MB; all of them together leave the program below 100 MB, which
manifests allow it.
"""

RESERVED_FILES = 64
"""Descriptors that are not for connections. The program has 10 or so, each call to the driver 4."""

SERVERS = 2
"""How many servers may share the descriptors: for the health endpoints and for the metrics."""


class Evictable(Protocol):
    """A connection, as far as the registry needs to know."""

    def close(self) -> None:
        """Close it at once."""
        ...


C = TypeVar("C", bound=Evictable)


class ConnectionRegistry(Generic[C]):
    """At most `limit` open connections, in the order of their last activity."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._silent: dict[C, None] = {}
        self._active: dict[C, None] = {}

    def __iter__(self) -> Iterator[C]:
        """Iterate over a copy, so that connections may be removed meanwhile."""
        return iter([*self._silent, *self._active])

    def add(self, connection: C, *, is_silent: bool) -> None:
        """Add a connection, one that has sent nothing yet or another; at the limit, evict one."""
        if len(self._silent) + len(self._active) >= self._limit:
            self.evict()
        (self._silent if is_silent else self._active)[connection] = None

    def touch(self, connection: C) -> None:
        """Note that a connection has sent something just now."""
        self.remove(connection)
        self._active[connection] = None

    def remove(self, connection: C) -> None:
        """Remove a connection that is closed, if it is there."""
        self._silent.pop(connection, None)
        self._active.pop(connection, None)

    def evict(self) -> bool:
        """Close the connection that has been idle longest; return False if there is none."""
        connection = next(iter(self._silent or self._active), None)
        if connection is None:
            return False
        self.remove(connection)
        connection.close()
        return True


def connection_limit() -> int:
    """Return how many connections a server may have, given the descriptors of this process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:  # which is -1
        return CONNECTIONS
    return max(1, min(CONNECTIONS, (files - RESERVED_FILES) // SERVERS))
