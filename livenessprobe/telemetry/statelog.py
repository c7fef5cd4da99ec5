"""Logs changes of the driver's state, and a reminder while the driver is unhealthy.

With -v=5 every Probe has a line. At level 0 there is a line for each change of state: both states,
the reason, how long the previous state lasted, and for how long the driver has been unhealthy. A
state is the Probe's status and gRPC status. For an unreachable driver the reason is part of it too,
since it is one of a few fixed texts, while a driver's own message may differ every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe import klog
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import Question, is_yes

if TYPE_CHECKING:
    from collections.abc import Callable

REMINDER = 60.0
"""Seconds between two lines about the same failing state."""

log = klog.get_logger(__name__)


class StateLog:
    """Logs the results passed to `observe`, for the driver at `socket_path`.

    `driver_name` returns the driver's name, or None while it is unknown.
    """

    def __init__(self, socket_path: str, driver_name: Callable[[], str | None]) -> None:
        self._socket_path = socket_path
        self._driver_name = driver_name
        self._since: ProbeResult | None = None  # first result of the current state
        self._unhealthy_since: ProbeResult | None = None  # first result after the last healthy one
        self._logged_at = 0.0

    def observe(self, result: ProbeResult) -> None:
        """Log one finished Probe, if it changes the state or a reminder is due."""
        log.info("Probe finished", v=5, **self._values(result))
        if self._since is None or _state(self._since) != _state(result):
            self._log_change(result)
            self._since = result
        elif self._unhealthy_since and result.finished_at - self._logged_at >= REMINDER:
            self._log("Health check still failing", result)

    def _log_change(self, result: ProbeResult) -> None:
        before: dict[str, str] = {}
        if self._since is not None:
            before["previous"] = self._since.status.value
            before["lasted"] = _format_seconds(_seconds_from(self._since, result))
        if _is_healthy(result):
            self._log("Health check succeeded", result, **before)
            self._unhealthy_since = None
        else:
            self._unhealthy_since = self._unhealthy_since or result
            self._log("Health check failed", result, **before)

    def _log(self, message: str, result: ProbeResult, **more: str) -> None:
        values = self._values(result) | more
        if self._unhealthy_since is not None and self._unhealthy_since is not result:
            values["unhealthy"] = _format_seconds(_seconds_from(self._unhealthy_since, result))
        if _is_healthy(result):
            log.info(message, v=0, **values)  # without v, a type checker takes it from values
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
