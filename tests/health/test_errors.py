from livenessprobe.health.errors import DeadlineExceededError, DriverUnreachableError, RPCError


def test_the_text_of_a_failed_call_is_that_of_grpc_go() -> None:
    error = RPCError("FailedPrecondition", "not healthy")
    assert str(error) == "rpc error: code = FailedPrecondition desc = not healthy"
    assert error.grpc_status == "FailedPrecondition"


def test_a_long_description_is_cut() -> None:
    assert str(RPCError("Unknown", "x" * 10**6)) == "rpc error: code = Unknown desc = " + "x" * 1024


def test_an_empty_description_keeps_its_space() -> None:
    assert str(RPCError("Unknown", "")) == "rpc error: code = Unknown desc = "


def test_a_missed_deadline_has_the_text_of_a_failed_call() -> None:
    error = DeadlineExceededError()
    assert str(error) == "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    assert error.grpc_status == "DeadlineExceeded"


def test_an_unreachable_driver_has_no_grpc_status() -> None:
    assert DriverUnreachableError("/csi.sock: no such file").grpc_status is None
