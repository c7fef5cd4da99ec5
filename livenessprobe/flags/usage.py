"""Formats the usage text of each command from its table of flags."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

from livenessprobe.flags.table import CHECK_FLAGS, EXPLAIN_FLAGS, FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from livenessprobe.flags.table import Flag

_HEAD = """\
Usage of livenessprobe:
  livenessprobe [flags]
  livenessprobe check [flags]    one Probe() now: livenessprobe check --help
  livenessprobe explain [flags]  reads manifests: livenessprobe explain --help

Calls a CSI driver's Probe() in the background and serves the last result as
/healthz, /livez and /readyz over HTTP, each with ?verbose for the details, and
as grpc.health.v1.Health over gRPC.
"""
_CHECK_HEAD = """\
Usage of livenessprobe check:
  livenessprobe check [flags]

Calls a CSI driver's Probe() once and prints the result. Exits with 0 if the
driver is healthy, with 1 if it is not, and with 2 if the flags are wrong, in
which case there is no Probe().
"""
_EXPLAIN_HEAD = """\
Usage of livenessprobe explain:
  livenessprobe explain [flags] [file...]
  kubectl get daemonsets,deployments,statefulsets,pods -A -o json |
      livenessprobe explain [flags]

Reads Kubernetes objects as JSON, finds the containers that are probed through
a livenessprobe sidecar, and prints when kubelet will restart each of them,
and what is likely not intended. Exits with 0, with 1 if there are warnings,
and with 2 if flags or input cannot be read. A sidecar counts as this program
if its image's tag is 0.N or 0.N.N, if it has --probe-interval, or if it is
asked over gRPC or for /livez or /readyz, and as kubernetes-csi/livenessprobe
otherwise.
"""
_SYNTAX = "A flag takes one dash or two; its value follows = or is the next argument."


def usage() -> str:
    """Return what `livenessprobe -h` prints, in lines of at most 80 columns."""
    return _usage(_HEAD, FLAGS)


def check_usage() -> str:
    """Return what `livenessprobe check -h` prints, in lines of at most 80 columns."""
    return _usage(_CHECK_HEAD, CHECK_FLAGS)


def explain_usage() -> str:
    """Return what `livenessprobe explain -h` prints, likewise."""
    return _usage(_EXPLAIN_HEAD, EXPLAIN_FLAGS)


def _usage(head: str, table: Mapping[str, Flag]) -> str:
    groups = itertools.groupby(table.values(), key=lambda flag: flag.group)
    sections = (f"{title}:\n{_entries(flags)}" for title, flags in groups)
    return "\n\n".join((f"{head}\n{_SYNTAX}", *sections)) + "\n"


def _entries(flags: Iterable[Flag]) -> str:
    """Format one entry for each run of flags that differ only in their names."""
    alike = itertools.groupby(flags, key=lambda flag: (flag.placeholder, flag.default, flag.help))
    return "\n".join(_entry([flag.name for flag in group], *row) for row, group in alike)


def _entry(names: list[str], placeholder: str, default: str, text: str) -> str:
    head = ", ".join(f"--{name}" for name in names)
    if placeholder:
        head += f" {placeholder}"
    if placeholder or default:
        head += f" (default {default or 'none'})"
    return f"{_wrapped(head, indent=2)}\n{_wrapped(text, indent=6)}"


def _wrapped(text: str, *, indent: int) -> str:
    margin = " " * indent
    # Flags' names are not broken at their hyphens.
    return textwrap.fill(
        text, width=80, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
