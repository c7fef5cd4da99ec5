"""Checks the installed `livenessprobe check`, as an exec probe or a person runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.csi_driver import DRIVER_NAME
from tests.e2e.harness import COMMAND, TIMEOUT, DriverProcess, run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

# Long enough for a healthy driver on a busy machine; a driver that replies does not need it.
LONG = "--probe-timeout=10s"
SHORT = "--probe-timeout=300ms"


def check(socket: Path, *flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run("check", f"--csi-address={socket}", *flags, env=env)


MS = r"[0-9]+\.[0-9] ms"
RPC = "rpc error: code ="
AT = rf"after {MS}: {re.escape(DRIVER_NAME)} at \S+/csi\.sock"

# What Probe and GetPluginInfo do, and the flag; then the exit code, a regular expression for each
# line of text, and some fields of the JSON object.
DRIVERS: list[tuple[str, str, str, int, list[str], dict[str, Any]]] = [
    (
        *("ready", f"name {DRIVER_NAME}", LONG, 0),
        [rf"ready: {re.escape(DRIVER_NAME)} answered in {MS}"],
        {"healthy": True, "state": "ready", "reason": "", "driver_name": DRIVER_NAME},
    ),
    (
        *("ready-absent", f"name {DRIVER_NAME}", LONG, 0),
        [rf"ready: {re.escape(DRIVER_NAME)} answered in {MS}"],
        {"healthy": True, "grpc_status": "OK", "driver_name_error": None},
    ),
    (
        *("ready", "error 12 no", LONG, 0),
        [rf"ready: \S+/csi\.sock answered in {MS}", f"its name .*: {RPC} Unimplemented desc = no"],
        {"healthy": True, "driver_name": None},
    ),
    (
        *("ready", "hang", "--probe-timeout=1s", 0),
        [rf"ready: \S+/csi\.sock answered in {MS}", f"its name .*: {RPC} DeadlineExceeded desc.*"],
        {"healthy": True, "driver_name": None},
    ),
    (
        *("not-ready", f"name {DRIVER_NAME}", LONG, 1),
        ["not healthy: driver responded but is not ready", f"not ready {AT}"],
        {"healthy": False, "state": "not ready", "grpc_status": "OK"},
    ),
    (
        *("error 9 sick", f"name {DRIVER_NAME}", LONG, 1),
        [f"not healthy: {RPC} FailedPrecondition desc = sick", f"failed {AT}"],
        {"healthy": False, "state": "failed", "grpc_status": "FailedPrecondition"},
    ),
    (
        *("error 9 \x1b[2Jgr\xf6\xdfer", "name \x1b[2J", LONG, 1),
        [
            rf"not healthy: {RPC} FailedPrecondition desc = \\x1b\[2Jgr\xf6\xdfer",
            rf"failed after {MS}: \\x1b\[2J at \S+/csi\.sock",
        ],
        {"driver_name": "\x1b[2J"},
    ),
    (
        *("hang", f"name {DRIVER_NAME}", SHORT, 1),
        [
            f"not healthy: {RPC} DeadlineExceeded desc = context deadline exceeded",
            rf"timed out after {MS}: \S+/csi\.sock",
        ],
        {"healthy": False, "state": "timed out", "driver_name": None},
    ),
]


@pytest.mark.parametrize(
    ("probe", "info", "timeout", "code", "lines", "fields"),
    DRIVERS,
    ids=[f"{probe}, {info}" for probe, info, *_ in DRIVERS],
)
def test_the_result_is_printed_and_decides_the_exit_code(
    driver: DriverProcess,
    probe: str,
    info: str,
    timeout: str,
    code: int,
    lines: list[str],
    fields: dict[str, Any],
) -> None:
    driver.tell(probe)
    driver.tell(f"info {info}")
    ended = check(driver.socket, timeout)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert re.fullmatch("".join(f"{line}\n" for line in lines), ended.stdout), ended.stdout

    ended = check(driver.socket, timeout, "--output=json")
    assert (ended.returncode, ended.stderr) == (code, "")
    assert ended.stdout.count("\n") == 1
    printed = json.loads(ended.stdout)
    assert printed | fields == printed
    assert printed["socket"] == str(driver.socket)


def test_a_missing_driver_is_reported_with_its_socket(csi_socket: Path) -> None:
    ended = check(csi_socket)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith(f"not healthy: {csi_socket}: no such file: ")


@pytest.mark.parametrize("argv", [["--nope"], ["--probe-timeout=1ms"], ["/csi/csi.sock"]])
def test_a_wrong_command_line_exits_with_2(argv: list[str]) -> None:
    ended = run("check", *argv)
    assert ended.returncode == 2
    assert ended.stderr.split("\n", 2)[1] == "Usage of livenessprobe check:"
    assert ended.stdout == ""


def test_characters_that_the_terminal_lacks_are_escaped(driver: DriverProcess) -> None:
    driver.tell("error 9 gr\xf6\xdfer")
    ended = check(driver.socket, PYTHONIOENCODING="ascii")
    assert ended.returncode == 1
    assert r"desc = gr\xf6\xdfer" in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("flag", ["--output=text", "--output=json"])
def test_a_signal_ends_a_hanging_probe_at_once_without_a_verdict(
    driver: DriverProcess, number: signal.Signals, flag: str
) -> None:
    driver.tell("hang")
    argv = ["check", f"--csi-address={driver.socket}", "--probe-timeout=1h", flag]
    # As in the image, with a handler that would exit with 0.
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        "from livenessprobe.__main__ import main\n"
        f"sys.exit(main({argv!r}))"
    )
    with subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until(lambda: driver.counts.in_flight == 1)
            process.send_signal(number)
            assert process.communicate(timeout=TIMEOUT) == (b"", b"")
        finally:
            process.kill()  # or the end of the block would wait for it
    assert process.returncode == -number
    wait_until(lambda: driver.counts.in_flight == 0)


def test_a_lack_of_threads_is_reported_as_such(driver: DriverProcess) -> None:
    # No address space has room for a stack of this size.
    script = (
        "import sys, threading\n"
        "threading.stack_size(2**46)\n"
        "from livenessprobe.__main__ import main\n"
        f"sys.exit(main(['check', '--csi-address={driver.socket}']))"
    )
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith(f"not healthy: {driver.socket}: the driver was not asked, ")
    assert "can't start new thread\n" in ended.stdout


# Redirections: closed, full, and a pipe whose reader is gone.
@pytest.mark.parametrize(
    "redirection", [">&-", "2>&-", ">&- 2>&-", ">/dev/full", ">/dev/full 2>&1", "| true"]
)
@pytest.mark.parametrize(
    ("flags", "code"), [([LONG], 0), ([LONG, "--output=json"], 0), (["--help"], 0), (["--no"], 2)]
)
def test_the_exit_code_does_not_depend_on_the_output(
    driver: DriverProcess, redirection: str, flags: list[str], code: int
) -> None:
    ended = subprocess.run(  # noqa: S603 - our own command
        [
            *("/bin/bash", "-o", "pipefail", "-c", f'"$@" {redirection}', "bash"),
            *(str(COMMAND), "check", f"--csi-address={driver.socket}", *flags),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "Error" not in ended.stderr
