"""What the kubelet's traffic costs, by the callers' period and by their number, in real time.

A program that follows its callers costs what it does because of when they come, so their time is
not compressed: each asks once in a period, as far apart from the others as can be, until all are
known (after 3 requests), and then for the windows that count, which are scaled to an hour. As
there is nothing to do most of the time, all programs have all rows at the same time, each of them
as a process of its own with a driver of its own. So there is nothing here about latency.

In one more row a program that has a flag for it asks the driver every 100 ms, and nobody asks it.
"""

import time
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from tests.benchmarks.client import Pattern, drive
from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import Program, Running, asks_by_itself, cpu
from tests.benchmarks.readings import Reading, Scale
from tests.soak.usage import usage

GROUP = "traffic of the kubelet"
ALONE = "Probes alone"

# Callers, and seconds between two requests of each.
TRAFFIC = ((1, 0.1), (1, 1.0), (1, 2.0), (1, 10.0), (10, 10.0), (100, 10.0), (1000, 10.0))
PATTERNS = tuple(
    Pattern(name=f"callers: {callers:,}, period: {period:g} s", callers=callers, period=period)
    for callers, period in TRAFFIC
)
PROBES = "every 100 ms"
ROWS = (*(pattern.name for pattern in PATTERNS), PROBES)

# Periods until a caller counts as known, and one more because it began somewhere in the first.
LEARNING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used:
    """What a program has had until a moment."""

    cpu: float
    probes: int
    rss: float
    """KiB that it holds at that moment."""


class _Side:
    """A program, its driver, and its callers if it has any."""

    def __init__(
        self, stack: ExitStack, program: Program, pattern: Pattern | None, socket: Path
    ) -> None:
        self.pattern = pattern
        self._driver = stack.enter_context(Driver(socket))
        flags = () if pattern else ("--probe-interval=100ms",)
        self._program = stack.enter_context(Running(program, socket, *flags))
        self._program.wait_for_first()

    def drive(self, seconds: float) -> None:
        """Let the callers ask for so long."""
        if self.pattern:
            drive(self._program.address, self.pattern, seconds=seconds)

    def used(self) -> _Used:
        pid = self._program.pid
        rss = usage(pid, at=0.0).rss
        return _Used(cpu=cpu(pid), probes=self._driver.count(), rss=rss)

    def reading(self, before: _Used, after: _Used, seconds: float) -> Reading:
        """Return what the program used in a window of so many seconds."""
        used, probes = after.cpu - before.cpu, after.probes - before.probes
        grown = {"RSS MiB": after.rss / 1024, "RSS grown KiB": after.rss - before.rss}
        if not self.pattern:
            values = {"CPU ms/Probe": used / probes * 1000, **grown}
            return Reading(group=ALONE, row=PROBES, program=self._program.name, values=values)
        requests = self.pattern.callers * seconds / self.pattern.period
        values = {
            "CPU s/hour": used / seconds * 3600,
            "CPU ms/request": used / requests * 1000,
            "Probes/request": probes / requests,
            **grown,
        }
        return Reading(
            group=GROUP, row=self.pattern.name, program=self._program.name, values=values
        )


def measure(programs: Sequence[Program], rows: Container[str], scale: Scale) -> Iterator[Reading]:
    """Yield the readings of these rows."""
    patterns = [pattern for pattern in PATTERNS if pattern.name in rows]
    learning = LEARNING * max((pattern.period for pattern in patterns), default=0.0)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        sides = [
            _Side(stack, program, pattern, Path(folder, f"{number}-{program.name}.sock"))
            for number, pattern in enumerate(patterns)
            for program in programs
        ]
        if PROBES in rows:
            sides += [
                _Side(stack, program, None, Path(folder, f"{program.name}.sock"))
                for program in programs
                if asks_by_itself(program)
            ]
        seconds = learning + scale.rounds * scale.window
        callers = [Thread(target=side.drive, args=[seconds]) for side in sides]
        for thread in callers:
            thread.start()
        time.sleep(learning)
        before = [side.used() for side in sides]
        for _ in range(scale.rounds):
            time.sleep(scale.window)
            after = [side.used() for side in sides]
            for side, earlier, later in zip(sides, before, after, strict=True):
                yield side.reading(earlier, later, scale.window)
            before = after
        for thread in callers:
            thread.join()
