"""`python -m tests.benchmarks`: livenessprobes side by side; or two runs of that compared."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import answers, grpc_calls, memory, start, traffic
from tests.benchmarks.picture import picture
from tests.benchmarks.programs import OURS, Program, compile_ours, peer
from tests.benchmarks.readings import Reading, Results, Scale, machine
from tests.benchmarks.table import compare, notes, table

FAMILIES = (answers, grpc_calls, start, memory, traffic)


def main(argv: Sequence[str]) -> None:
    if argv[:1] == ["compare"]:
        _compare(argv[1:])
    else:
        _run(argv)


def _run(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Livenessprobes side by side.",
        epilog="python -m tests.benchmarks compare BEFORE AFTER: compare two files of results",
    )
    parser.add_argument("--peer", action="append", default=[], type=peer, metavar="NAME=COMMAND")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows with TEXT in them")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program in each row")
    parser.add_argument("--window", type=float, default=60.0, help="seconds of kubelet's traffic")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all readings")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the ratios as a picture")
    arguments = parser.parse_args(argv)
    scale = Scale(seconds=arguments.seconds, rounds=arguments.rounds, window=arguments.window)
    compile_ours()
    here = machine()  # before it has anything to do
    _print(str(here))
    readings = _measure([OURS, *arguments.peer], arguments.only or [""], scale)
    results = Results(machine=here, readings=list(_told(readings)))
    if arguments.json:
        results.save(arguments.json)
    _print(*table(results), "", *notes(results))
    if arguments.svg:
        arguments.svg.write_text(picture(results), encoding="utf-8")


def _measure(programs: Sequence[Program], only: Sequence[str], scale: Scale) -> Iterator[Reading]:
    for family in FAMILIES:
        rows = {
            row for row in family.ROWS if any(text in f"{family.GROUP}: {row}" for text in only)
        }
        if rows:
            yield from family.measure(programs, rows, scale)


def _told(readings: Iterator[Reading]) -> Iterator[Reading]:
    """Pass them on, and show on stderr how it goes; it takes a while."""
    for reading in readings:
        sys.stderr.write(f"{reading.group}: {reading.row}: {reading.program}\n")
        yield reading


def _compare(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks compare")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args(argv)
    before, after = Results.load(arguments.before), Results.load(arguments.after)
    _print(*compare(before, after))
    for name, results in (("before", before), ("after", after)):
        _print("", f"{name}:", *notes(results))


def _print(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
