"""Runs the command that argv names and returns its exit code.

    livenessprobe [flags]          the sidecar, until a signal ends it
    livenessprobe check [flags]    one Probe, for an exec probe or a person
    livenessprobe explain [flags]  what kubelet will do with the probes of these objects

The other commands are chosen only by the first argument. After flags a command's name is ignored,
as is everything from the first argument on that is not a flag. Each command imports only the
modules that it needs, since an exec probe starts `check` anew every time.
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

_BUG = "Exiting because of a bug in livenessprobe"

log = klog.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    The sidecar's exit code is 0 after SIGTERM or SIGINT, 2 if the flags cannot be parsed, else 1.
    That of `check` is 0 if the driver is healthy, 2 if the flags are wrong, else 1. That of
    `explain` is 0, 1 with warnings, 2 if flags or input cannot be read.

    `argv` does not contain the program's name; None stands for `sys.argv[1:]`.
    """
    _prepare_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["check"]:
        return _run(_check, arguments[1:], flags.parse_check, flags.check_usage)
    if arguments[:1] == ["explain"]:
        return _run(_explain, arguments[1:], flags.parse_explain, flags.explain_usage)
    return _run(_serve, arguments, flags.parse, flags.usage)


def _prepare_streams() -> None:
    """Make writing to stdout and stderr safe.

    A closed stream is replaced by /dev/null, and characters that the encoding lacks are escaped.
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
        # The error is repeated last, since Kubernetes shows the end of an exited container's log.
        _write(sys.stderr, f"{error}\n{usage()}\n{error}\n")
        return 2
    except flags.ConfigError as error:
        klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
        log.error(str(error), err=error.err)
        return 1
    return command(config)


def _write(stream: TextIO, text: str) -> None:
    """Write and flush `text`; ignore that the stream cannot be written to."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        with suppress(OSError):  # so that the interpreter does not flush it again at exit
            stream.close()


def _check(config: flags.CheckConfig) -> int:
    # A signal ends this command at once, without an exit code that could be taken for a verdict.
    # Python's own handler would print a traceback, and that of the image exits with 0.
    _on_signals(signal.SIG_DFL)
    klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
    # Garbage collection during the imports and at exit would take a fifth of the command's time,
    # and free only what two calls leave behind.
    gc.disable()

    with deferred.imports():
        import trio  # noqa: PLC0415 - see above

        from livenessprobe.check import RENDER, check  # noqa: PLC0415 - see above

    try:
        result = trio.run(check, config)
    except Exception as bug:
        log.exception(_BUG, err=bug)
        return 1
    _write(sys.stdout, RENDER[config.output](result))
    gc.freeze()
    return 0 if result.healthy else 1


def _explain(config: flags.ExplainConfig) -> int:
    _on_signals(signal.SIG_DFL)
    from livenessprobe import explain  # noqa: PLC0415 - only this command needs it

    try:
        found = explain.explain(config)
    except explain.InputError as error:
        _write(sys.stderr, f"{error}\n")
        return 2
    _write(sys.stdout, found.json() if config.output == "json" else found.text())
    return 1 if found.warnings else 0


def _serve(config: flags.Config) -> int:
    # `serve` handles these signals itself. Before it starts, a signal exits with 0 as well; after
    # it has ended, a further signal is ignored, so that it does not change the exit code.
    _on_signals(lambda *_: os._exit(0))
    klog.configure(
        stream=sys.stderr,
        logging_format=config.logging_format,
        verbosity=config.verbosity,
        vmodule=config.vmodule,
    )
    for warning in config.warnings:
        log.warning(warning)
    # Imported objects are never freed, so collecting garbage among them again and again would take
    # a sixth of the time to start, and each full collection later would delay a response by 14 ms.
    # One collection after trio is worth it: attrs creates each of trio's classes twice, and the
    # following imports reuse the memory of the first ones.
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
    except* Exception as bugs:  # noqa: BLE001 - it is logged and ends the process
        exit_code = 1
        _log_each(bugs, partial(log.exception, _BUG))
    _on_signals(signal.SIG_IGN)
    return exit_code


def _on_signals(handler: Callable[..., object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _log_each(errors: ExceptionGroup[Exception], log_one: Callable[..., None]) -> None:
    """Log each error in the nested groups that trio's nurseries raise."""
    for error in errors.exceptions:
        if isinstance(error, ExceptionGroup):
            _log_each(cast("ExceptionGroup[Exception]", error), log_one)
        else:
            log_one(err=error)


if __name__ == "__main__":
    sys.exit(main())
