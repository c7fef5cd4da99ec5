"""Maps HTTP statuses and HTTP/2 error codes to gRPC statuses, in the spelling of Go's library.

Sources: gRPC's PROTOCOL-HTTP2.md ("Errors"), http-grpc-status-mapping.md and, for codes that are in
neither, grpc-go's `internal/transport/http_util.go`.
"""

from http import HTTPStatus

from grpclib.const import Status
from h2.errors import ErrorCodes

GO_STATUS = {status.value: status.name.title().replace("_", "") for status in Status} | {
    Status.OK.value: "OK",
    Status.CANCELLED.value: "Canceled",
}
"""The gRPC statuses by number, as in the metrics of CSI's sidecars, which are written in Go."""

RESET_STATUS = dict.fromkeys(ErrorCodes, "Internal") | {
    ErrorCodes.FLOW_CONTROL_ERROR: "ResourceExhausted",
    ErrorCodes.REFUSED_STREAM: "Unavailable",
    ErrorCodes.CANCEL: "Canceled",
    ErrorCodes.ENHANCE_YOUR_CALM: "ResourceExhausted",
    ErrorCodes.INADEQUATE_SECURITY: "PermissionDenied",
}
"""The status for a RST_STREAM frame by its error code; for any other code it is Unknown."""

HTTP_STATUS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "Internal",
    HTTPStatus.UNAUTHORIZED: "Unauthenticated",
    HTTPStatus.FORBIDDEN: "PermissionDenied",
    HTTPStatus.NOT_FOUND: "Unimplemented",
    HTTPStatus.TOO_MANY_REQUESTS: "Unavailable",
    HTTPStatus.BAD_GATEWAY: "Unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE: "Unavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "Unavailable",
}
"""The status for a reply without grpc-status by its HTTP status; for others it is Unknown."""
