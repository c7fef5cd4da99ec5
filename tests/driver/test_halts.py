"""A driver that is stopped, and this program being stopped itself, both as real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from livenessprobe.driver import Driver
from livenessprobe.driver.client import DEADLINE_GRACE
from livenessprobe.health.errors import DeadlineExceededError
from livenessprobe.probing.deadline import call_within
from tests import csi_driver
from tests.driver import deprived
from tests.driver.peer import (
    PATIENCE,
    VALID,
    leaving_nothing,
    listening,
    read_request,
    until,
    until_closed,
)


@contextmanager
def running(program: str | None, *args: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(program), *map(str, args)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - ours
        try:
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


async def test_a_stopped_driver_until_it_is_continued(csi_socket: Path) -> None:
    with running(csi_driver.__file__, csi_socket) as process:
        assert process.stdout is not None
        assert await trio.to_thread.run_sync(process.stdout.readline) == "listening\n"
        for _ in range(3):
            async with leaving_nothing():
                with closing(Driver(str(csi_socket))) as driver:
                    assert await call_within(PATIENCE, driver.probe)
                    stop(process)
                    with pytest.raises(DeadlineExceededError, match="context deadline exceeded"):
                        await call_within(0.2, driver.probe)
                    process.send_signal(signal.SIGCONT)
                    assert await call_within(PATIENCE, driver.probe)


async def test_an_answer_counts_that_came_while_this_program_was_stopped(csi_socket: Path) -> None:
    """The deadline is over when it goes on, and what it was waiting for is there."""
    asked = 0
    stopped = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        nonlocal asked
        await read_request(stream)
        asked += 1
        await stopped.wait()
        await stream.send_all(VALID)
        await until_closed(stream)

    async with listening(csi_socket, script):
        with running(deprived.__file__, "time", csi_socket) as process:
            await until(lambda: asked == deprived.CALLS)
            stop(process)
            stopped.set()
            await trio.sleep(deprived.DEADLINE + DEADLINE_GRACE)  # over on either side
            process.send_signal(signal.SIGCONT)
            output, _ = await trio.to_thread.run_sync(process.communicate)
    assert output == "answered\n" * deprived.CALLS
