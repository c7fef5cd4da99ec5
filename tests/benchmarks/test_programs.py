"""What is compared: how it is named, started, and what it uses."""

import os
import struct
import sys
import time
from importlib.util import cache_from_source
from pathlib import Path

import pytest

import livenessprobe.demo
from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import (
    OURS,
    Program,
    Running,
    asks_by_itself,
    compile_ours,
    cpu,
    peer,
)


def test_a_peer_has_a_name_and_a_command() -> None:
    assert peer("go=/a/program -v=5 'with space'") == Program(
        name="go", command=("/a/program", "-v=5", "with space")
    )


@pytest.mark.parametrize("text", ["", "go", "go=", "=/a/program", "here=/a", "floor=/a"])
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not NAME=COMMAND|is taken"):
        peer(text)


def test_ours_has_its_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source = Path(livenessprobe.demo.__file__)
    bytecode = Path(cache_from_source(str(source)))
    bytecode.unlink(missing_ok=True)
    compile_ours()
    # Word 2 of its header is the source's time, by which Python knows whether it holds.
    (seconds,) = struct.unpack_from("<I", bytecode.read_bytes(), offset=8)
    assert seconds == int(source.stat().st_mtime)


def test_ours_can_ask_by_itself() -> None:
    assert asks_by_itself(OURS)
    assert not asks_by_itself(Program(name="", command=(sys.executable, "-c", "0")))


def test_a_program_that_ends_says_why(csi_socket: Path) -> None:
    failing = Program(name="failing", command=(sys.executable, "-c", "exit('because')"))
    with (
        Running(failing, csi_socket) as running,
        pytest.raises(RuntimeError, match="failing has ended: because"),
    ):
        running.wait_for_first()


def test_ours_becomes_healthy_and_unhealthy(csi_socket: Path) -> None:
    with Driver(csi_socket) as driver, Running(OURS, csi_socket) as running:
        running.wait_for_first()
        assert driver.count() == 1
        driver.kill()
        running.wait_for(500)


def test_cpu_is_that_of_the_process_and_all_its_threads() -> None:
    before, before_here = cpu(os.getpid()), time.process_time()
    sum(range(100_000))
    assert cpu(os.getpid()) - before == pytest.approx(time.process_time() - before_here, abs=0.01)
    assert cpu(os.getpid()) > before
