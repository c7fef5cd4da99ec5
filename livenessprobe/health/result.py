"""What one Probe found: the value that every other part of the program is fed with."""

from dataclasses import dataclass
from enum import Enum


class ProbeStatus(Enum):
    """The five ways a Probe can end; the value is the name that logs show."""

    READY = "ready"
    NOT_READY = "not ready"
    """The driver answered, and says that it is still initialising."""
    FAILED = "failed"
    """The driver was reached, and the call ended with an error, its own or the transport's."""
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    """There was nobody to call: no connection came about."""


REACHED = frozenset({ProbeStatus.READY, ProbeStatus.NOT_READY, ProbeStatus.FAILED})
"""Those that tell of somebody who was there and did something, in good time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One finished Probe. Immutable, so one assignment publishes it to every reader."""

    status: ProbeStatus
    message: str
    """Why the driver is not healthy, in one sentence for a person; empty if ready."""
    grpc_status: str | None
    """The gRPC status in Go's spelling ("OK", "FailedPrecondition"); None if no call was made."""
    latency: float
    """Seconds from the dial to the answer, or to giving up."""
    finished_at: float
    """trio's clock (monotonic seconds)."""
