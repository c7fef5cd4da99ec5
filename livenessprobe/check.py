"""`livenessprobe check`: the driver is asked once, and its answer is put into words.

    Probe, within the timeout                -> the verdict, as /healthz would have it
    GetPluginInfo, within what is left of it -> the driver's name

In this order, since the verdict does not depend on the name: the Probe has the whole timeout and
a driver that does nothing else for us. All ends within the one timeout, whatever the driver does,
so an exec probe's `timeoutSeconds` has to be longer than it only by the program's own start.
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
class Answer:
    """What the driver at `socket_path` answered, and whether that makes it healthy."""

    socket_path: str
    result: ProbeResult
    driver_name: str | None
    """None: it was not told, and `driver_name_error` says why."""
    driver_name_error: str | None

    @property
    def healthy(self) -> bool:
        """The verdict, that of /healthz."""
        return is_yes(Question.HEALTHZ, self.result.status)


async def check(config: CheckConfig) -> Answer:
    """Ask the driver once; whatever it does, this takes no longer than the timeout."""
    with closing(Driver(config.socket_path)) as driver:
        result = await probe_once(driver.probe, config.probe_timeout)
        name, error = await _get_name(driver, max(0.0, config.probe_timeout - result.latency))
    return Answer(
        socket_path=config.socket_path, result=result, driver_name=name, driver_name_error=error
    )


async def _get_name(driver: Driver, seconds: float) -> tuple[str | None, str | None]:
    """Return the driver's name and None, or None and why it is not known."""
    try:
        return await call_within(seconds, driver.get_name), None
    except DriverError as error:
        return None, str(error)


def text(answer: Answer) -> str:
    """Put the answer into a line or two; the first has the verdict and, if it is bad, the reason.

    Both the driver's words and the path may be anything, so what is not printable is escaped.
    """
    state = answer.result.status.value
    latency = f"{answer.result.latency * 1000:.1f} ms"
    name, socket = answer.driver_name, answer.socket_path
    if answer.healthy:
        lines = [f"{state}: {name or socket} answered in {latency}"]
        if name is None:
            lines.append(f"its name is unknown: {answer.driver_name_error}")
    else:
        lines = [
            f"not healthy: {answer.result.message}",
            f"{state} after {latency}: {f'{name} at {socket}' if name else socket}",
        ]
    return "".join(f"{strconv.escape(line)}\n" for line in lines)


def json_object(answer: Answer) -> str:
    """Put the answer into one JSON object, a line of ASCII. Its keys are always the same."""
    result = answer.result
    fields: dict[str, object] = {
        "healthy": answer.healthy,
        "state": result.status.value,
        "reason": result.message,
        "grpc_status": result.grpc_status,
        "latency_seconds": round(result.latency, 6),
        "driver_name": answer.driver_name,
        "driver_name_error": answer.driver_name_error,
        "socket": answer.socket_path,
    }
    encodable = {
        key: strconv.without_surrogates(value) if isinstance(value, str) else value
        for key, value in fields.items()
    }
    return json.dumps(encodable) + "\n"


RENDER = {"text": text, "json": json_object}
"""The forms of output, by the names that `--output` takes."""
