"""Runs an asyncio coroutine from trio, in a worker thread with an event loop of its own.

A trio cancellation is passed on to the asyncio task, and `run` returns or raises only after that
task has ended. So the caller's cancel scope bounds everything that the coroutine opens.

    trio task                          worker thread
    ---------                          -------------
    calls.put          ------------->  asyncio.Runner.run(coroutine)
    wait_task_rescheduled                |
      cancelled: abort() ------------->  CANCEL_DELAY iterations of the event loop
                                         task.cancel(): unwinds, closes its sockets
    reschedule         <-------------  deliver(outcome)

The delay is for a process that was stopped or starved until after its deadline: a reply that is
already in the socket's buffer is read before the task is cancelled, and counts.

Thread and event loop are kept for the next call, idle. To create and close a loop takes a tenth of
a call's CPU time and three descriptors, which may be missing the next time; a thread takes a fifth,
and those of `trio.to_thread` end after ten seconds, which is how long a kubelet waits between two
requests by default. A loop is closed after a call that was cancelled, raised something or left a
task behind.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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


class AsyncioThread:
    """A worker thread with an event loop, for one call after the other. The owner closes it."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `await function()`, run by asyncio in the thread.

        Raises what it raises, and OSError if the system has no thread or descriptor left. If
        cancelled, raises `trio.Cancelled` after the coroutine has ended; if the coroutine ends
        with a result or an error of its own, that is returned or raised instead.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()

        def deliver(result: outcome.Outcome[T]) -> None:
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        call = _Call(function, deliver)

        def abort(_: object) -> trio.lowlevel.Abort:
            call.cancel()
            return trio.lowlevel.Abort.FAILED  # the thread still runs: deliver() ends the wait

        if self._thread is None:
            self._thread = self._start()
        self._calls.put(call)
        try:
            return await trio.lowlevel.wait_task_rescheduled(abort)  # type: ignore[no-any-return] # trio says Any
        except asyncio.CancelledError:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise  # the coroutine cancelled itself

    def close(self) -> None:
        """Close the loop and end the thread. No call may be in flight; a later one starts anew."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name="asyncio calls", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from error
        return thread

    def _work(self) -> None:
        runner = asyncio.Runner(loop_factory=_EventLoop)
        while call := self._calls.get():
            result = outcome.capture(call.run, runner)
            if call.spoils_loop:
                runner.close()
                runner = asyncio.Runner(loop_factory=_EventLoop)
            call.deliver(result)
            del call, result  # and what they refer to
        runner.close()


class _Call(Generic[T]):
    """One call: runs in the worker thread, can be cancelled from another thread."""

    def __init__(
        self, function: Callable[[], Awaitable[T]], deliver: Callable[[outcome.Outcome[T]], None]
    ) -> None:
        self.deliver = deliver
        self.spoils_loop = True
        """Whether the loop it ran in is for no other call."""
        self._function = function
        self._cancelled = False
        self._task: asyncio.Task[T] | None = None

    def run(self, runner: asyncio.Runner) -> T:
        loop = runner.get_loop()  # raises before a coroutine is created and never awaited
        result = runner.run(self._main())
        self.spoils_loop = self._cancelled or bool(asyncio.all_tasks(loop))
        return result

    async def _main(self) -> T:
        self._task = asyncio.current_task()
        # cancel() sets the flag and then reads the task; this sets the task and then reads the
        # flag. So at least one of the two threads sees what the other has set.
        if self._cancelled:
            raise asyncio.CancelledError
        return await self._function()

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
