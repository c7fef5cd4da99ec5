"""Checks the demo of `make run`, with modes typed into its process."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import TIMEOUT, Address, ask, wait_until


class Demo:
    """The demo, with the sidecar's listener on a free port."""

    def __init__(self, tmp_path: Path) -> None:
        self._log = tmp_path / "demo.log"
        flags = ("--http-endpoint=127.0.0.1:0", "--probe-interval=100ms")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "livenessprobe.demo", *flags, "--probe-timeout=500ms"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                bufsize=1,
                start_new_session=True,  # a terminal sends signals to the whole group
                env=os.environ | {"TMPDIR": str(tmp_path)},
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def address(self) -> Address:
        ports = wait_until(lambda: re.findall(r'address="127\.0\.0\.1:(\d+)"', self.log))
        return Address("127.0.0.1", int(ports[0]))

    def type(self, mode: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{mode}\n")

    def wait_for(self, body: str) -> None:
        wait_until(lambda: body in ask(self.address).body)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    demo.process.terminate()  # it terminates the sidecar, which would outlive a kill
    demo.process.communicate(timeout=TIMEOUT)


def test_every_mode_has_its_answer(demo: Demo) -> None:
    demo.wait_for("ok")
    for mode, body in [
        ("starting", "driver responded but is not ready"),
        ("failing", "desc = the storage backend is on fire"),
        ("hanging", "code = DeadlineExceeded"),
        ("gone", "no such file"),
        ("ready", "ok"),
    ]:
        demo.type(mode)
        demo.wait_for(body)


def test_a_mode_is_confirmed_in_any_case_and_an_empty_line_ignored(demo: Demo) -> None:
    demo.wait_for("ok")
    demo.type("")
    demo.type("Failing")
    wait_until(lambda: "The driver is failing now." in demo.log)
    assert "is not one of" not in demo.log


def test_an_unknown_mode_is_answered_with_the_list_of_modes(demo: Demo) -> None:
    demo.wait_for("ok")
    demo.type("angry")
    wait_until(lambda: "'angry' is not one of ready, starting, failing" in demo.log)


@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)]
)
def test_ctrl_c_ends_both_and_so_does_a_signal_to_the_demo(
    demo: Demo, send: Callable[[int, int], None], number: signal.Signals, tmp_path: Path
) -> None:
    demo.wait_for("ok")
    demo.type("hanging")
    send(demo.process.pid, number)
    assert demo.process.wait(TIMEOUT) == 0
    assert "Traceback" not in demo.log
    assert [path.name for path in tmp_path.iterdir()] == ["demo.log"]


def test_the_demo_ends_if_the_sidecar_cannot_start(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "livenessprobe.demo", "--http-endpoint=nonsense"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    assert ended.returncode == 1
    assert "listen tcp: address nonsense: want host:port" in ended.stderr
