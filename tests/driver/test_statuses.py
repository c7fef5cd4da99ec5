from grpclib.const import Status
from h2.errors import ErrorCodes

from livenessprobe.driver.statuses import GO_STATUS, HTTP_STATUS, RESET_STATUS


def test_every_status_has_gos_spelling() -> None:
    assert [GO_STATUS[status.value] for status in Status] == [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ]


def test_every_error_code_of_http_2_has_its_status() -> None:
    assert list(RESET_STATUS) == list(ErrorCodes)
    assert set(RESET_STATUS.values()) <= set(GO_STATUS.values())


def test_the_http_statuses_that_mean_more_than_unknown() -> None:
    """As gRPC's http-grpc-status-mapping.md lists them."""
    assert HTTP_STATUS == {
        400: "Internal",
        401: "Unauthenticated",
        403: "PermissionDenied",
        404: "Unimplemented",
        429: "Unavailable",
        502: "Unavailable",
        503: "Unavailable",
        504: "Unavailable",
    }
