import asyncio
import errno
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from livenessprobe.driver import Driver
from livenessprobe.driver.dial import _mode_allows, _reason, dial, own_failure
from livenessprobe.health.errors import DriverUnreachableError
from livenessprobe.probing.deadline import call_within
from tests.csi_driver import CsiDriver
from tests.driver import deprived
from tests.driver.peer import PATIENCE, VALID, answer, leaving_nothing, listening

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


def link_to_a_device(path: Path) -> Path:
    path.symlink_to("/dev/null")
    return path


def below_nothing(path: Path) -> Path:
    return path / "csi.sock"


def below_a_dangling_link(path: Path) -> Path:
    path.symlink_to("gone")
    return path / "csi.sock"


def below_a_file(path: Path) -> Path:
    path.touch()
    return path / "csi.sock"


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


UNREACHABLE = [
    (nothing, "no such file: .* {directory}.*"),
    (dangling_link, "no such file: the link {path} leads to gone, which is not there"),
    (link_to_itself, "Too many levels of symbolic links"),
    (left_behind, REFUSED),
    (regular_file, "not a socket but a file"),
    (directory, "not a socket but a directory"),
    (fifo, "not a socket but a fifo"),
    (link_to_a_device, "not a socket but a device"),
    (
        below_a_dangling_link,
        "no such file: the link {directory} leads to gone, which is not there",
    ),
    (
        below_nothing,
        "no such directory: {directory}, where the driver's volume should be mounted",
    ),
    (below_a_file, "Not a directory"),
]


async def reason_for(driver: Driver, path: Path) -> str:
    """Return why a Probe cannot reach the driver, without the path that it begins with."""
    async with leaving_nothing():
        with pytest.raises(DriverUnreachableError) as caught:
            await call_within(PATIENCE, driver.probe)
    assert caught.value.grpc_status is None
    name, reason = str(caught.value).split(": ", 1)
    assert name == str(path)
    return reason


@pytest.mark.parametrize(("make", "reason"), UNREACHABLE)
async def test_a_socket_in_whose_place_is_something_else_until_it_is_back(
    path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    socket_path = make(path)
    with closing(Driver(str(socket_path))) as driver:
        told = await reason_for(driver, socket_path)
        assert re.fullmatch(reason.format(path=socket_path, directory=socket_path.parent), told)
        remove(path)
        socket_path.parent.mkdir(exist_ok=True)
        async with listening(socket_path, answer(VALID)):
            assert await call_within(PATIENCE, driver.probe)


async def test_whether_the_directory_is_a_volume() -> None:
    for socket_path, reason in [
        ("/proc/csi.sock", "the driver has made no socket of this name in /proc"),
        ("/csi.sock", "there is no socket of this name in /, which is not a mounted volume"),
    ]:
        told = await reason_for(Driver(socket_path), Path(socket_path))
        assert told == f"no such file: {reason}"


async def test_a_path_too_long_for_the_kernel(path: Path) -> None:
    socket_path = path / ("x" * 108)
    assert await reason_for(Driver(str(socket_path)), socket_path) == "AF_UNIX path too long"


async def test_bound_but_not_listening(path: Path, driver: Driver) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        assert await reason_for(driver, path) == REFUSED


async def test_a_socket_of_another_type(path: Path, driver: Driver) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        assert await reason_for(driver, path) == "not a stream socket, which gRPC needs"


def test_what_went_away_meanwhile_has_the_kernels_reason(path: Path) -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert _reason(str(path), refused) == "Connection refused"


def test_what_owner_and_mode_allow_is_forbidden_by_something_else(path: Path) -> None:
    """The kernel's answer stands in for a security module, which a test cannot load."""
    left_behind(path)
    path.chmod(0o700)
    denied = PermissionError(errno.EACCES, "Permission denied")
    owner = f"uid {os.getuid()}, gid {os.getgid()}"
    assert _reason(str(path), denied) == (
        f"permission denied for uid {os.geteuid()}, gid {os.getegid()}: {path} belongs to {owner} "
        "and has mode 0700, which allows it: a security module such as SELinux or AppArmor, or an "
        "access control list, forbids it"
    )


OURS, OTHERS = (os.geteuid(), os.getegid()), (os.geteuid() + 1, os.getegid() + 1)


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "wanted", "allowed"),
    [
        (0o200, OURS[0], OTHERS[1], os.W_OK, True),
        (0o577, OURS[0], OURS[1], os.W_OK, False),  # the owner's rights, no others
        (0o020, OTHERS[0], OURS[1], os.W_OK, True),
        (0o757, OTHERS[0], OURS[1], os.W_OK, False),
        (0o002, OTHERS[0], OTHERS[1], os.W_OK, True),
        (0o775, OTHERS[0], OTHERS[1], os.W_OK, False),
        (0o711, OTHERS[0], OTHERS[1], os.X_OK, True),
        (0o776, OTHERS[0], OTHERS[1], os.X_OK, False),
    ],
)
def test_what_a_mode_allows(mode: int, uid: int, gid: int, wanted: int, *, allowed: bool) -> None:
    status = os.stat_result((stat.S_IFSOCK | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))
    assert _mode_allows(status, wanted) is allowed


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.EMFILE, "has no descriptor, thread or memory left: Too many open files"),
        (errno.EPERM, "may not open a socket: Operation not permitted"),
    ],
)
def test_why_the_driver_was_not_asked(error: int, reason: str) -> None:
    assert str(own_failure("/csi.sock", OSError(error, os.strerror(error)))) == (
        f"/csi.sock: the driver was not asked, livenessprobe itself {reason}"
    )


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can search, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def the_socket(socket_path: Path) -> tuple[Path, Path]:
    return socket_path, socket_path


