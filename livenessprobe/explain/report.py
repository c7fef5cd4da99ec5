"""What was found: values that are JSON as they stand, and the text for a person made from them.

Names and paths are whatever an object says, so in the text everything is escaped that is not
printable, and lines are broken at 100 columns.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

from livenessprobe import strconv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from livenessprobe.explain.cases import Case
    from livenessprobe.explain.forecast import Decision
    from livenessprobe.explain.mistakes import Mistake
    from livenessprobe.explain.objects import Probe

_WIDTH = 100
_LONGEST = 2000
"""Characters of one paragraph; Kubernetes' own names have at most 253."""

_NUMBERS = {
    "periodSeconds": "every {}s",
    "timeoutSeconds": "timeout {}s",
    "failureThreshold": "threshold {}",
    "initialDelaySeconds": "delay {}s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One probed container."""

    workload: str
    container: str
    sidecar: str
    version: tuple[int, int] | None  # of the sidecar's release; None: its image does not tell
    socket: str
    probes: Mapping[str, Probe]  # by type
    cases: Sequence[Case]  # first the program that the sidecar runs
    warnings: Sequence[Mistake]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found in the input."""

    explained: Sequence[Explanation]
    skipped: Sequence[str]
    workloads: int  # that were looked at
    others: Mapping[str, int]  # objects that were not, by kind

    @property
    def warnings(self) -> int:
        """How many there are; a sidecar that cannot be explained is one too."""
        return len(self.skipped) + sum(len(each.warnings) for each in self.explained)

    def json(self) -> str:
        """Return one object, a line of ASCII; seconds are not rounded."""
        return json.dumps(asdict(self)) + "\n"

    def text(self) -> str:
        """Return what a person reads."""
        lines = [line for each in self.explained for line in (*_explanation(each), "")]
        lines += [line for each in self.skipped for line in _wrapped("warning: ", each)]
        summary = (
            f"workloads: {self.workloads}, probed containers explained: {len(self.explained)}, "
            f"warnings: {self.warnings}"
        )
        others = ", ".join(f"{number} {kind}" for kind, number in self.others.items())
        lines += _wrapped("", f"{summary}; not looked at: {others}" if others else summary)
        return "\n".join((*lines, ""))


def _explanation(it: Explanation) -> Iterator[str]:
    now = it.cases[0]
    yield from _wrapped("", f"{it.workload}, container {it.container}")
    for kind, probe in it.probes.items():
        numbers = ", ".join(
            shown.format(probe.settings[name])
            + (" (default of Kubernetes)" if name in probe.defaults else "")
            for name, shown in _NUMBERS.items()
        )
        yield from _wrapped(f"  {kind:11}", f"{probe.asks} {numbers}")
    version = " v{}.{}".format(*it.version) if it.version else ""
    sidecar = f"{it.sidecar}, {now.program}{version}, asks {it.socket}"
    origin = f" ({now.probe_timeout_from})" if now.probe_timeout_from else ""
    timeout = f"--probe-timeout {now.probe_timeout:g}s{origin}"
    yield from _wrapped("  sidecar    ", f"{sidecar}, {timeout}")
    if now.restarted_after:
        yield from _table(it.cases)
    elif "liveness" not in it.probes:
        yield "  no liveness probe asks this sidecar: it restarts nothing"
    for mistake in it.warnings:
        yield from _wrapped("  warning: ", mistake.reason)
        yield from _wrapped("      set: ", mistake.remedy)


def _table(cases: Sequence[Case]) -> Iterator[str]:
    now = cases[0]
    rows = {case.program: _rows(case, now) for case in cases if case.restarted_after}
    yield f"  {'a driver that':38}{'is restarted after':24}never if over within"
    for label in rows[now.program]:
        for program, texts in rows.items():
            yield f"  {label if program is now.program else f'  with {program}':38}{texts[label]}"


def _rows(case: Case, now: Case) -> Mapping[str, str]:
    """Return the right half of each row by its label, with what differs from `now`."""
    start, again = map(_span, case.ready_within or (0, 0))
    within = f"has to be ready within {start}, after a restart {again}"
    decisions = case.restarted_after.items()
    return {
        **{fault: _decision(decision, now.restarted_after[fault]) for fault, decision in decisions},
        "starts": within if case.ready_within else "has until its startup probe fails",
        "is healthy": f"is asked {case.probes_an_hour:g} times an hour at most",
    }


def _decision(decision: Decision | None, now: Decision | None) -> str:
    if decision is None:
        return "never"
    typical, earliest = _span(round(decision.typical)), _span(decision.earliest)
    after = f"{typical} ({earliest} to {_span(ceil(decision.latest))})"
    later = round(decision.typical - now.typical) if now else 0
    change = f"{_span(abs(later))} {'later' if later > 0 else 'sooner'}" if later else ""
    return f"{after:24}{_span(decision.spared):22}{change}".rstrip()


def _span(seconds: float) -> str:
    """Return whole seconds, rounded down, as Kubernetes shows them, such as 45s, 2m25s or 1h."""
    hours, rest = divmod(floor(seconds), 3600)
    parts = zip((hours, *divmod(rest, 60)), "hms", strict=True)
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _wrapped(first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        strconv.escape(rest[:_LONGEST]),
        width=_WIDTH,
        initial_indent=first,
        subsequent_indent=" " * max(len(first), 2),
        break_on_hyphens=False,
    )
