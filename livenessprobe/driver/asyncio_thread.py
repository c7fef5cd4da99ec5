"""Await an asyncio coroutine from trio: in a worker thread, under an event loop of its own.

A trio cancellation is passed on to the asyncio task, and `Loops.run` returns or raises only once
that task has ended: the caller's cancel scope bounds everything that was opened on the other side.

    trio task                          worker thread
    ---------                          -------------
    start_thread_soon  ------------->  asyncio.Runner.run(coroutine)
    wait_task_rescheduled                |
      cancelled: abort() ------------->  TURNS, for what has arrived by now
                                         task.cancel(), unwinds, closes its sockets
                       <-------------  deliver(outcome)

The turns are for when this program is stopped, or starved, until after a deadline. An answer that
has come meanwhile lies in the socket, and the first thing to run is the cancellation.

To make a loop and to end it takes a tenth of a call's CPU time, and three descriptors, which the
next call might not find. So the loop waits for that one, idle and in no thread, if this one came to
its result undisturbed and left no task behind. Else it is closed, with all that is on it.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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


MAX_READ_BYTES = 16 * 1024
"""All that is read at once, so that a flood of small frames cannot hold up a cancellation.

Each takes some 20 us, so asyncio's own 256 KiB could take half a second. A reply has 100 bytes.
"""


def limit_reads(transport: Any) -> None:
    """Let a transport of asyncio's read `MAX_READ_BYTES` at once, by its undocumented attribute."""
    transport.max_size = MAX_READ_BYTES


class Loops:
    """The loops that calls run on, one for each call at a time. To be closed when none runs."""

    def __init__(self) -> None:
        self._idle: list[asyncio.Runner] = []

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `await call()` gives on an asyncio loop in a worker thread.

        Raises what it raises, and OSError if the machine has no thread or descriptor left for it.
        `trio.Cancelled` is raised after the coroutine was cancelled and has ended; if it ends with
        a result all the same, that result counts.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()
        worker = _Worker(call, self._idle)

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

    def close(self) -> None:
        """Close the loops. Another call would make another."""
        while self._idle:
            self._idle.pop().close()


class _Worker(Generic[T]):
    """One asyncio task, and the means to cancel it from another thread.

    It takes its runner from those that are `idle`, if there is one, and puts it back there.
    """

    def __init__(self, call: Callable[[], Awaitable[T]], idle: list[asyncio.Runner]) -> None:
        self._call = call
        self._idle = idle
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T] | None = None

    def run(self) -> T:
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = asyncio.Runner(loop_factory=_new_event_loop)
        undisturbed = False
        try:
            loop = runner.get_loop()  # only with a loop is there a coroutine
            result = runner.run(self._main())
            undisturbed = not (self._cancelled or asyncio.all_tasks(loop))
        finally:
            if undisturbed:
                self._idle.append(runner)
            else:
                runner.close()
        return result

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
            # The call may just have ended by itself. Then its loop is closed, or has another
            # call by now, and the turns do nothing to that.
            with suppress(RuntimeError):
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
