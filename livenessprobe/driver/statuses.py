"""How the transport's codes become gRPC statuses, as gRPC's specification and grpc-go have it.

Sources: gRPC's "PROTOCOL-HTTP2.md" (errors), "http-grpc-status-mapping.md" and, for the codes that
the two leave open, grpc-go's `internal/transport/http_util.go`.
"""

from http import HTTPStatus

from grpclib.const import Status
from h2.errors import ErrorCodes

GO_STATUS = {status.value: status.name.title().replace("_", "") for status in Status} | {
    Status.OK.value: "OK",
    Status.CANCELLED.value: "Canceled",
}
"""gRPC statuses, by number, in the spelling of Go's library, for which dashboards are made."""

RESET_STATUS = {
    ErrorCodes.NO_ERROR: "Internal",
    ErrorCodes.PROTOCOL_ERROR: "Internal",
    ErrorCodes.INTERNAL_ERROR: "Internal",
    ErrorCodes.FLOW_CONTROL_ERROR: "ResourceExhausted",
    ErrorCodes.SETTINGS_TIMEOUT: "Internal",
    ErrorCodes.STREAM_CLOSED: "Internal",
    ErrorCodes.FRAME_SIZE_ERROR: "Internal",
    ErrorCodes.REFUSED_STREAM: "Unavailable",
    ErrorCodes.CANCEL: "Canceled",
    ErrorCodes.COMPRESSION_ERROR: "Internal",
    ErrorCodes.CONNECT_ERROR: "Internal",
    ErrorCodes.ENHANCE_YOUR_CALM: "ResourceExhausted",
    ErrorCodes.INADEQUATE_SECURITY: "PermissionDenied",
    ErrorCodes.HTTP_1_1_REQUIRED: "Internal",
}
"""What RST_STREAM means, by its error code; a code that is not here means Unknown."""

HTTP_STATUS = {
    HTTPStatus.BAD_REQUEST.value: "Internal",
    HTTPStatus.UNAUTHORIZED.value: "Unauthenticated",
    HTTPStatus.FORBIDDEN.value: "PermissionDenied",
    HTTPStatus.NOT_FOUND.value: "Unimplemented",
    HTTPStatus.TOO_MANY_REQUESTS.value: "Unavailable",
    HTTPStatus.BAD_GATEWAY.value: "Unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE.value: "Unavailable",
    HTTPStatus.GATEWAY_TIMEOUT.value: "Unavailable",
}
"""What an HTTP status means where no gRPC status came; one that is not here means Unknown."""
