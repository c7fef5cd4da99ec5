import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest
import trio

from livenessprobe.driver.asyncio_thread import CANCEL_DELAY, AsyncioThread, _Call
from tests.driver.peer import leaving_nothing, until


class Call:
    """A coroutine function that tells trio when it has begun, and remembers that it has ended."""

    def __init__(self, body: Callable[[], Awaitable[int]]) -> None:
        self.begun = trio.Event()
        self.ended = False
        self._body = body
        self._token = trio.lowlevel.current_trio_token()

    async def __call__(self) -> int:
        self._token.run_sync_soon(self.begun.set)
        try:
            return await self._body()
        finally:
            self.ended = True

    async def cancel_when_begun(self, scope: trio.CancelScope) -> None:
        await self.begun.wait()
        assert not self.ended
        scope.cancel()


async def answer() -> int:
    return 42


async def wait_for_ever() -> int:
    await asyncio.Event().wait()
    return 42


async def clean_up_slowly() -> int:
    try:
        return await wait_for_ever()
    finally:
        await asyncio.sleep(0.05)


async def refuse_the_cancel() -> int:
    try:
        return await wait_for_ever()
    except asyncio.CancelledError:
        await asyncio.sleep(0.05)
        return 43


async def fail_when_cancelled() -> int:
    try:
        return await wait_for_ever()
    except asyncio.CancelledError:
        raise KeyError("a bug") from None


async def where() -> tuple[threading.Thread, asyncio.AbstractEventLoop]:
    return threading.current_thread(), asyncio.get_running_loop()


async def test_the_result_is_returned() -> None:
    async with leaving_nothing():
        with closing(AsyncioThread()) as asyncio_thread:
            assert await asyncio_thread.run(answer) == 42


async def test_the_exception_comes_as_it_is_in_no_group(asyncio_thread: AsyncioThread) -> None:
    error = KeyError("a bug")

    async def fail() -> None:
        raise error

    async with leaving_nothing():
        with pytest.raises(KeyError) as caught:
            await asyncio_thread.run(fail)
    assert caught.value is error


async def test_a_cancel_that_nobody_asked_for_comes_as_it_is(asyncio_thread: AsyncioThread) -> None:
    async def cancel_itself() -> None:
        raise asyncio.CancelledError("why?")

    with pytest.raises(asyncio.CancelledError, match="why"):
        await asyncio_thread.run(cancel_itself)


async def test_the_loop_runs_in_another_thread(asyncio_thread: AsyncioThread) -> None:
    thread, _ = await asyncio_thread.run(where)
    assert thread is not threading.current_thread()


async def test_a_loop_and_its_thread_are_there_for_the_next_call_until_they_are_closed(
    asyncio_thread: AsyncioThread,
) -> None:
    thread, loop = await asyncio_thread.run(where)
    assert await asyncio_thread.run(where) == (thread, loop)
    assert thread.is_alive()
    assert not loop.is_closed()
    asyncio_thread.close()
    assert not thread.is_alive()
    assert loop.is_closed()
    assert await asyncio_thread.run(where) != (thread, loop)


async def test_a_thread_is_there_for_the_next_call_if_one_fails(
    asyncio_thread: AsyncioThread,
) -> None:
    async def fail() -> None:
        raise KeyError(threading.current_thread())

    with pytest.raises(KeyError) as caught:
        await asyncio_thread.run(fail)
    thread, _ = await asyncio_thread.run(where)
    assert caught.value.args == (thread,)


async def test_one_call_follows_the_other(
    asyncio_thread: AsyncioThread, nursery: trio.Nursery
) -> None:
    first, second = Call(wait_for_ever), Call(answer)
    async with trio.open_nursery() as cancelled:
        cancelled.start_soon(asyncio_thread.run, first)
        await first.begun.wait()
        nursery.start_soon(asyncio_thread.run, second)
        await trio.testing.wait_all_tasks_blocked()
        assert not second.ended
        cancelled.cancel_scope.cancel()
    await second.begun.wait()


async def test_a_loop_with_a_task_left_behind_is_for_no_other_call(
    asyncio_thread: AsyncioThread,
) -> None:
    async def forget_a_task() -> asyncio.AbstractEventLoop:
        tasks.append(asyncio.create_task(wait_for_ever()))
        return asyncio.get_running_loop()

    tasks: list[asyncio.Task[int]] = []
    assert (await asyncio_thread.run(forget_a_task)).is_closed()
    assert [task.cancelled() for task in tasks] == [True]
    assert await asyncio_thread.run(answer) == 42


