"""Probes that a driver answers as it is told, on trio's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from livenessprobe.health.errors import DriverError
    from livenessprobe.probing.probe import Probe


def answering(ready: bool, *, after: float = 0.0) -> Probe:  # noqa: FBT001 - reads well
    async def probe(_: float) -> bool:
        await trio.sleep(after)
        return ready

    return probe


def raising(error: DriverError, *, after: float = 0.0) -> Probe:
    async def probe(_: float) -> bool:
        await trio.sleep(after)
        raise error

    return probe
