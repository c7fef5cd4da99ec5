import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from livenessprobe.driver import Driver
from livenessprobe.driver.socket_file import SocketFile
from livenessprobe.health.errors import DriverError
from tests.csi_driver import CsiDriver
from tests.driver.peer import PATIENCE, until


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def nothing(path: Path) -> None:
    pass


def bind_again(path: Path) -> None:
    path.unlink()
    bind(path)


def lead_elsewhere(path: Path) -> None:
    other = path.with_name("other.sock")
    bind(other)
    path.unlink()
    path.symlink_to(other)


def change_mode_and_owner(path: Path) -> None:
    path.chmod(0o600)
    os.chown(path, os.getuid(), os.getgid())


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        assert sock.connect_ex(str(path)) != 0


CHANGES = [
    (bind, nothing, False),
    (bind, Path.unlink, False),
    (bind, bind_again, True),
    (bind, lead_elsewhere, True),
    (bind, change_mode_and_owner, False),
    (bind, connect, False),
    (nothing, nothing, False),
    (nothing, bind, True),
    (Path.touch, bind_again, True),
]


@pytest.mark.parametrize(("before", "then", "changed"), CHANGES)
def test_whether_there_is_another_file(
    csi_socket: Path,
    before: Callable[[Path], None],
    then: Callable[[Path], None],
    *,
    changed: bool,
) -> None:
    file = SocketFile(str(csi_socket))
    before(csi_socket)
    file.note()
    then(csi_socket)
    assert file.changed() is changed
    assert file.changed() is changed  # until it is noted again
    file.note()
    assert file.changed() is False


def test_each_new_socket_is_another_one(csi_socket: Path) -> None:
    """A file system may give the same inode number each time."""
    file = SocketFile(str(csi_socket))
    bind(csi_socket)
    for _ in range(20):
        file.note()
        before = csi_socket.stat().st_mtime_ns
        while csi_socket.stat().st_mtime_ns == before:  # the kernel's clock for files is coarse
            bind_again(csi_socket)
        assert file.changed()


def test_nothing_has_changed_before_it_was_noted(csi_socket: Path) -> None:
    file = SocketFile(str(csi_socket))
    bind(csi_socket)
    assert not file.changed()


async def test_a_probe_notes_the_socket_even_if_it_fails(csi_socket: Path, driver: Driver) -> None:
    assert not await driver.socket_changed()
    with pytest.raises(DriverError):
        await driver.probe(PATIENCE)
    assert not await driver.socket_changed()
    for _ in range(2):
        with CsiDriver(csi_socket):
            assert await driver.socket_changed()
            await driver.probe(PATIENCE)
            assert not await driver.socket_changed()
        assert not await driver.socket_changed()  # gone


async def test_asking_for_the_name_notes_nothing(csi_socket: Path, driver: Driver) -> None:
    with pytest.raises(DriverError):
        await driver.probe(PATIENCE)
    with CsiDriver(csi_socket):
        await driver.get_name(PATIENCE)
        assert await driver.socket_changed()


async def test_a_bug_in_a_look_is_none_of_the_file_systems(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: SocketFile) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(SocketFile, "changed", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        await driver.socket_changed()


async def test_a_file_system_that_hangs_holds_up_nothing_else(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(SocketFile, "changed", lambda _: answers.wait())
    with trio.move_on_after(0.1) as scope:
        await driver.socket_changed()
    answers.set()
    assert scope.cancelled_caught


async def test_threads_that_are_abandoned_in_a_file_system_do_not_pile_up(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    looks = 0

    def look(_: SocketFile) -> bool:
        nonlocal looks
        looks += 1
        return answers.wait()

    monkeypatch.setattr(SocketFile, "changed", look)
    for _ in range(3):
        with trio.move_on_after(0.05) as scope:
            await driver.socket_changed()
        assert scope.cancelled_caught
    await until(lambda: looks == 1)  # the thread begins when it is its turn
    answers.set()
    with trio.fail_after(PATIENCE):
        assert await driver.socket_changed()
    assert looks == 2


def test_a_file_that_only_the_next_probe_has_found_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "csi.sock"
    bind(path)
    file = SocketFile(str(path))
    file.note()
    bind_again(path)
    file.note()
    assert file.changed()
    assert not file.changed()
