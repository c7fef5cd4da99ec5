"""The gRPC health service, `grpc.health.v1.Health`, which the kubelet's `grpc` probes call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from generated.grpc.health.v1 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthCheckResponseServingStatus,
    HealthListRequest,
    HealthListResponse,
)
from livenessprobe.endpoints import grpc
from livenessprobe.health.verdict import SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.health.verdict import Question, Verdict
    from livenessprobe.server.asgi import Routes
    from livenessprobe.server.response import Headers

_STATUS: dict[bool, Any] = {  # mypy takes a betterproto.Enum's members for plain numbers
    True: HealthCheckResponseServingStatus.SERVING,
    False: HealthCheckResponseServingStatus.NOT_SERVING,
}


def routes(ask: Callable[[Question], Verdict]) -> Routes:
    """Return the endpoints of the service, without `Watch`."""

    def check(request: HealthCheckRequest) -> grpc.Reply:
        question = SERVICES.get(request.service)
        if question is None:
            raise GRPCError(Status.NOT_FOUND, "unknown service")
        verdict = ask(question)
        return grpc.Reply(message=_response(verdict), metadata=_metadata(verdict))

    def list_all(_: HealthListRequest) -> grpc.Reply:
        statuses = {name: _response(ask(question)) for name, question in SERVICES.items()}
        return grpc.Reply(message=HealthListResponse(statuses=statuses))

    return {
        "/grpc.health.v1.Health/Check": grpc.unary(HealthCheckRequest, check),
        "/grpc.health.v1.Health/List": grpc.unary(HealthListRequest, list_all),
    }


def _response(verdict: Verdict) -> HealthCheckResponse:
    return HealthCheckResponse(status=_STATUS[verdict.healthy])


def _metadata(verdict: Verdict) -> Headers:
    reason = (b"reason", grpc.percent_encode(verdict.reason))
    return (reason,) if verdict.last is None else (reason, (b"age", b"%d" % verdict.age))
