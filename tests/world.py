"""A `Status` as the program would have it, from results and requests at given times."""

from dataclasses import dataclass, field

from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question, judge
from livenessprobe.probing.schedule import Schedule
from livenessprobe.telemetry.history import History
from livenessprobe.telemetry.status import Status

EPOCH = 1_729_112_600.0
PROBE_TIMEOUT = 3.0


def result(
    status: ProbeStatus, finished_at: float, *, latency: float = 0.002, message: str = ""
) -> ProbeResult:
    return ProbeResult(
        status=status,
        message=message,
        grpc_status=None if status is ProbeStatus.UNREACHABLE else "OK",
        latency=latency,
        finished_at=finished_at,
    )


@dataclass
class World:
    """Everything behind a status; call it for the status of this moment."""

    now: float = 0.0
    driver_name: str | None = None
    interval: float | None = None
    lag: float = 0.0
    missed_deadlines: int = 0
    last: ProbeResult | None = None
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.schedule = Schedule(interval=self.interval, probe_timeout=PROBE_TIMEOUT, now=self.now)

    def observe(
        self,
        status: ProbeStatus,
        finished_at: float,
        *,
        latency: float = 0.002,
        message: str = "",
    ) -> None:
        """Let one Probe begin when it takes to, and end so."""
        self.now = finished_at
        self.last = result(status, finished_at, latency=latency, message=message)
        self.schedule.began(finished_at - latency)
        self.schedule.finished(self.last)
        self.history.observe(self.last)

    def __call__(self) -> Status:
        return Status(
            now=self.now,
            epoch=EPOCH,
            driver_name=self.driver_name,
            verdict=judge(
                Question.HEALTHZ,
                self.last,
                now=self.now,
                valid_until=self.schedule.valid_until,
            ),
            history=self.history,
            schedule=self.schedule,
            lag=self.lag,
            missed_deadlines=self.missed_deadlines,
        )
