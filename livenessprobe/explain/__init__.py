"""`livenessprobe explain`: what kubelet will do with the probes of these objects, and when.

objects    JSON to workloads, containers and probes
sidecars   which containers are livenessprobe sidecars, and whose probes ask them
forecast   the formulas: settings to seconds, for this program and the reference
cases      what follows for one probed container, with either program
mistakes   the table of common mistakes
report     what was found, as text and as JSON

Nothing is asked of a cluster and nothing of a driver: all is in the objects.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from livenessprobe import strconv
from livenessprobe.explain.cases import case_of
from livenessprobe.explain.forecast import Program
from livenessprobe.explain.mistakes import find_mistakes
from livenessprobe.explain.objects import LARGEST, InputError, read_objects, read_workloads
from livenessprobe.explain.report import Explanation, Report
from livenessprobe.explain.sidecars import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from livenessprobe.explain.sidecars import Subject
    from livenessprobe.flags import ExplainConfig

__all__ = ["InputError", "explain", "explain_objects"]


def explain(config: ExplainConfig) -> Report:
    """Read the files, or standard input, and explain what is in them.

    Raises:
        InputError: one cannot be read, or holds anything but Kubernetes objects in JSON.

    """
    objects = (item for name in config.files or ("-",) for item in _read(name))
    return explain_objects(objects, reference=config.reference)


def _read(name: str) -> Iterator[Mapping[str, object]]:
    shown = "standard input" if name == "-" else strconv.escape(name)
    try:
        yield from read_objects(_data(name))
    except OSError as error:
        raise InputError(f"{shown} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{shown} {error}") from error


def _data(name: str) -> bytes:
    if name != "-":
        with Path(name).open("rb") as file:
            return file.read(LARGEST + 1)
    if sys.stdin is None or sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read(LARGEST + 1)


def explain_objects(objects: Iterable[Mapping[str, object]], *, reference: bool) -> Report:
    """Explain Kubernetes objects, and with `reference` the other program beside each."""
    workloads, others = read_workloads(objects)
    subjects, skipped = find(workloads)
    wanted = Counter({id(each.sidecar): each.address for each in subjects}.values())
    return Report(
        explained=[
            _explanation(each, rivals=wanted[each.address], reference=reference)
            for each in subjects
        ],
        skipped=skipped,
        workloads=len(workloads),
        others=others,
    )


def _explanation(subject: Subject, *, rivals: int, reference: bool) -> Explanation:
    others = [each for each in Program if reference and each is not subject.program]
    now, *swapped = [case_of(subject, each) for each in (subject.program, *others)]
    warnings = find_mistakes(subject, now, rivals=rivals)
    for case in swapped:
        warnings += [
            replace(mistake, reason=f"with {case.program}, {mistake.reason}")
            for mistake in find_mistakes(subject, case, rivals=rivals)
            if mistake not in warnings
        ]
    return Explanation(
        workload=subject.workload.name,
        container=subject.container.name,
        sidecar=subject.sidecar.name,
        version=subject.version,
        socket=subject.socket,
        probes=subject.probes,
        cases=[now, *swapped],
        warnings=warnings,
    )
