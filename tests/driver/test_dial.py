import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from livenessprobe.driver import asyncio_thread
from livenessprobe.driver.dial import _reason, dial
from livenessprobe.errors import DriverUnreachableError
from tests.driver import deprived
from tests.driver.peer import PATIENCE, leaving_nothing

NO_FILE = "no such file: no driver has made this socket, or its directory is not mounted"
REFUSED = "connection refused: no driver listens on this socket"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "csi.sock"


def nothing(path: Path) -> Path:
    return path


def dangling_link(path: Path) -> Path:
    path.symlink_to("gone")
    return path


def link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def left_behind(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
    return path


def regular_file(path: Path) -> Path:
    path.touch()
    return path


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def below_a_file(path: Path) -> Path:
    path.touch()
    return path / "csi.sock"


def too_long(path: Path) -> Path:
    return path / ("x" * 108)


UNREACHABLE = [
    (nothing, NO_FILE),
    (dangling_link, NO_FILE),
    (link_to_itself, "Too many levels of symbolic links"),
    (left_behind, REFUSED),
    (regular_file, "not a socket"),
    (directory, "not a socket"),
    (fifo, "not a socket"),
    (below_a_file, "Not a directory"),
    (too_long, "AF_UNIX path too long"),
]


async def reason_for(path: Path) -> str:
    async with leaving_nothing():
        with pytest.raises(DriverUnreachableError) as caught:
            await asyncio_thread.run(partial(dial, str(path)))
    assert caught.value.grpc_status is None
    name, reason = str(caught.value).split(": ", 1)
    assert name == str(path)
    return reason


@pytest.mark.parametrize(("make", "reason"), UNREACHABLE)
async def test_unreachable(path: Path, make: Callable[[Path], Path], reason: str) -> None:
    assert await reason_for(make(path)) == reason


async def test_bound_but_not_listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        assert await reason_for(path) == REFUSED


async def test_a_socket_of_another_type(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        assert await reason_for(path) == "Protocol wrong type for socket"


def test_a_socket_that_went_away_meanwhile_is_still_refused(path: Path) -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert _reason(str(path), refused) == REFUSED


def test_without_permission(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        path.chmod(0)
        user = os.geteuid() or deprived.NOBODY
        assert deprived.run("rights", path).stdout == (
            f"DriverUnreachableError: {path}: "
            f"permission denied for uid {user}, gid {os.getegid()}\n"
        )


@pytest.fixture
def full(path: Path) -> Iterator[socket.socket]:
    """A listening socket whose queue of connections has no room."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        result = 0
        while not result:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            result = client.connect_ex(str(path))
        assert result == errno.EAGAIN
        yield listener


def test_dial_waits_for_room_in_the_queue(full: socket.socket) -> None:
    async def main() -> None:
        task = asyncio.create_task(dial(full.getsockname()))
        _, waiting = await asyncio.wait([task], timeout=0.1)
        assert waiting
        with full.accept()[0], await asyncio.wait_for(task, PATIENCE) as dialled:
            assert dialled.getpeername() == full.getsockname()

    asyncio.run(main())


async def test_a_dial_that_waits_can_be_cancelled(full: socket.socket) -> None:
    async with leaving_nothing():
        with pytest.raises(TimeoutError):
            await asyncio_thread.run(
                partial(asyncio.wait_for, dial(full.getsockname()), timeout=0.1)
            )
