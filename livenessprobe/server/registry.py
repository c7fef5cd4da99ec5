"""The open connections of a server, up to a limit.

A new connection is always accepted. At the limit, and when the system has no descriptors or memory
left, the connection that has been idle longest is closed to make room. The kubelet's connections
live for a millisecond, so they are never the ones.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 128
"""The most open connections of one server.

Clients are few, but an evicted one may come back at once, which takes more time than to keep its
connection. A connection takes 0.1 MB of memory, 0.3 MB if it uses every limit to the full: with all
of them, the program stays below the 100 MB that manifests allow it.
"""

RESERVED_FILES = 64
"""Descriptors that are not for connections. The program has 10 or so, each call to the driver 4."""

SERVERS = 2
"""How many servers may share the descriptors: for the health endpoints and for the metrics."""


class Registered(Protocol):
    """A connection, as far as a registry needs to know it."""

    def close(self) -> None:
        """Close it at once."""

    def drain(self) -> None:
        """Take no more requests."""


class ConnectionRegistry:
    """At most `limit` open connections, in the order of their last activity."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._connections: dict[Registered, None] = {}

    def __iter__(self) -> Iterator[Registered]:
        """Iterate over a copy, so that connections may be removed meanwhile."""
        return iter(list(self._connections))

    def add(self, connection: Registered) -> None:
        """Add a connection; at the limit, evict another one first."""
        if len(self._connections) >= self._limit:
            self.evict()
        self._connections[connection] = None

    def touch(self, connection: Registered) -> None:
        """Record that a connection has received something just now."""
        self.remove(connection)
        self._connections[connection] = None

    def remove(self, connection: Registered) -> None:
        """Remove a connection that is closed, if it is there."""
        self._connections.pop(connection, None)

    def evict(self) -> bool:
        """Close the connection that has been idle longest; return False if there is none."""
        connection = next(iter(self._connections), None)
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
