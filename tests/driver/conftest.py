import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from livenessprobe.driver import Driver
from livenessprobe.driver.asyncio_thread import AsyncioThread


@pytest.fixture
async def driver(csi_socket: Path) -> AsyncIterator[Driver]:
    with closing(Driver(str(csi_socket))) as driver:
        yield driver


@pytest.fixture
def asyncio_thread() -> Iterator[AsyncioThread]:
    with closing(AsyncioThread()) as asyncio_thread:
        yield asyncio_thread


@pytest.fixture(autouse=True)
def _quiet_asyncio(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio logs what nobody has caught."""
    yield
    records = caplog.get_records("call")
    assert [
        r.getMessage() for r in records if r.name == "asyncio" and r.levelno > logging.INFO
    ] == []
