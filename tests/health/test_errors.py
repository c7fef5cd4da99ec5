from livenessprobe.health.errors import DeadlineExceededError, DriverUnreachableError, RPCError


def test_a_failed_call_is_worded_as_go_words_it() -> None:
    error = RPCError("FailedPrecondition", "not healthy")
    assert str(error) == "rpc error: code = FailedPrecondition desc = not healthy"
    assert error.grpc_status == "FailedPrecondition"


def test_a_description_has_an_end() -> None:
    assert str(RPCError("Unknown", "x" * 10**6)) == "rpc error: code = Unknown desc = " + "x" * 1024


def test_an_empty_description_keeps_its_space() -> None:
    assert str(RPCError("Unknown", "")) == "rpc error: code = Unknown desc = "


def test_a_missed_deadline_is_a_failed_call() -> None:
    error = DeadlineExceededError()
    assert str(error) == "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    assert error.grpc_status == "DeadlineExceeded"


def test_an_unreachable_driver_has_no_grpc_status() -> None:
    assert DriverUnreachableError("/csi.sock: no such file").grpc_status is None
