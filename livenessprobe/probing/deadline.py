"""The one deadline that a call to the driver has, dial and answer together."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from livenessprobe.health.errors import DeadlineExceededError

T = TypeVar("T")


async def call_within(seconds: float, call: Callable[[float], Awaitable[T]]) -> T:
    """Return what `await call(seconds)` gives; raise `DeadlineExceededError` if it takes longer.

    The call is told its deadline, to pass it on to the driver; this scope is what enforces it.
    """
    with trio.move_on_after(seconds):
        return await call(seconds)
    raise DeadlineExceededError
