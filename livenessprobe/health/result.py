"""Defines the result of one Probe, the value that verdicts, metrics and log lines are made from."""

from dataclasses import dataclass
from enum import Enum


class ProbeStatus(Enum):
    """The five ways a Probe can end; the value is the name that logs show."""

    READY = "ready"
    NOT_READY = "not ready"
    """The driver replied with `ready` set to false: it is still initialising."""
    FAILED = "failed"
    """The connection was made, and the call ended with an error of the driver or the transport."""
    TIMED_OUT = "timed out"
    """The driver did not reply within the timeout."""
    UNREACHABLE = "unreachable"
    """No connection was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One finished Probe. It is immutable, so one assignment publishes it to every reader."""

    status: ProbeStatus
    message: str
    """Why the driver is not healthy, in one sentence for a person; empty if ready."""
    grpc_status: str | None
    """The gRPC status in Go's spelling ("OK", "FailedPrecondition"); None if no call was made."""
    latency: float
    """Seconds from the start of the dial to the reply, the error or the deadline."""
    finished_at: float
    """Seconds on trio's clock, which is monotonic."""