def its_directory(socket_path: Path) -> tuple[Path, Path]:
    return socket_path, socket_path.parent


def where_a_link_leads(socket_path: Path) -> tuple[Path, Path]:
    link = socket_path.parent.with_name("link.sock")
    link.symlink_to(socket_path)
    return link, socket_path.parent


@pytest.mark.parametrize("make", [the_socket, its_directory, where_a_link_leads])
def test_what_may_not_be_entered(public: Path, make: Callable[[Path], tuple[Path, Path]]) -> None:
    directory = public / "csi"
    directory.mkdir()
    socket_path = directory / "csi.sock"
    with CsiDriver(socket_path):
        socket_path.chmod(0o777)
        path, place = make(socket_path)
        mode = stat.S_IMODE(place.stat().st_mode)
        place.chmod(0o600 if os.geteuid() == 0 else 0)
        shown = f"{place} belongs to uid {os.getuid()}, gid {os.getgid()} and has mode"
        told = deprived.run("rights", path).stdout
        place.chmod(mode)
        assert re.fullmatch(
            f"DriverUnreachableError: {path}: permission denied for uid "
            rf"{os.geteuid() or deprived.NOBODY}, gid {os.getegid()}: {shown} 0[06]00\n",
            told,
        )
        assert deprived.run("rights", path).stdout == "answered\n"


READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && echo mounted || exit
touch "$1/file" 2> /dev/null || exec "$2" "$3" nothing "$1/csi.sock"
"""


def test_a_read_only_file_system(csi_driver: CsiDriver, path: Path) -> None:
    """In a namespace of its own."""
    run = ["unshare", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "-"]
    program = [sys.executable, deprived.__file__]
    done = subprocess.run(  # noqa: S603 - ours
        [*run, path.parent, *program], check=False, capture_output=True, text=True
    )
    if not done.stdout:
        pytest.skip(f"nothing may be mounted here: {done.stderr}")
    assert (done.stdout, done.stderr) == ("mounted\nanswered\n", "")


VOLUME = """
mount --bind "$1" "$1" && echo mounted && exec "$2" "$3" nothing "$1/csi.sock"
"""


@pytest.mark.parametrize("name", ["volume", "a b\\c\td\ne", "\udcff"])
def test_a_volume_of_the_same_file_system(tmp_path: Path, name: str) -> None:
    """In a namespace of its own."""
    volume = tmp_path / name
    volume.mkdir()
    run = ["unshare", "--map-root-user", "--mount", "sh", "-c", VOLUME, "-"]
    program = [sys.executable, deprived.__file__]
    done = subprocess.run(  # noqa: S603 - ours
        [*run, volume, *program],
        check=False,
        capture_output=True,
        text=True,
        errors="surrogateescape",
    )
    if not done.stdout:
        pytest.skip(f"nothing may be mounted here: {done.stderr}")
    assert "the driver has made no socket of this name" in done.stdout


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


async def test_a_driver_that_does_not_accept_until_it_does(
    full: socket.socket, path: Path, driver: Driver
) -> None:
    async with leaving_nothing():
        with pytest.raises(DriverUnreachableError) as caught:
            await call_within(0.1, driver.probe)
    assert str(caught.value) == (
        f"{path}: context deadline exceeded: the driver does not accept connections and its "
        "queue of them is full, so it hangs or has more clients than it can serve"
    )
    remove(path)
    async with listening(path, answer(VALID)):
        assert await call_within(PATIENCE, driver.probe)
