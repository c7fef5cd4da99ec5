"""Formats the results as a table with a row for each measure and a column for each policy.

Where the two drivers differ, a cell has the value of the quick one first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.measures import (
    QUICK,
    SLOW,
    Outcomes,
    age,
    mean_delay,
    probes_per_request,
    with_fault,
)
from tests.simulation.policies import Policy
from tests.simulation.scripts import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.simulation.outcome import Outcome

    Own = Sequence[Outcome]
    Cell = Callable[[Own], str]


def table(outcomes: Outcomes) -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    columns = {policy: [o for o in outcomes if o.run.policy is policy] for policy in Policy}
    yield "| | " + " | ".join(policy.value for policy in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for name, cell in _rows(outcomes).items():
        yield f"| {name} | " + " | ".join(cell(own) for own in columns.values()) + " |"


def _rows(outcomes: Outcomes) -> dict[str, Cell]:
    def delay(fault: Fault, *, detected_in_time: bool = True) -> Cell:
        def cell(own: Own) -> str:
            delayed = with_fault(own, fault, detected_in_time=detected_in_time)
            return f"{mean_delay(outcomes, delayed):+.1f}" if delayed else ""

        return _by_speed(cell)

    return {
        "Probes per request": _by_speed(lambda own: f"{probes_per_request(own):.1f}"),
        "age of the answer: median, s": _by_speed(lambda own: f"{age(own, 0.5):.1f}"),
        "99th percentile, s": _by_speed(lambda own: f"{age(own, 0.99):.1f}"),
        "failing answers for one failing Probe, at most": _most_repeated,
        "runs in which a driver is restarted without cause": _restarted_without_cause,
        "restart decided later by, s: the driver died": delay(Fault.CRASH),
        "it answers with an error": delay(Fault.ERROR),
        "it hangs": delay(Fault.HANG),
        "it hangs, and `timeoutSeconds` is shorter than `--probe-timeout`": delay(
            Fault.HANG, detected_in_time=False
        ),
    }


def _most_repeated(own: Own) -> str:
    return str(max(o.most_repeated for o in own))


def _restarted_without_cause(own: Own) -> str:
    harmless = [o for o in own if not o.has_cause]
    return f"{sum(o.restarts > 0 for o in harmless)} of {len(harmless)}"


def _by_speed(cell: Cell) -> Cell:
    def both(own: Own) -> str:
        texts = [cell([o for o in own if o.run.latency == latency]) for latency in (QUICK, SLOW)]
        return texts[0] if texts[0] == texts[1] else " / ".join(texts)

    return both
