"""What was found, as text for a person and as JSON for a machine.

Names and paths are whatever an object says, so in the text everything is escaped that is not
printable, and lines are broken at 100 columns.
"""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from livenessprobe import strconv
from livenessprobe.explain.case import KUBELET_DEFAULTS, Case, value_of
from livenessprobe.explain.forecast import Fault
from livenessprobe.explain.sidecars import Program, port_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from livenessprobe.explain.forecast import Decision
    from livenessprobe.explain.mistakes import Mistake
    from livenessprobe.explain.objects import Probe
    from livenessprobe.explain.sidecars import Sidecar, Skipped, Subject, Value

WIDTH = 100
_LONGEST = 300
"""Characters of a name or reason that are shown; Kubernetes' own names have at most 253."""

BOLD, YELLOW, PLAIN = "\033[1m", "\033[33m", "\033[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One subject with the programs that are compared, the one it has first."""

    subject: Subject
    cases: tuple[Case, ...]
    mistakes: tuple[tuple[Mistake, Program], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found in the input.

    Attributes:
        workloads: how many were looked at.
        others: how many objects of other kinds there are.

    """

    explanations: tuple[Explanation, ...]
    skipped: tuple[Skipped, ...]
    workloads: int
    others: Mapping[str, int]

    @property
    def has_warnings(self) -> bool:
        """Whether somebody should read it: a mistake, or a sidecar that cannot be explained."""
        return bool(self.skipped) or any(each.mistakes for each in self.explanations)


def text(report: Report, *, styled: bool) -> str:
    """Return the report for a person; `styled` for a terminal."""
    lines = [line for each in report.explanations for line in (*_explanation(each), "")]
    lines += [
        line
        for each in report.skipped
        for line in _wrapped("warning: ", f"{_cut(each.what)}: {_cut(each.why)}")
    ]
    lines += _wrapped("", _summary(report))
    return "".join(f"{_styled(line) if styled else line}\n" for line in lines)


def _summary(report: Report) -> str:
    explained, warnings = len(report.explanations), len(report.skipped)
    warnings += sum(len(each.mistakes) for each in report.explanations)
    summary = (
        f"{_count(report.workloads, 'workload')}: {_count(explained, 'probed container')} "
        f"explained, {_count(warnings, 'warning')}"
    )
    others = ", ".join(f"{number} {_cut(kind)}" for kind, number in report.others.items())
    return f"{summary}; without pods: {others}" if others else summary


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _styled(line: str) -> str:
    if "warning" in line[:10]:
        return f"{YELLOW}{line}{PLAIN}"
    return f"{BOLD}{line}{PLAIN}" if line[:1].strip() else line


def _explanation(explanation: Explanation) -> Iterator[str]:
    subject, case = explanation.subject, explanation.cases[0]
    heading = f"{subject.workload}, container {subject.container.name}"
    yield from _wrapped("", _cut(heading))
    for kind, probe in subject.probes.items():
        yield from _wrapped(f"  {kind:11}", _probe(subject, probe))
    yield from _wrapped(f"  {'sidecar':11}", _sidecar(subject.sidecar, case))
    for row in _forecast(explanation.cases):
        yield from textwrap.wrap(row, width=WIDTH, subsequent_indent=" " * (_LABEL + 2))
    for mistake, program in explanation.mistakes:
        swapped = "" if program is case.program else f"with {program.value}, "
        yield from _wrapped("  warning: ", f"{swapped}{_cut(mistake.reason)}")
        yield from _wrapped("      set: ", _cut(mistake.remedy))


def _asks(subject: Subject, probe: Probe) -> str:
    if probe.handler == "exec":
        return " ".join(probe.command)
    port = port_of(subject.container, probe)
    where = f"{probe.host}:{probe.port if port is None else port}"
    return f"grpc {where} {probe.service}" if probe.handler == "grpc" else f"{where}{probe.path}"


def _probe(subject: Subject, probe: Probe) -> str:
    period, timeout, threshold, delay = (
        _value(value_of(probe, name), unit="" if name == "failureThreshold" else "s")
        for name in KUBELET_DEFAULTS
    )
    return (
        f"{_cut(_asks(subject, probe))} every {period}, timeout {timeout}, "
        f"threshold {threshold}, delay {delay}"
    )


def _value(value: Value, *, unit: str) -> str:
    origin = {"set": "", "default of Kubernetes": " (default)"}.get(
        value.origin, f" ({value.origin})"
    )
    return f"{value.number:g}{unit}{origin}"


def _sidecar(sidecar: Sidecar, case: Case) -> str:
    version = " v{}.{}".format(*sidecar.version) if sidecar.version else ""
    return (
        f"{_cut(sidecar.container.name)}, {case.program.value}{version} by its "
        f"{sidecar.known_by}, asks {_cut(sidecar.socket)}, --probe-timeout "
        f"{_value(case.probe_timeout, unit='s')}"
    )


_LABEL = 38
_COLUMNS = f"  {{:{_LABEL}}}{{:24}}{{:22}}{{}}"


def _forecast(cases: Sequence[Case]) -> Iterator[str]:
    first, decided = cases[0], [case for case in cases if not case.undecided]
    if first.undecided:
        yield f"  {first.undecided}"
        return
    yield _COLUMNS.format(
        "a driver that", "is restarted after", "never if over within", ""
    ).rstrip()
    for label, fault in _rows(decided):
        for case in decided:
            named = _named(label, case, first)
            yield _row(named, case.decisions[fault], first.decisions[fault])
    for case in decided:
        yield f"  {_named('starts', case, first):{_LABEL}}{_coming_up(case)}"
    for case in decided:
        if case is first or case.probes_an_hour != first.probes_an_hour:
            asked = f"is asked {case.probes_an_hour:g} times an hour at most"
            yield f"  {_named('is healthy', case, first):{_LABEL}}{asked}"


def _named(label: str, case: Case, first: Case) -> str:
    return label if case is first else f"  with {case.program.value}"


def _rows(cases: Sequence[Case]) -> Iterator[tuple[str, Fault]]:
    """Yield the faults, and as one those that the same happens to."""
    alike: dict[str, list[Fault]] = defaultdict(list)
    for fault in Fault:
        alike[repr([case.decisions[fault] for case in cases])].append(fault)
    for faults in alike.values():
        yield ", ".join(fault.value for fault in faults), faults[0]


def _coming_up(case: Case) -> str:
    start, again = (case.seconds_to_come_up(restarted=after) for after in (False, True))
    if start is None or again is None:
        return "has the time that its startup probe gives it"
    return f"has to be ready within {_span(floor(start))}, after a restart {_span(floor(again))}"


def _row(label: str, decision: Decision | None, first: Decision | None) -> str:
    if decision is None:
        return f"  {label:{_LABEL}}never"
    change = round(decision.typical - first.typical) if first else 0
    compared = f"{_span(abs(change))} {'later' if change > 0 else 'sooner'}" if change else ""
    span = f"{_span(floor(decision.earliest))} to {_span(ceil(decision.latest))}"
    after = f"{_span(round(decision.typical))} ({span})"
    return _COLUMNS.format(label, after, _span(floor(decision.spared)), compared).rstrip()


def _span(seconds: int) -> str:
    """Return whole seconds as Kubernetes shows them, such as 45s, 2m25s or 1h."""
    hours, rest = divmod(seconds, 3600)
    parts = zip((hours, *divmod(rest, 60)), "hms", strict=True)
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _wrapped(first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        strconv.escape(rest),
        width=WIDTH,
        initial_indent=first,
        subsequent_indent=" " * max(len(first), 2),
        break_on_hyphens=False,
    )


def json_object(report: Report) -> str:
    """Return the report as one JSON object, a line of ASCII; seconds are not rounded."""
    fields = {
        "explained": [_fields(each) for each in report.explanations],
        "skipped": [asdict(each) for each in report.skipped],
        "workloads": report.workloads,
        "others": dict(report.others),
    }
    return strconv.without_surrogates(json.dumps(fields)) + "\n"


def _fields(explanation: Explanation) -> dict[str, Any]:
    subject = explanation.subject
    workload, sidecar = subject.workload, subject.sidecar
    return {
        "workload": {name: getattr(workload, name) for name in ("kind", "namespace", "name")},
        "container": subject.container.name,
        "sidecar": {
            "container": sidecar.container.name,
            "known_by": sidecar.known_by,
            "version": sidecar.version and "{}.{}".format(*sidecar.version),
            "socket": sidecar.socket,
            "host": sidecar.host,
            "port": sidecar.port,
        },
        "probes": {
            kind: {"asks": _asks(subject, probe)}
            | {name: asdict(value_of(probe, name)) for name in KUBELET_DEFAULTS}
            for kind, probe in subject.probes.items()
        },
        "programs": [_case(case) for case in explanation.cases],
        "warnings": [
            {"program": program.name.lower(), **asdict(mistake)}
            for mistake, program in explanation.mistakes
        ],
    }


def _case(case: Case) -> dict[str, Any]:
    fields = {
        "program": case.program.name.lower(),
        "probe_timeout": asdict(case.probe_timeout),
        "undecided": case.undecided,
    }
    if case.undecided:
        return fields
    return fields | {
        "restarted_after": {
            fault.name.lower(): decision and asdict(decision)
            for fault, decision in case.decisions.items()
        },
        "seconds_to_come_up": {
            name: case.seconds_to_come_up(restarted=restarted)
            for name, restarted in (("started", False), ("restarted", True))
        },
        "probes_an_hour": case.probes_an_hour,
    }
