"""Defines the errors of a call to the driver.

A `DriverError` is the fault of the driver or of its machine: it becomes a failing Probe. Every
other exception is a bug of this program and ends it, with a traceback.
"""

MAX_DESCRIPTION = 1024
"""Characters kept of a driver's error message, which logs and responses repeat."""


class DriverError(Exception):
    """A call to the driver failed; the text says why, for a person."""

    grpc_status: str | None = None
    """The gRPC status in Go's spelling ("FailedPrecondition"); None if no call was made."""


class DriverUnreachableError(DriverError):
    """Connecting to the driver's socket failed, so no call was made."""


class RPCError(DriverError):
    """The connection was made and the call failed; the text is the one of grpc-go's errors."""

    def __init__(self, grpc_status: str, description: str) -> None:
        super().__init__(f"rpc error: code = {grpc_status} desc = {description[:MAX_DESCRIPTION]}")
        self.grpc_status = grpc_status


class DeadlineExceededError(RPCError):
    """The driver did not reply before the deadline."""

    def __init__(self) -> None:
        super().__init__("DeadlineExceeded", "context deadline exceeded")
