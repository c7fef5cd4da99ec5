"""`livenessprobe explain`: what kubelet will do with the probes of these objects, and when.

objects    JSON to workloads, containers and probes
sidecars   which containers are livenessprobe sidecars, and whose probes ask them
forecast   the formulas: settings to seconds, for this program and the reference
case       one probed container with one program: its values with their origins
mistakes   the table of common mistakes
report     text and JSON

Nothing is asked of a cluster and nothing of a driver: all is in the objects.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from livenessprobe import strconv
from livenessprobe.explain import report
from livenessprobe.explain.case import Case
from livenessprobe.explain.mistakes import find_mistakes
from livenessprobe.explain.objects import EMPTY, LARGEST, InputError, read_objects, read_workloads
from livenessprobe.explain.report import Explanation, Report
from livenessprobe.explain.sidecars import Program, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from livenessprobe.explain.mistakes import Mistake
    from livenessprobe.explain.objects import Workload
    from livenessprobe.explain.sidecars import Sidecar, Subject
    from livenessprobe.flags import ExplainConfig

__all__ = ["InputError", "explain", "render"]

_NAMED = 3
"""Neighbours on one port that are named."""


def explain(config: ExplainConfig) -> Report:
    """Read the files, or standard input, and explain what is in them.

    Raises:
        InputError: one cannot be read, or is something else.

    """
    objects = [item for name in config.files or ("-",) for item in _read(name)]
    return explain_objects(objects, reference=config.reference)


def explain_objects(objects: Sequence[Mapping[str, object]], *, reference: bool) -> Report:
    """Explain Kubernetes objects, and with `reference` the other program beside each."""
    workloads, others = read_workloads(objects)
    found = [(workload, *find(workload)) for workload in workloads]
    neighbours = _neighbours([(workload, sidecars) for workload, _, sidecars, _ in found])
    return Report(
        explanations=tuple(
            _explanation(subject, neighbours.get(id(subject.sidecar), ()), reference)
            for _, subjects, _, _ in found
            for subject in subjects
        ),
        skipped=tuple(each for _, _, _, skipped in found for each in skipped),
        workloads=len(workloads),
        others=others,
    )


def render(found: Report, config: ExplainConfig, *, styled: bool) -> str:
    """Return the report in the form that was asked for."""
    if config.output == "json":
        return report.json_object(found)
    return report.text(found, styled=styled)


def _read(name: str) -> Iterator[Mapping[str, object]]:
    shown = "standard input" if name == "-" else strconv.escape(name)
    try:
        if name == "-":
            if sys.stdin is None or sys.stdin.isatty():
                raise InputError(EMPTY)  # noqa: TRY301 - it lacks the name, as others do
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(LARGEST + 1)
        yield from read_objects(data)
    except OSError as error:
        raise InputError(f"{shown} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{shown} {error}") from error


def _explanation(subject: Subject, neighbours: Sequence[str], reference: bool) -> Explanation:  # noqa: FBT001
    programs = [subject.sidecar.program]
    if reference and Program.CHECK not in programs:
        programs += [each for each in (Program.OURS, Program.REFERENCE) if each not in programs]
    cases = tuple(
        Case(subject=subject, program=program, neighbours=tuple(neighbours)) for program in programs
    )
    mistakes: dict[Mistake, Program] = {}
    for case in cases:
        for mistake in find_mistakes(case):
            mistakes.setdefault(mistake, case.program)
    return Explanation(subject=subject, cases=cases, mistakes=tuple(mistakes.items()))


def _neighbours(found: Sequence[tuple[Workload, Sequence[Sidecar]]]) -> Mapping[int, list[str]]:
    """Return for each sidecar by its id the others on its network that want the same port."""
    places: dict[object, dict[str, list[Sidecar]]] = defaultdict(lambda: defaultdict(list))
    for number, (workload, sidecars) in enumerate(found):
        for sidecar in sidecars:
            network = "host" if workload.host_network and not workload.windows else number
            if sidecar.port is not None:
                place = f"{workload}, {sidecar.container.name}"
                places[network, sidecar.port][place].append(sidecar)
    return {
        id(sidecar): [*islice((other for other in wanting if other != place), _NAMED)]
        for wanting in places.values()
        for place, alike in wanting.items()
        for sidecar in alike
    }
