from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.csi_driver import CsiDriver

# How long an example takes depends on who else is on the machine.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")


@pytest.fixture
def csi_socket(tmp_path: Path) -> Path:
    return tmp_path / "csi.sock"


@pytest.fixture
def csi_driver(csi_socket: Path) -> Iterator[CsiDriver]:
    with CsiDriver(csi_socket) as driver:
        yield driver


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in captured logs: xdist's workers send their reports as UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report
