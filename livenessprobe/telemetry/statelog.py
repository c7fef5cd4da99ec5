"""Logs changes of the driver's health, and a reminder while it is unhealthy.

Every Probe has a line at -v=5. At level 0 there is a line for each change of state: the states, the
reason, how long the previous one lasted, and for how long the driver has been unhealthy. A state is
the Probe's status and gRPC status. For an unreachable driver the reason is part of the state too,
since it is one of a few texts of ours, while a driver's own messages may differ every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe import klog
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question, is_yes

if TYPE_CHECKING:
    from collections.abc import Callable

REMINDER = 60.0
"""Seconds between two lines about the same lasting failure."""

log = klog.get_logger(__name__)


class StateLog:
    """Logs the results passed to `observe`, for the driver at `socket_path`.

    `driver_name` returns the driver's name, or None while it is unknown.
    """

    def __init__(self, socket_path: str, driver_name: Callable[[], str | None]) -> None:
        self._socket_path = socket_path
        self._driver_name = driver_name
        self._since: ProbeResult | None = None  # first result of the current state
        self._bad_since: ProbeResult | None = None  # first result after the last healthy one
        self._logged_at = 0.0

    def observe(self, result: ProbeResult) -> None:
        """Log one finished Probe if its line is due."""
        log.info("Probe finished", v=5, **self._values(result))
        if self._since is None or _state(self._since) != _state(result):
            self._log_change(result)
            self._since = result
        elif self._bad_since and result.finished_at - self._logged_at >= REMINDER:
            self._log("Health check still failing", result)

    def _log_change(self, result: ProbeResult) -> None:
        before: dict[str, str] = {}
        if self._since is not None:
            before["previous"] = self._since.status.value
            before["lasted"] = _format_seconds(_seconds_from(self._since, result))
        if _is_healthy(result):
            self._log("Health check succeeded", result, **before)
            self._bad_since = None
        else:
            self._bad_since = self._bad_since or result
            self._log("Health check failed", result, **before)

    def _log(self, message: str, result: ProbeResult, **more: str) -> None:
        values = self._values(result) | more
        if self._bad_since is not None and self._bad_since is not result:
            values["unhealthy"] = _format_seconds(_seconds_from(self._bad_since, result))
        if _is_healthy(result):
            log.info(message, v=0, **values)  # v, or a type checker looks for it in values
        else:
            log.error(message, **values)
        self._logged_at = result.finished_at

    def _values(self, result: ProbeResult) -> dict[str, str]:
        values = {} if not result.message else {"err": result.message}
        if name := self._driver_name():
            values["driver"] = name
        return values | {
            "socket": self._socket_path,
            "state": result.status.value,
            "latency": _format_seconds(result.latency),
        }


def _is_healthy(result: ProbeResult) -> bool:
    return is_yes(Question.HEALTHZ, result.status)


def _state(result: ProbeResult) -> tuple[object, ...]:
    reason = result.message if result.status is ProbeStatus.UNREACHABLE else None
    return result.status, result.grpc_status, reason


def _seconds_from(earlier: ProbeResult, later: ProbeResult) -> float:
    return later.finished_at - earlier.finished_at


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.3f}s"
