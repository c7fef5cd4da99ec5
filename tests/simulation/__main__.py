"""Runs the simulation and prints tables: `python -m tests.simulation [--svg PATH]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.simulation import recovery
from tests.simulation.measures import play
from tests.simulation.picture import picture
from tests.simulation.settings import TABLE, corpus
from tests.simulation.table import table

PHASES = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--svg", type=Path, metavar="PATH")
    parser.add_argument("--phases", type=int, default=PHASES, help="of each fault to a request")
    arguments = parser.parse_args()
    settings = corpus() or TABLE
    outcomes = play(settings, phases=arguments.phases)
    for line in (*table(outcomes), "", *recovery.table(settings)):
        sys.stdout.write(f"{line}\n")
    if arguments.svg is not None:
        arguments.svg.write_text(picture(outcomes), encoding="utf-8")


if __name__ == "__main__":
    main()
