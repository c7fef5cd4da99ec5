"""The commands: from argv to exit code.

    livenessprobe [flags]          the sidecar, until a signal ends it
    livenessprobe check [flags]    one Probe for an exec probe or a person
    livenessprobe explain [flags]  what kubelet will do with the probes of these objects

Only a first argument chooses another than the first: the sidecar's flags end at the first argument
that is none, and what follows is ignored. Each command imports its own parts when it is chosen, so
that neither pays for the other's; `check` is started anew for every probe.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from livenessprobe import deferred

with deferred.imports():
    from pathlib import Path

    from livenessprobe import flags, klog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

C = TypeVar("C")

_BUG = "A bug of livenessprobe ends it"

log = klog.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    The sidecar's is 0 after SIGTERM or SIGINT, 2 for bad flag syntax, else 1; that of `check` is 0
    for a healthy driver, 2 for bad flags, else 1; that of `explain` is 0, 1 with warnings, 2 for
    flags or input that cannot be read.

    `argv` is without the program's name; None stands for the process's own.
    """
    _prepare_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["check"]:
        return _run(_check, arguments[1:], flags.parse_check, flags.check_usage)
    if arguments[:1] == ["explain"]:
        return _run(_explain, arguments[1:], flags.parse_explain, flags.explain_usage)
    return _run(_serve, arguments, flags.parse, flags.usage)


def _prepare_streams() -> None:
    """Let what is written to stdout or stderr be no failure.

    What goes to a closed one goes nowhere, and what its encoding lacks is escaped.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, stream)
        stream.reconfigure(errors="backslashreplace")


def _run(
    command: Callable[[C], int],
    arguments: Sequence[str],
    parse: Callable[[Sequence[str]], C],
    usage: Callable[[], str],
) -> int:
    try:
        config = parse(arguments)
    except flags.HelpRequested:
        _write(sys.stdout, usage())
        return 0
    except flags.UsageError as error:
        # Last too: of a container that has ended, Kubernetes shows the end of the log.
        _write(sys.stderr, f"{error}\n{usage()}\n{error}\n")
        return 2
    except flags.ConfigError as error:
        klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
        log.error(str(error), err=error.err)
        return 1
    return command(config)


def _write(stream: TextIO, text: str) -> None:
    """Write `text` for whoever reads; that nobody does is no failure."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        with suppress(OSError):  # closed, so that the interpreter does not try again at its end
            stream.close()


def _check(config: flags.CheckConfig) -> int:
    # A signal ends this as it ends any tool, at once and with no exit code that could be taken for
    # a verdict. Python's own handler would show a traceback, and the image's exits with 0.
    _on_signals(signal.SIG_DFL)
    klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
    # To look for garbage while so much is imported, and once more at the interpreter's end, would
    # take a fifth of the whole time, to gain nothing: what becomes garbage is that of two calls.
    gc.disable()

    with deferred.imports():
        import trio  # noqa: PLC0415 - see above

        from livenessprobe.check import RENDER, check  # noqa: PLC0415 - see above

    try:
        answer = trio.run(check, config)
    except Exception as bug:
        log.exception(_BUG, err=bug)
        return 1
    _write(sys.stdout, RENDER[config.output](answer))
    gc.freeze()
    return 0 if answer.healthy else 1


def _explain(config: flags.ExplainConfig) -> int:
    _on_signals(signal.SIG_DFL)
    from livenessprobe import explain  # noqa: PLC0415 - nobody else pays for it

    try:
        found = explain.explain(config)
    except explain.InputError as error:
        _write(sys.stderr, f"{error}\n")
        return 2
    styled = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    _write(sys.stdout, explain.render(found, config, styled=styled))
    return 1 if found.has_warnings else 0


def _serve(config: flags.Config) -> int:
    # trio takes these signals from its start to its end. Before, they end the program just as
    # well; after, it has ended, and another one must not make a failure of that.
    _on_signals(lambda *_: os._exit(0))
    klog.configure(
        stream=sys.stderr,
        logging_format=config.logging_format,
        verbosity=config.verbosity,
        vmodule=config.vmodule,
    )
    for warning in config.warnings:
        log.warning(warning)
    # What is imported stays. To look through all of it for garbage, again and again, would take a
    # sixth of the start, and later hold up an answer by some 14 ms each time. To look once pays:
    # attrs makes each of trio's classes twice, and what comes next takes the place of the first.
    gc.disable()

    with deferred.imports():
        import trio  # noqa: PLC0415 - see above

        gc.collect()
        from livenessprobe.serve import serve  # noqa: PLC0415 - see above
        from livenessprobe.server.listen import ListenError  # noqa: PLC0415 - see above

    gc.freeze()
    gc.enable()
    exit_code = 0
    try:
        trio.run(serve, config)
    except* ListenError as refusals:
        exit_code = 1
        _log_each(refusals, partial(log.error, "Failed to start http server"))
    except* Exception as bugs:  # noqa: BLE001 - it is logged, and the end
        exit_code = 1
        _log_each(bugs, partial(log.exception, _BUG))
    _on_signals(signal.SIG_IGN)
    return exit_code


def _on_signals(handler: Callable[..., object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _log_each(errors: ExceptionGroup[Exception], log_one: Callable[..., None]) -> None:
    """Log the errors in the groups that trio's nurseries made of them."""
    for error in errors.exceptions:
        if isinstance(error, ExceptionGroup):
            _log_each(cast("ExceptionGroup[Exception]", error), log_one)
        else:
            log_one(err=error)


if __name__ == "__main__":
    sys.exit(main())
