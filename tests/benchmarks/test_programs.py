"""What is compared: how it is named, started, and what it uses."""

import os
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import OURS, Program, Running, asks_by_itself, cpu, peer


def test_a_peer_has_a_name_and_a_command() -> None:
    assert peer("go=/a/program -v=5 'with space'") == Program(
        name="go", command=("/a/program", "-v=5", "with space")
    )


@pytest.mark.parametrize("text", ["", "go", "go=", "=/a/program", "here=/a", "floor=/a"])
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not NAME=COMMAND|is taken"):
        peer(text)


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
