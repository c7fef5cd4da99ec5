"""Runs the long soak test and prints its results: `python -m tests.soak`."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tests.soak.soak import MOST_KIB_WHEN_LONG, Record, Scale, soak
from tests.soak.usage import growth


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--probes", type=int, default=200_000, help="at least")
    parser.add_argument("--requests", type=int, default=1_000_000, help="at least")
    parser.add_argument("--seconds", type=float, default=3600.0, help="at most")
    parser.add_argument("--clients", type=int, default=4)
    scale = Scale(**vars(parser.parse_args()))
    with TemporaryDirectory() as folder:
        record = soak(scale, Path(folder))
    for line in report(record):
        sys.stdout.write(f"{line}\n")
    return any(record.flaws(MOST_KIB_WHEN_LONG))


def report(record: Record) -> Iterator[str]:
    yield f"{record.seconds:.0f} s, {len(record.usages)} samples"
    yield _list(f"{record.probes.total():,} Probes seen by the driver", record.probes)
    yield f"{record.names:,} calls of GetPluginInfo seen by it"
    yield _list(f"{record.answers.total():,} requests", record.answers)
    for (method, status), count in sorted(record.metrics.items()):
        yield f"metrics: {method} {status} {count:,}"
    yield f"Probes that timed out unseen: {record.unseen}; that were discarded: {record.discarded}"
    for what in ("rss", "anonymous", "descriptors", "threads"):
        values = [getattr(usage, what) for usage in record.usages]
        eighths = [median(values[i * len(values) // 8 :][: len(values) // 8]) for i in range(8)]
        yield (
            f"{what}: {' '.join(f'{eighth:.0f}' for eighth in eighths)} (medians of eighths), "
            f"{growth(record.usages, what):+.2f} in the second half"
        )
    yield f"descriptors at rest: {record.descriptors_before}, then {record.descriptors_after}"
    yield from (f"FLAW: {flaw}" for flaw in record.flaws(MOST_KIB_WHEN_LONG))


def _list(what: str, counts: Counter[Any]) -> str:
    return f"{what}: " + ", ".join(f"{key.name} {count:,}" for key, count in counts.items())


if __name__ == "__main__":
    sys.exit(main())