@pytest.mark.parametrize("body", [wait_for_ever, clean_up_slowly])
async def test_a_cancelled_call_has_ended(
    asyncio_thread: AsyncioThread, nursery: trio.Nursery, body: Callable[[], Awaitable[int]]
) -> None:
    call = Call(body)
    async with leaving_nothing():
        with trio.CancelScope() as scope:
            nursery.start_soon(call.cancel_when_begun, scope)
            await asyncio_thread.run(call)
        assert scope.cancelled_caught
        assert call.ended


async def test_what_has_arrived_counts_before_a_cancel(
    asyncio_thread: AsyncioThread, nursery: trio.Nursery
) -> None:
    """As after a halt of this program: the thread goes on only when all of it has happened."""
    ours, theirs = socket.socketpair()
    halted, go_on = threading.Event(), threading.Event()

    def halt() -> None:
        halted.set()
        go_on.wait()

    async def read_and_close() -> int:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        asyncio.get_running_loop().call_soon(halt)
        answer = await reader.readexactly(2)
        writer.close()
        await writer.wait_closed()
        return int(answer)

    async def answer_too_late(scope: trio.CancelScope) -> None:
        await until(halted.is_set)
        theirs.send(b"42")
        scope.cancel()
        go_on.set()

    with theirs, trio.CancelScope() as scope:
        nursery.start_soon(answer_too_late, scope)
        assert await asyncio_thread.run(read_and_close) == 42
    assert not scope.cancelled_caught


async def test_a_cancel_goes_to_the_scope_that_asked_for_it(
    asyncio_thread: AsyncioThread, nursery: trio.Nursery
) -> None:
    call = Call(wait_for_ever)
    with trio.CancelScope() as outer:
        nursery.start_soon(call.cancel_when_begun, outer)
        with trio.CancelScope() as inner:
            await asyncio_thread.run(call)
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


async def test_a_result_in_spite_of_a_cancel_counts(
    asyncio_thread: AsyncioThread, nursery: trio.Nursery
) -> None:
    call = Call(refuse_the_cancel)
    with trio.CancelScope() as scope:
        nursery.start_soon(call.cancel_when_begun, scope)
        async with leaving_nothing():  # though it has a result, its loop was in doubt
            assert await asyncio_thread.run(call) == 43
    assert not scope.cancelled_caught


async def test_so_does_an_exception(asyncio_thread: AsyncioThread, nursery: trio.Nursery) -> None:
    call = Call(fail_when_cancelled)
    with trio.CancelScope() as scope:
        nursery.start_soon(call.cancel_when_begun, scope)
        with pytest.raises(KeyError, match="a bug"):
            await asyncio_thread.run(call)


async def test_a_cancelled_scope_starts_nothing(asyncio_thread: AsyncioThread) -> None:
    call = Call(answer)
    with trio.CancelScope() as scope:
        scope.cancel()
        await asyncio_thread.run(call)
    assert scope.cancelled_caught
    assert not call.ended


async def test_a_cancel_before_the_loop_runs_prevents_the_call() -> None:
    function = Call(answer)
    call = _Call(function, lambda _: None)
    call.cancel()
    with asyncio.Runner() as runner, pytest.raises(asyncio.CancelledError):
        call.run(runner)
    assert not function.ended
    assert call.spoils_loop


async def test_a_cancel_after_the_call_does_nothing_to_the_next() -> None:
    async def outlast_a_cancel() -> int:
        for _ in range(2 * CANCEL_DELAY):
            await asyncio.sleep(0)
        return 43

    def run(runner: asyncio.Runner) -> None:
        assert call.run(runner) == 42
        assert not call.spoils_loop
        call.cancel()
        assert _Call(outlast_a_cancel, lambda _: None).run(runner) == 43

    call = _Call(answer, lambda _: None)
    with asyncio.Runner() as runner:
        await trio.to_thread.run_sync(run, runner)
    call.cancel()


async def test_a_cancel_at_any_moment_ends_the_call_one_way_or_the_other() -> None:
    ends = set()
    async with leaving_nothing():
        with closing(AsyncioThread()) as asyncio_thread:
            for step in range(200):
                with trio.move_on_after(step * 5e-6) as scope:
                    assert await asyncio_thread.run(answer) == 42
                ends.add(scope.cancelled_caught)
    assert True in ends
