"""Await an asyncio coroutine from trio: in a worker thread, under an event loop of its own.

The loop lives as long as the one call. A trio cancellation is passed on to the asyncio task,
and `run` returns or raises only once that task has ended and its loop is closed: the caller's
cancel scope bounds everything that was opened on the other side.

    trio task                          worker thread
    ---------                          -------------
    start_thread_soon  ------------->  asyncio.run(coroutine)
    wait_task_rescheduled                |
      cancelled: abort() ------------->  task.cancel(), unwinds, closes its sockets
                       <-------------  deliver(outcome)
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outcome import Outcome

T = TypeVar("T")


async def run(call: Callable[[], Awaitable[T]]) -> T:
    """Return what `await call()` gives on an asyncio loop in a worker thread.

    Raises what it raises, and OSError if the machine has no thread or descriptor left for it.
    `trio.Cancelled` is raised after the coroutine was cancelled and has ended; if it ends with a
    result all the same, that result counts.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()
    worker = _Worker(call)

    def deliver(outcome: Outcome[T]) -> None:
        token.run_sync_soon(trio.lowlevel.reschedule, task, outcome)

    def abort(_: object) -> trio.lowlevel.Abort:
        worker.cancel()
        return trio.lowlevel.Abort.FAILED  # the thread is still there: deliver() ends the wait

    try:
        trio.lowlevel.start_thread_soon(worker.run, deliver, name="asyncio call")
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    try:
        return await trio.lowlevel.wait_task_rescheduled(abort)  # type: ignore[no-any-return] # trio says Any
    except asyncio.CancelledError:
        await trio.lowlevel.checkpoint_if_cancelled()
        raise  # nobody here asked for it


class _Worker(Generic[T]):
    """One asyncio task, and the means to cancel it from another thread."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T] | None = None

    def run(self) -> T:
        with asyncio.Runner() as runner:  # if there is no loop, there is no coroutine either
            return runner.run(self._main())

    async def _main(self) -> T:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        # cancel() sets its flag first and looks for the loop then; here it is the other way
        # round, so that one of the two sees the other.
        if self._cancelled:
            raise asyncio.CancelledError
        return await self._call()

    def cancel(self) -> None:
        self._cancelled = True
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop is closed: the call has just ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)
