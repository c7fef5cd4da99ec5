from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from tests.e2e.harness import DriverProcess
from tests.image.build import build
from tests.image.container import LOCKED, Container
from tests.image.packages import mounted


class StartContainer(Protocol):
    def __call__(
        self, *flags: str, options: tuple[str, ...] = (), listeners: int = 1
    ) -> Container: ...


@pytest.fixture(scope="session", autouse=True)
def _image() -> None:
    build()


@pytest.fixture(scope="session")
def root(_image: None) -> Iterator[Path]:
    """Where the image's files can be looked at."""
    with mounted() as root:
        yield root


@pytest.fixture
def csi_socket(tmp_path: Path) -> Path:
    """In a directory of its own, to be mounted as a volume."""
    directory = tmp_path / "csi"
    directory.mkdir()
    return directory / "csi.sock"


@pytest.fixture
def driver(csi_socket: Path) -> Iterator[DriverProcess]:
    with DriverProcess(csi_socket) as driver:
        yield driver


@pytest.fixture
def start_container(csi_socket: Path, tmp_path: Path) -> Iterator[StartContainer]:
    """Start the image with the socket's directory as /csi; it has to stop cleanly in the end."""
    numbers = count()
    volume = f"--volume={csi_socket.parent}:/csi:ro"
    with ExitStack() as stack:

        def start(*flags: str, options: tuple[str, ...] = (), listeners: int = 1) -> Container:
            log = tmp_path / f"container-{next(numbers)}.log"
            container = Container(*flags, log=log, options=(*LOCKED, volume, *options))
            stack.enter_context(container)
            container.wait_for_listeners(listeners)
            return container

        yield start
