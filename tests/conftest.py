from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.csi_driver import CsiDriver


@pytest.fixture
def csi_socket(tmp_path: Path) -> Path:
    return tmp_path / "csi.sock"


@pytest.fixture
def csi_driver(csi_socket: Path) -> Iterator[CsiDriver]:
    with CsiDriver(csi_socket) as driver:
        yield driver
