"""The log of the driver's health: a line for every change, a reminder while it is bad.

A consumer of results. Every Probe has a line at -v=5; at level 0 only what an operator has to
know: from which state to which, why, and how long the old one lasted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe import klog
from livenessprobe.result import ProbeResult, ProbeStatus

if TYPE_CHECKING:
    from collections.abc import Callable

REMINDER = 60.0
"""Seconds between the lines about one failure that stays."""

log = klog.get_logger(__name__)


class StateLog:
    """Logs what `observe` is fed with. `driver_name` returns the name if it is known by now."""

    def __init__(self, driver_name: Callable[[], str | None]) -> None:
        self._driver_name = driver_name
        self._since: ProbeResult | None = None  # the first result of the state that holds
        self._logged_at = 0.0

    def observe(self, result: ProbeResult) -> None:
        """Log one finished Probe, if it is worth a line."""
        log.info("Probe finished", v=5, **self._values(result))
        since = self._since
        if since is None or _state(since) != _state(result):
            self._since = result
            self._log_change(since, result)
        elif _is_bad(result) and result.finished_at - self._logged_at >= REMINDER:
            self._logged_at = result.finished_at
            lasted = _seconds(result.finished_at - since.finished_at)
            log.error(
                "Health check still failing",
                err=result.message,
                lasted=lasted,
                **self._values(result),
            )

    def _log_change(self, since: ProbeResult | None, result: ProbeResult) -> None:
        values = self._values(result)
        if since is not None:
            values["previous"] = since.status.value
            values["lasted"] = _seconds(result.finished_at - since.finished_at)
        if _is_bad(result):
            self._logged_at = result.finished_at
            log.error("Health check failed", err=result.message, **values)
        else:
            log.info("Health check succeeded", v=0, **values)

    def _values(self, result: ProbeResult) -> dict[str, object]:
        values: dict[str, object] = {
            "state": result.status.value,
            "latency": _seconds(result.latency),
        }
        name = self._driver_name()
        return values if name is None else {"driver": name, **values}


def _state(result: ProbeResult) -> tuple[ProbeStatus, str | None]:
    return result.status, result.grpc_status


def _is_bad(result: ProbeResult) -> bool:
    return result.status is not ProbeStatus.READY


def _seconds(value: float) -> str:
    return f"{value:.3f}s"
