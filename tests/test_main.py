"""Checks output and exit codes of `main` in this process; tests/e2e has the installed command."""

import gc
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from livenessprobe import __main__, klog
from livenessprobe.flags import CheckConfig, Config
from livenessprobe.server.listen import ListenError
from tests.csi_driver import NOT_READY, CsiDriver


@pytest.fixture(autouse=True)
def _undone_afterwards() -> Iterator[None]:
    """Restore the signal handlers, the garbage collector and the logging of this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    gc.enable()
    gc.unfreeze()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    klog.configure(stream=io.StringIO(), logging_format="text", verbosity=0)


of_each_command = pytest.mark.parametrize(
    ("command", "usage"),
    [
        pytest.param([], "Usage of livenessprobe:\n", id="sidecar"),
        pytest.param(["check"], "Usage of livenessprobe check:\n", id="check"),
        pytest.param(["explain"], "Usage of livenessprobe explain:\n", id="explain"),
    ],
)


@of_each_command
def test_help_is_printed_to_stdout(
    capsys: pytest.CaptureFixture[str], command: list[str], usage: str
) -> None:
    assert __main__.main([*command, "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(usage)
    assert printed.err == ""


@of_each_command
def test_a_usage_error_is_printed_before_and_after_the_usage(
    capsys: pytest.CaptureFixture[str], command: list[str], usage: str
) -> None:
    assert __main__.main([*command, "--nope"]) == 2
    printed = capsys.readouterr()
    wrong = "flag provided but not defined: -nope\n"
    assert printed.err.startswith(f"{wrong}{usage}")
    assert printed.err.endswith(f".\n\n{wrong}")
    assert printed.out == ""


@pytest.mark.parametrize("argv", [["--http-endpoint=9918", "check"], ["checks"], ["-", "check"]])
def test_check_is_a_command_only_as_the_first_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    async def served(_: Config) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr("livenessprobe.serve.serve", served)
    assert __main__.main(argv) == 0
    printed = capsys.readouterr()
    assert "Everything from" in printed.err
    assert printed.out == ""


def test_check_prints_the_verdict_and_has_its_exit_code(
    csi_driver: CsiDriver, csi_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["check", f"--csi-address={csi_socket}", "--probe-timeout=15s"]
    assert __main__.main(argv) == 0
    assert capsys.readouterr().out.startswith("ready: fake.csi.example.com answered in ")
    csi_driver.probe = NOT_READY
    assert __main__.main([*argv, "--output=json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["state"] == "not ready"
    assert printed.err == ""


def test_a_bug_in_check_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def buggy(_: CheckConfig) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("no such thing")

    monkeypatch.setattr("livenessprobe.check.check", buggy)
    assert __main__.main(["check"]) == 1
    printed = capsys.readouterr()
    assert '"Exiting because of a bug in livenessprobe"' in printed.err
    assert "KeyError: 'no such thing'" in printed.err
    assert printed.out == ""


# Prints the imported packages, and the modules of livenessprobe.
IMPORTED = """
def imported():
    names = {".".join(name.split(".")[: 2 if name.startswith("livenessprobe") else 1])
             for name in sys.modules}
    print(*names)
"""


def imported(code: str) -> set[str]:
    """Return the modules that a new interpreter has imported when the code calls `imported`."""
    script = f"import gc, sys{IMPORTED}from livenessprobe.__main__ import main\n{code}"
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(ended.stdout.splitlines()[-1].split())


SERVING = {"hypercorn", "prometheus_client", "h11", "wsgiref"} | {
    f"livenessprobe.{module}" for module in ("serve", "server", "endpoints", "metrics", "identity")
}


def test_check_imports_no_server() -> None:
    names = imported("main(['check', '--csi-address=/nowhere/csi.sock']); imported()")
    assert {"livenessprobe.check", "livenessprobe.driver", "trio", "grpclib"} <= names
    assert names & SERVING == set()


def test_help_imports_neither_driver_nor_server() -> None:
    names = imported("main(['--help']); imported()")
    assert "livenessprobe.flags" in names
    assert names & (SERVING | {"trio", "grpclib", "betterproto"}) == set()


def test_the_sidecar_freezes_its_imports_and_does_not_import_check() -> None:
    names = imported("gc.freeze = imported; main(['--http-endpoint=9918'])")
    assert {
        "livenessprobe.serve",
        "livenessprobe.server",
        "hypercorn",
        "prometheus_client",
    } <= names
    assert "livenessprobe.check" not in names


def test_a_bad_value_is_one_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--logging-format=xml"]) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[0]
        .endswith(
            '"LoggingConfiguration is invalid" '
            'err="format: Invalid value: \\"xml\\": Unsupported log format"'
        )
    )


def test_the_process_own_arguments_are_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["livenessprobe", "--nope"])
    assert __main__.main() == 2
    assert "-nope" in capsys.readouterr().err


def test_an_address_that_cannot_be_listened_on_is_one_log_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert __main__.main(["--http-endpoint=9918"]) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            '"Failed to start http server" err="listen tcp: address 9918: '
            'want host:port or [IPv6 address]:port, such as :9808"'
        )
    )


def test_a_flag_without_effect_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--http-endpoint=9918", "--logtostderr"]) == 1
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith("W")
    assert "logtostderr" in warning


def test_a_bug_in_the_sidecar_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def buggy(_: Config) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError("no such thing")

    monkeypatch.setattr("livenessprobe.serve.serve", buggy)
    assert __main__.main([]) == 1
    printed = capsys.readouterr().err
    assert '"Exiting because of a bug in livenessprobe"' in printed
    assert "KeyError: 'no such thing'" in printed


def test_a_bug_does_not_hide_a_listen_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def both(_: Config) -> None:
        raise ExceptionGroup("both", [ListenError("taken"), ExceptionGroup("in", [KeyError(1)])])

    monkeypatch.setattr("livenessprobe.serve.serve", both)
    assert __main__.main([]) == 1
    printed = capsys.readouterr().err
    assert 'err="taken"' in printed
    assert "KeyError: 1" in printed
