"""Bounds a call to the driver, dial and reply together, by one deadline."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from livenessprobe.health.errors import DeadlineExceededError

T = TypeVar("T")


async def call_within(seconds: float, call: Callable[[float], Awaitable[T]]) -> T:
    """Return the result of `await call(seconds)`, which is cancelled after that many seconds.

    The call gets its timeout as an argument to pass it on to the driver; this function enforces it.

    Raises `DeadlineExceededError` if the call was cancelled, and what the call raises.
    """
    with trio.move_on_after(seconds):
        return await call(seconds)
    raise DeadlineExceededError
