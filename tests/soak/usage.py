"""Measures the memory, descriptors and threads of a process, and their growth."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The usage at one time: memory in KiB, and numbers of descriptors and threads."""

    at: float
    rss: int
    anonymous: int
    descriptors: int
    threads: int


def usage(pid: int, at: float) -> Usage:
    process = Path(f"/proc/{pid}")
    memory = dict(re.findall(r"(\w+): +(\d+) kB", (process / "smaps_rollup").read_text()))
    return Usage(
        at=at,
        rss=int(memory["Rss"]),
        anonymous=int(memory["Anonymous"]),
        descriptors=len(list((process / "fd").iterdir())),
        threads=len(list((process / "task").iterdir())),
    )


def growth(usages: Sequence[Usage], of: str) -> float:
    """Return the growth of the attribute `of` in the second half, by linear regression."""
    half = usages[len(usages) // 2 :]
    times = [usage.at for usage in half]
    slope, _ = linear_regression(times, [getattr(usage, of) for usage in half])
    return slope * (times[-1] - times[0])
