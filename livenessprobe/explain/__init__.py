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
from livenessprobe.explain.objects import EMPTY, LARGEST, InputError, read_objects, read_workloads
from livenessprobe.explain.report import Explanation, Report
from livenessprobe.explain.sidecars import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from livenessprobe.explain.mistakes import Mistake
    from livenessprobe.explain.objects import Workload
    from livenessprobe.explain.sidecars import Sidecar, Subject
    from livenessprobe.flags import ExplainConfig

__all__ = ["InputError", "explain", "explain_objects"]


def explain(config: ExplainConfig) -> Report:
    """Read the files, or standard input, and explain what is in them.

    Raises:
        InputError: one cannot be read, or is something else.

    """
    objects = (item for name in config.files or ("-",) for item in _read(name))
    return explain_objects(objects, reference=config.reference)


def _read(name: str) -> Iterator[Mapping[str, object]]:
    shown = "standard input" if name == "-" else strconv.escape(name)
    try:
        if name != "-":
            with Path(name).open("rb") as file:
                data = file.read(LARGEST + 1)
        elif sys.stdin is None or sys.stdin.isatty():
            raise InputError(EMPTY)  # noqa: TRY301 - it lacks the name, as others do
        else:
            data = sys.stdin.buffer.read(LARGEST + 1)
        yield from read_objects(data)
    except OSError as error:
        raise InputError(f"{shown} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{shown} {error}") from error


def explain_objects(objects: Iterable[Mapping[str, object]], *, reference: bool) -> Report:
    """Explain Kubernetes objects, and with `reference` the other program beside each."""
    workloads, others = read_workloads(objects)
    found = [(workload, *find(workload)) for workload in workloads]
    wanted = Counter(
        _port(workload, each)
        for workload, _, sidecars, _ in found
        for each in sidecars
        if each.endpoint[1] is not None and not each.problem
    )
    return Report(
        explained=[
            _explanation(
                replace(each, rivals=wanted[_port(workload, each.sidecar)]), reference=reference
            )
            for workload, subjects, _, _ in found
            for each in subjects
        ],
        skipped=[each for _, _, _, skipped in found for each in skipped],
        workloads=len(workloads),
        others=others,
    )


def _port(workload: Workload, sidecar: Sidecar) -> object:
    """Return the port that a sidecar wants, with the network that it is on."""
    network = id(workload) if workload.node is None or workload.windows else workload.node
    return network, sidecar.endpoint[1]


def _explanation(subject: Subject, *, reference: bool) -> Explanation:
    programs = {subject.program: None}
    if reference and subject.program is not Program.CHECK:
        programs |= {Program.OURS: None, Program.REFERENCE: None}
    cases = [case_of(subject, program) for program in programs]
    mistakes: dict[Mistake, str] = {}
    for case in cases:
        for mistake in find_mistakes(subject, case):
            mistakes.setdefault(mistake, case.program)
    sidecar = subject.sidecar
    return Explanation(
        workload=subject.workload.name,
        container=subject.container.name,
        sidecar=sidecar.container.name,
        version=sidecar.version,
        socket=sidecar.socket,
        probes=subject.probes,
        cases=cases,
        warnings=[(program, mistake) for mistake, program in mistakes.items()],
    )
