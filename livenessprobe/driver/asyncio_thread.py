"""Runs an asyncio coroutine from trio, in a worker thread with an event loop of its own.

A trio cancellation is passed on to the asyncio task, and `Loops.run` returns or raises only after
that task has ended. So the caller's cancel scope bounds everything that the coroutine opens.

    trio task                          worker thread
    ---------                          -------------
    _Thread.jobs.put   ------------->  asyncio.Runner.run(coroutine)
    wait_task_rescheduled                |
      cancelled: abort() ------------->  CANCEL_DELAY iterations of the event loop
                                         task.cancel(): unwinds, closes its sockets
    reschedule         <-------------  run_sync_soon(outcome)

The delay is for a process that was stopped or starved until after its deadline: a reply that is
already in the socket's buffer is read before the task is cancelled, and counts.

Creating and closing an event loop takes a tenth of a call's CPU time and three descriptors, which
may be missing the next time. So a loop is kept for the next call, idle and in no thread, if its
call was not cancelled, raised nothing and left no task behind. Otherwise it is closed.

A thread is kept, too. Those of trio end after ten seconds without work, which is how long a usual
kubelet waits between two requests: the end of one and the start of the next take a fifth of a
call's CPU time.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

CANCEL_DELAY = 8
"""Iterations of the event loop between a cancellation and its delivery. None of them waits.

Reading a reply, resuming the call and closing the connection take four; the rest is for a reply
that arrives in parts. An iteration takes microseconds, since the size of a read is limited.
"""


class Loops:
    """Event loops and threads, used again, one for each call in flight. The owner closes them."""

    def __init__(self) -> None:
        self._idle: list[asyncio.Runner] = []
        self._idle_threads: list[_Thread] = []

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `await call()`, run by asyncio in a worker thread.

        Raises what it raises, and OSError if the system has no thread or descriptor left. If
        cancelled, raises `trio.Cancelled` after the coroutine has ended; if the coroutine ends
        with a result or an error of its own, that is returned or raised instead.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()
        worker = _Worker(call, self._idle)
        thread = self._idle_threads.pop() if self._idle_threads else _start_thread()

        def work() -> None:
            result = outcome.capture(worker.run)
            self._idle_threads.append(thread)
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        def abort(_: object) -> trio.lowlevel.Abort:
            worker.cancel()
            return trio.lowlevel.Abort.FAILED  # the thread still runs: work() ends the wait

        thread.jobs.put(work)
        try:
            return await trio.lowlevel.wait_task_rescheduled(abort)  # type: ignore[no-any-return] # trio says Any
        except asyncio.CancelledError:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise  # the coroutine cancelled itself

    def close(self) -> None:
        """Close the idle loops and end their threads. No call may be in flight.

        A later call creates a new loop and thread.
        """
        while self._idle:
            self._idle.pop().close()
        while self._idle_threads:
            thread = self._idle_threads.pop()
            thread.jobs.put(None)
            thread.join()


class _Thread(threading.Thread):
    """Calls one job after the other, until it gets None."""

    def __init__(self) -> None:
        super().__init__(name="asyncio call", daemon=True)
        self.jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self) -> None:
        while job := self.jobs.get():
            job()
            del job  # and with it the call's objects, which it refers to


def _start_thread() -> _Thread:
    thread = _Thread()
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return thread


class _Worker(Generic[T]):
    """One call: runs in a worker thread, can be cancelled from another thread.

    It takes its runner from `idle`, if there is one, and returns it there.
    """

    def __init__(self, call: Callable[[], Awaitable[T]], idle: list[asyncio.Runner]) -> None:
        self._call = call
        self._idle = idle
        self._cancelled = False
        self._task: asyncio.Task[T] | None = None

    def run(self) -> T:
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = asyncio.Runner(loop_factory=_EventLoop)
        reusable = False
        try:
            loop = runner.get_loop()  # raises before a coroutine is created and never awaited
            result = runner.run(self._main())
            reusable = not (self._cancelled or asyncio.all_tasks(loop))
        finally:
            if reusable:
                self._idle.append(runner)
            else:
                runner.close()
        return result

    async def _main(self) -> T:
        self._task = asyncio.current_task()
        # cancel() sets the flag and then reads the task; this sets the task and then reads the
        # flag. So at least one of the two threads sees what the other has set.
        if self._cancelled:
            raise asyncio.CancelledError
        return await self._call()

    def cancel(self) -> None:
        self._cancelled = True
        if task := self._task:
            # If the task has just ended, its loop is closed (RuntimeError) or runs another call,
            # and cancelling a task that is done has no effect.
            with suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(_cancel_after, CANCEL_DELAY, task)


def _cancel_after(iterations: int, task: asyncio.Task[T]) -> None:
    if iterations:
        task.get_loop().call_soon(_cancel_after, iterations - 1, task)
    else:
        task.cancel()


class _EventLoop(asyncio.SelectorEventLoop):
    """An event loop that cleans up after itself when no descriptor was left to create it.

    asyncio's leaves its selector open, and fails again in `__del__`, which warns about a loop that
    is not closed; Python prints that to stderr, which is the log.
    """

    _initialized = False

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        try:
            super().__init__(selector)
        except OSError:
            selector.close()
            raise
        self._initialized = True

    def is_closed(self) -> bool:
        return not self._initialized or super().is_closed()
