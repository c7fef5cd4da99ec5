"""The command: from argv to exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from livenessprobe import flags, klog
from livenessprobe.listen import ListenError
from livenessprobe.serve import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = klog.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0 after SIGTERM or SIGINT, 2 for bad flag syntax, else 1.

    `argv` is without the program's name; None stands for the process's own.
    """
    _open_closed_streams()
    if sys.flags.optimize:
        sys.stderr.write(
            "livenessprobe cannot run with python -O or PYTHONOPTIMIZE: grpclib checks a driver's "
            "reply with assertions, without which a broken one would be taken for healthy\n"
        )
        return 1
    try:
        config = flags.parse(sys.argv[1:] if argv is None else argv)
    except flags.HelpRequested:
        sys.stdout.write(flags.usage())
        return 0
    except flags.UsageError as error:
        sys.stderr.write(f"{error}\n{flags.usage()}")
        return 2
    except flags.ConfigError as error:
        klog.configure(stream=sys.stderr, logging_format="text", verbosity=0)
        log.error(str(error), err=error.err)
        return 1
    klog.configure(
        stream=sys.stderr,
        logging_format=config.logging_format,
        verbosity=config.verbosity,
        vmodule=config.vmodule,
    )
    for warning in config.warnings:
        log.warning(warning)
    return _run(config)


def _open_closed_streams() -> None:
    """Let what is written to a closed stdout or stderr go nowhere, instead of being a failure."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end


def _run(config: flags.Config) -> int:
    exit_code = 0
    # What is imported by now stays. To look through all of it for garbage, again and again, would
    # hold up an answer by some 14 ms each time.
    gc.collect()
    gc.freeze()
    # trio takes these signals from its start to its end. Before, they end the program just as
    # well; after, it has ended, and another one must not make a failure of that.
    _on_signals(lambda *_: os._exit(0))
    try:
        trio.run(serve, config)
    except* ListenError as refusals:
        exit_code = 1
        _log_each(refusals)
    except* Exception as bug:
        exit_code = 1
        log.exception("A bug of livenessprobe ends it", err=bug)
    _on_signals(signal.SIG_IGN)
    return exit_code


def _on_signals(handler: Callable[..., object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _log_each(refusals: BaseExceptionGroup[ListenError]) -> None:
    for refusal in refusals.exceptions:
        if isinstance(refusal, BaseExceptionGroup):
            _log_each(refusal)
        else:
            log.error("Failed to start http server", err=refusal)


if __name__ == "__main__":
    sys.exit(main())
