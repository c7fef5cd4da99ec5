"""The command in this process: what it prints, and the exit codes. `e2e/` has the whole of it."""

import gc
import io
import signal
from collections.abc import Iterator

import pytest
import trio

from livenessprobe import __main__, klog
from livenessprobe.flags import Config
from livenessprobe.listen import ListenError


@pytest.fixture(autouse=True)
def _undone_afterwards() -> Iterator[None]:
    """Give back what belongs to the process: its signals, its garbage and its log."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    gc.unfreeze()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    klog.configure(stream=io.StringIO(), logging_format="text", verbosity=0)


def test_help_is_printed_for_a_person_to_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--help"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Usage of livenessprobe:\n")
    assert printed.err == ""


def test_bad_syntax_is_answered_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--nope"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("flag provided but not defined: -nope\nUsage of livenessprobe:")
    assert printed.out == ""


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
            '"Failed to start http server" err="listen tcp: address 9918: missing port in address"'
        )
    )


def test_what_has_no_effect_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--http-endpoint=9918", "--logtostderr"]) == 1
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith("W")
    assert "logtostderr" in warning


def test_a_bug_ends_the_program_with_a_clear_line_and_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def buggy(_: Config) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError("no such thing")

    monkeypatch.setattr(__main__, "serve", buggy)
    assert __main__.main([]) == 1
    printed = capsys.readouterr().err
    assert '"A bug of livenessprobe ends it"' in printed
    assert "KeyError: 'no such thing'" in printed


def test_an_endless_bug_hides_no_refused_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def both(_: Config) -> None:
        raise ExceptionGroup("both", [ListenError("taken"), ExceptionGroup("in", [KeyError(1)])])

    monkeypatch.setattr(__main__, "serve", both)
    assert __main__.main([]) == 1
    printed = capsys.readouterr().err
    assert 'err="taken"' in printed
    assert "KeyError: 1" in printed
