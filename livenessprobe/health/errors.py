"""Who is at fault when a call to the driver brings no answer.

A `DriverError` is the driver's fault, or its machine's: it becomes a failing Probe. Every other
exception is a bug of this program and ends it, visibly.
"""

MAX_DESCRIPTION = 1024
"""Characters that are kept of a driver's own words, which logs and answers repeat."""


class DriverError(Exception):
    """The driver did not do what was asked of it; the text says what is wrong, for a person."""

    grpc_status: str | None = None
    """The gRPC status in Go's spelling ("FailedPrecondition"); None if no call was made."""


class DriverUnreachableError(DriverError):
    """No connection to the driver's socket came about, so nothing was asked."""


class RPCError(DriverError):
    """The driver was connected to, and the call failed; worded as Go's gRPC library words it."""

    def __init__(self, grpc_status: str, description: str) -> None:
        super().__init__(f"rpc error: code = {grpc_status} desc = {description[:MAX_DESCRIPTION]}")
        self.grpc_status = grpc_status


class DeadlineExceededError(RPCError):
    """No answer came in time."""

    def __init__(self) -> None:
        super().__init__("DeadlineExceeded", "context deadline exceeded")
