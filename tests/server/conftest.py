"""What the server does in its accept loop, it does in a task too."""

import pytest

from livenessprobe.server.connection import Connection

BOTH_WAYS = {"test_server", "test_server_floods", "test_server_hostile", "test_fuzz_server"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the tests of the server run twice."""
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_WAYS:
        metafunc.parametrize("way", ["", "in_a_task"], indirect=True)


async def _not_now(_: Connection) -> None:
    pass


@pytest.fixture(autouse=True)  # pytest drops a fixture that only `parametrize` names
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let nothing be answered in the accept loop, if the test is to run so."""
    name: str = getattr(request, "param", "")
    if name:
        monkeypatch.setattr(Connection, "answer_now", _not_now)
    return name
