"""The results as tables in Markdown: medians of the turns, and ratios of them.

A cell has its values in the order that the heading of its group tells.
"""

from collections.abc import Iterator, Sequence

from tests.benchmarks.programs import FLOOR, OURS
from tests.benchmarks.readings import Reading, Results, middle

# Cores. A client or a driver that takes more may be what was measured, instead of the program.
BUSY = 0.7


def table(results: Results) -> Iterator[str]:
    """Yield the lines of a table of one run, a column for each program and each ratio to a peer."""
    programs = results.programs
    peers = peers_of(results)
    yield from _head(*programs, *(f"{OURS.name} : {peer}" for peer in peers))
    for group, rows in results.groups.items():
        yield _heading(group, results, columns=len(programs) + len(peers))
        for row in rows:
            cells = {name: results.of(group, row, name) for name in programs}
            ratios = [_ratios(cells[OURS.name], cells[peer]) for peer in peers]
            yield _line(row, *map(_medians, cells.values()), *ratios)


def compare(before: Results, after: Results) -> Iterator[str]:
    """Yield the lines of a table of two runs, of the programs and rows that both have.

    A ratio is in brackets if the turns overlap, so that chance may have made the difference.
    """
    yield from _head("program", "before", "after", "after : before")
    for group, rows in before.groups.items():
        yield _heading(group, before, columns=4)
        for row in rows:
            for name in before.programs:
                old, new = before.of(group, row, name), after.of(group, row, name)
                if old and new:
                    yield _line(row, name, _medians(old), _medians(new), _ratios(new, old))


def notes(results: Results) -> Iterator[str]:
    """Yield what tells how far the figures can be trusted."""
    yield str(results.machine)
    for who in ("client", "driver"):
        name = f"{who}'s cores"
        if checked := [r for r in results.readings if name in r.checks and r.program != FLOOR.name]:
            busiest = max(checked, key=lambda reading: reading.checks[name])
            cores = busiest.checks[name]
            verdict = ", TOO MUCH: it may be what was measured" if cores > BUSY else ""
            yield (
                f"the {who} took {cores:.2f} of a core at most, "
                f"with {busiest.program}, {busiest.row}{verdict}"
            )
    for reading in results.readings:
        if wrong := reading.checks.get("wrong answers"):
            yield f"WRONG: {wrong:.0f} answers of {reading.program}, {reading.row}"


def peers_of(results: Results) -> list[str]:
    """Return the names of the programs that ours is compared with, if it is there."""
    others = [name for name in results.programs if name not in {OURS.name, FLOOR.name}]
    return others if OURS.name in results.programs else []


def digits(value: float) -> str:
    """Return a value to three digits, or all of its digits before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):.10g}" if abs(value) >= 0.001 else f"{value:.2g}"


def _head(*columns: str) -> Iterator[str]:
    yield _line("", *columns)
    yield "|---" * (1 + len(columns)) + "|"


def _heading(group: str, results: Results, columns: int) -> str:
    names = next(reading.values for reading in results.readings if reading.group == group)
    return _line(f"**{group}**: {' / '.join(names)}", *[""] * columns)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _medians(readings: Sequence[Reading]) -> str:
    return " / ".join(digits(middle(readings, name)) for name in _names(readings))


def _ratios(own: Sequence[Reading], others: Sequence[Reading]) -> str:
    """Return the ratios of medians, each in brackets if the turns overlap."""
    return " / ".join(_ratio(own, others, name) for name in _names(own) if others)


def _names(readings: Sequence[Reading]) -> Sequence[str]:
    return list(readings[0].values) if readings else []


def _ratio(own: Sequence[Reading], others: Sequence[Reading], name: str) -> str:
    if not (other := middle(others, name)):
        return "-"
    ratio = digits(middle(own, name) / other)
    ours, theirs = ([reading.values[name] for reading in side] for side in (own, others))
    overlap = min(ours) <= max(theirs) and min(theirs) <= max(ours)
    return f"({ratio})" if overlap else ratio
