"""The states of a connection, and how long each of them may take."""

from __future__ import annotations

import math
from enum import Enum


class State(Enum):
    """What a connection waits for."""

    IDLE = "a request"
    BUSY = "the rest of a request, or its response to be taken"
    ENDING = "the client to close its side"
    CLOSED = "nothing"


TIMEOUTS = {
    # Longer than the intervals at which monitoring systems ask, so that they may keep a connection.
    # `Keep-Alive: timeout` tells HTTP/1 clients.
    State.IDLE: 60.0,
    # For a whole head, and from there for the body and for the client to take the response.
    State.BUSY: 10.0,
    # After the last response.
    State.ENDING: 0.5,
    State.CLOSED: math.inf,
}
"""Seconds."""

DRAIN = 0.5
"""Seconds for everything that is under way when the server stops.

A response takes about a millisecond; the rest is for slow readers. The program promises to end
within one second.
"""
