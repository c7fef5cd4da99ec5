import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet_asyncio(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio logs what nobody has caught."""
    yield
    records = caplog.get_records("call")
    assert [
        r.getMessage() for r in records if r.name == "asyncio" and r.levelno > logging.INFO
    ] == []
