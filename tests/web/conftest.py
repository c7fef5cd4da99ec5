"""What the server does, it does both ways."""

import pytest

from livenessprobe.web import plain

BOTH_WAYS = {"test_server", "test_server_floods", "test_server_hostile", "test_fuzz_server"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the tests of the server run twice."""
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_WAYS:
        metafunc.fixturenames.append("way")
        metafunc.parametrize("way", ["", "hypercorn_alone"], indirect=True)


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hypercorn answer even what is plain, if the test is to run so."""
    if request.param:
        monkeypatch.setattr(plain, "answer", lambda *_: None)
