"""Await an asyncio coroutine from trio: in a worker thread, under an event loop of its own.

The loop lives as long as the one call. A trio cancellation is passed on to the asyncio task,
and `run` returns or raises only once that task has ended and its loop is closed: the caller's
cancel scope bounds everything that was opened on the other side.

    trio task                          worker thread
    ---------                          -------------
    start_thread_soon  ------------->  asyncio.run(coroutine)
    wait_task_rescheduled                |
      cancelled: abort() ------------->  TURNS, for what has arrived by now
                                         task.cancel(), unwinds, closes its sockets
                       <-------------  deliver(outcome)

The turns are for when this program is stopped, or starved, until after a deadline. An answer that
has come meanwhile lies in the socket, and the first thing to run is the cancellation.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outcome import Outcome

T = TypeVar("T")

TURNS = 8
"""Turns of the event loop that a cancelled call still gets. None of them waits for anything.

Reading an answer, waking the call and closing the connection take four, so this leaves as many for
an answer in parts. A turn takes microseconds, unless a flood comes in, see `MAX_READ_BYTES`.
"""


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
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            # Only now, with a loop, is there a coroutine.
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
                self._loop.call_soon_threadsafe(_cancel_soon, self._loop, self._task, TURNS)


def _cancel_soon(loop: asyncio.AbstractEventLoop, task: asyncio.Task[T], turns: int) -> None:
    if turns:
        loop.call_soon(_cancel_soon, loop, task, turns - 1)
    else:
        task.cancel()


def _new_event_loop() -> asyncio.AbstractEventLoop:
    selector = selectors.DefaultSelector()
    try:
        return _EventLoop(selector)
    except OSError:
        selector.close()
        raise


class _EventLoop(asyncio.SelectorEventLoop):
    """asyncio's, but one that lacked a descriptor to be made does not trip over that when freed.

    The garbage collector's "Exception ignored" would be on stderr, which is the log.
    """

    _made = False

    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(selector)
        self._made = True

    def is_closed(self) -> bool:
        return not self._made or super().is_closed()
