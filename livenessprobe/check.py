"""Implements `livenessprobe check`: probes the driver once and formats the result.

    Probe, within the timeout                     -> whether the driver is healthy, as in /healthz
    GetPluginInfo, within the rest of the timeout -> the driver's name

The Probe comes first and has the whole timeout, since the verdict does not depend on the name. Both
end within the one timeout, so an exec probe's `timeoutSeconds` has to be longer than it only by the
time that the program takes to start.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe import strconv
from livenessprobe.driver import Driver
from livenessprobe.health.errors import DriverError
from livenessprobe.health.verdict import Question, is_yes
from livenessprobe.probing.deadline import call_within
from livenessprobe.probing.probe import probe_once

if TYPE_CHECKING:
    from livenessprobe.flags import CheckConfig
    from livenessprobe.health.result import ProbeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of a Probe of the driver at `socket_path`, and the driver's name."""

    socket_path: str
    result: ProbeResult
    driver_name: str | None
    driver_name_error: str | None
    """Why the name is not known; None if it is."""

    @property
    def healthy(self) -> bool:
        """Whether the driver is healthy, by the same rule as `/healthz`."""
        return is_yes(Question.HEALTHZ, self.result.status)


async def check(config: CheckConfig) -> CheckResult:
    """Probe the driver once and get its name, together within `config.probe_timeout` seconds."""
    with closing(Driver(config.socket_path)) as driver:
        result = await probe_once(driver.probe, config.probe_timeout)
        name, error = await _get_name(driver, max(0.0, config.probe_timeout - result.latency))
    return CheckResult(
        socket_path=config.socket_path, result=result, driver_name=name, driver_name_error=error
    )


async def _get_name(driver: Driver, seconds: float) -> tuple[str | None, str | None]:
    """Return the driver's name and None, or None and the error."""
    try:
        return await call_within(seconds, driver.get_name), None
    except DriverError as error:
        return None, str(error)


def text(check_result: CheckResult) -> str:
    """Return one or two lines; the first says whether the driver is healthy, and if not, why.

    Characters that are not printable are escaped, in the driver's messages and in the path.
    """
    state = check_result.result.status.value
    latency = f"{check_result.result.latency * 1000:.1f} ms"
    name, socket = check_result.driver_name, check_result.socket_path
    if check_result.healthy:
        lines = [f"{state}: {name or socket} answered in {latency}"]
        if name is None:
            lines.append(f"its name is unknown: {check_result.driver_name_error}")
    else:
        lines = [
            f"not healthy: {check_result.result.message}",
            f"{state} after {latency}: {f'{name} at {socket}' if name else socket}",
        ]
    return "".join(f"{strconv.escape(line)}\n" for line in lines)


def json_object(check_result: CheckResult) -> str:
    """Return one JSON object as a line of ASCII; its keys are always the same."""
    result = check_result.result
    fields: dict[str, object] = {
        "healthy": check_result.healthy,
        "state": result.status.value,
        "reason": result.message,
        "grpc_status": result.grpc_status,
        "latency_seconds": round(result.latency, 6),
        "driver_name": check_result.driver_name,
        "driver_name_error": check_result.driver_name_error,
        "socket": check_result.socket_path,
    }
    encodable = {
        key: strconv.without_surrogates(value) if isinstance(value, str) else value
        for key, value in fields.items()
    }
    return json.dumps(encodable) + "\n"


RENDER = {"text": text, "json": json_object}
"""The output formats, by the value of `--output`."""
