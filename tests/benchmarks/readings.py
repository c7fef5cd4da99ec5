"""What was measured: readings, where they were made, and the file that has them."""

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from statistics import median

# Per core; above it the others on the machine take so much that the figures say little.
QUIET = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One program in one row of the table, measured once; a row has some of each."""

    group: str
    row: str
    program: str
    values: dict[str, float]
    """What the table shows, by name and unit; the same names for all of a group."""
    checks: dict[str, float] = field(default_factory=dict)
    """What tells whether the values can be trusted, see `notes`."""
    latencies: dict[int, int] = field(default_factory=dict)
    """How many answers took so many microseconds, to three digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    seconds: float
    """Of each turn."""
    rounds: int
    """Turns of each program in each row."""
    window: float
    """Seconds of the kubelet's traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and when the readings were made."""

    cores: int
    python: str
    kernel: str
    processor: str
    load: float
    """The average of the last minute, before anything was started."""
    time: str

    @property
    def is_quiet(self) -> bool:
        """Whether little else ran."""
        return self.load <= QUIET * self.cores

    def __str__(self) -> str:
        verdict = (
            "" if self.is_quiet else ", TOO MUCH: others ran on it, so these figures say little"
        )
        return (
            f"{self.time}, {self.processor}, {self.cores} cores, Linux {self.kernel}, "
            f"Python {self.python}, load average before the start {self.load:.2f}{verdict}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All of one run."""

    machine: Machine
    readings: list[Reading]

    @property
    def programs(self) -> list[str]:
        """Their names, in the order of the run."""
        return list(dict.fromkeys(reading.program for reading in self.readings))

    @property
    def groups(self) -> dict[str, list[str]]:
        """The rows of each group, in the order of the run."""
        groups: dict[str, dict[str, None]] = {}
        for reading in self.readings:
            groups.setdefault(reading.group, {})[reading.row] = None
        return {group: list(rows) for group, rows in groups.items()}

    def of(self, group: str, row: str, program: str) -> list[Reading]:
        """Return all readings of a cell."""
        return [r for r in self.readings if (r.group, r.row, r.program) == (group, row, program)]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Results":
        saved = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            machine=Machine(**saved["machine"]),
            readings=[
                Reading(**r | {"latencies": {int(us): n for us, n in r["latencies"].items()}})
                for r in saved["readings"]
            ],
        )


def machine() -> Machine:
    """Describe the machine as it is now."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        kernel=platform.release(),
        processor=models[0] if models else platform.machine(),
        load=os.getloadavg()[0],
        time=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )


def histogram(latencies: Iterable[float]) -> dict[int, int]:
    """Count latencies, in seconds, by microseconds to three digits, in ascending order."""
    counts = Counter(int(float(f"{latency * 1e6:.3g}")) for latency in latencies)
    return dict(sorted(counts.items()))


def quantile(latencies: Sequence[float], of: float) -> float:
    """Return the smallest latency that at least the share `of` of all do not exceed."""
    return sorted(latencies)[max(0, ceil(of * len(latencies)) - 1)]


def middle(readings: Sequence[Reading], name: str) -> float:
    """Return the median of a value."""
    return median(reading.values[name] for reading in readings)
