"""How fast /healthz is answered and what that takes, for each driver and each pattern of callers.

For each of the driver's states every program gets a driver of its own and is brought to know of
that state. Then the programs take turns, a few seconds each, several rounds for each pattern, so
that whatever else the machine does befalls all of them.
"""

import time
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.client import Answers, Pattern, drive
from tests.benchmarks.driver import Driver
from tests.benchmarks.programs import FLOOR, Program, Running, cpu
from tests.benchmarks.readings import Reading, Scale, histogram, quantile

PATTERNS = (
    Pattern(name="one at a time"),
    Pattern(name="one at a time, every 10 ms", period=0.01),
    Pattern(name="one at a time, every second", period=1.0),
    Pattern(name="16 at a time", callers=16),
    Pattern(name="64 at a time", callers=64),
    Pattern(name="keep-alive, one", keep_alive=True),
    Pattern(name="keep-alive, 16", callers=16, keep_alive=True),
)
SCRAPE = Pattern(name="keep-alive, one", keep_alive=True, target="/metrics")

# A turn has so many of a pattern's periods at least.
PERIODS = 10

# Requests before the first round: what a program does only once is not to be in it.
WARM_UP = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A state of the driver, who asks in it, and what /healthz has to say then."""

    name: str
    delay: float | None
    """Seconds until the driver answers; None if it is gone."""
    status: int
    patterns: tuple[Pattern, ...] = PATTERNS


AT_ONCE = State(name="at once", delay=0.0, status=200)
STATES = (
    AT_ONCE,
    State(name="after 100 ms", delay=0.1, status=200),
    State(name="hung", delay=inf, status=500),
    State(name="gone", delay=None, status=500),
    State(name="/metrics", delay=0.0, status=200, patterns=(SCRAPE,)),
)


GROUP = "answers, by driver and callers"


def row(state: State, pattern: Pattern) -> str:
    """Return the name of a row in the table."""
    return f"{state.name}: {pattern.name}"


ROWS = tuple(row(state, pattern) for state in STATES for pattern in state.patterns)


def measure(programs: Sequence[Program], rows: Container[str], scale: Scale) -> Iterator[Reading]:
    """Yield the readings of these rows."""
    for state in STATES:
        patterns = [pattern for pattern in state.patterns if row(state, pattern) in rows]
        if not patterns:
            continue
        # The floor knows no driver.
        contenders = [*programs, FLOOR] if state is AT_ONCE else programs
        with TemporaryDirectory() as folder, ExitStack() as stack:
            sides = [_Side(stack, program, state, Path(folder)) for program in contenders]
            for pattern in patterns:
                for _ in range(scale.rounds):
                    for side in sides:
                        yield side.read(pattern, scale.seconds)


class _Side:
    """A program and its driver, in one of the driver's states."""

    def __init__(self, stack: ExitStack, program: Program, state: State, folder: Path) -> None:
        socket = folder / f"{program.name}.sock"
        self._state = state
        self._driver = stack.enter_context(Driver(socket))
        self._program = stack.enter_context(Running(program, socket))
        self._program.wait_for_first()
        drive(self._program.address, Pattern(name="", callers=16), requests=WARM_UP)
        if state.delay is None:
            self._driver.kill()
        else:
            self._driver.delay(state.delay)
        self._program.wait_for(state.status)

    def read(self, pattern: Pattern, seconds: float) -> Reading:
        """Let the pattern's callers ask for so many seconds, or a little longer."""
        before = self._usage()
        turn = max(seconds, PERIODS * pattern.period)
        answers = drive(self._program.address, pattern, seconds=turn)
        program, driver, client, probes = (
            after - earlier for after, earlier in zip(self._usage(), before, strict=True)
        )
        if not (count := len(answers.latencies)):
            raise RuntimeError(f"{self._program.name} has answered nothing: {answers}")
        return Reading(
            group=GROUP,
            row=row(self._state, pattern),
            program=self._program.name,
            values={
                "p50 ms": quantile(answers.latencies, 0.50) * 1000,
                "p99 ms": quantile(answers.latencies, 0.99) * 1000,
                "requests/s": count / answers.seconds,
                "CPU ms/request": program / count * 1000,
                "Probes/s": probes / answers.seconds,
            },
            checks={
                "driver's cores": driver / answers.seconds,
                "client's cores": client / answers.seconds,
                "wrong answers": self._wrong(answers),
            },
            latencies=histogram(answers.latencies),
        )

    def _usage(self) -> tuple[float, float, float, int]:
        """Return the CPU that program, driver and client have had, and how many Probes came."""
        if self._state.delay is None:
            return cpu(self._program.pid), 0.0, time.process_time(), 0
        count = self._driver.count()
        return cpu(self._program.pid), cpu(self._driver.pid), time.process_time(), count

    def _wrong(self, answers: Answers) -> int:
        right = answers.statuses[self._state.status]
        return answers.unanswered + answers.statuses.total() - right
