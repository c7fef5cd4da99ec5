"""Runs the task that detects, between two Probes, that the driver has exited or come back.

    always                       waits until the driver closes the held connection; the kernel does
                                 so when the driver's process dies
    while the last Probe is      also checks every POLL whether the socket file is a new one, and
    not READY                    once more when a Probe is READY again: it may have been the first
                                 to see the new one

Both may be reported again while the Probe that follows is still in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe.health.result import ProbeResult, ProbeStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POLL = 0.1
"""Seconds between two checks of the socket file while the driver is unhealthy.

A fraction of the second in which callers see a recovery; a check costs a call in a thread.
"""

CHECK_TIMEOUT = 1.0
"""Seconds that a check of the socket file may take after the driver has closed its connection.

If the file system hangs, the closed connection is reported without it.
"""


class Watch:
    """Reports a driver that exits or comes back. While `run` runs, `observe` gets each result."""

    def __init__(self) -> None:
        self._unhealthy = trio.Event()

    def observe(self, result: ProbeResult) -> None:
        """Record whether the driver is unhealthy."""
        if result.status is not ProbeStatus.READY:
            self._unhealthy.set()
        elif self._unhealthy.is_set():
            self._unhealthy = trio.Event()

    async def run(
        self,
        wait_disconnected: Callable[[], Awaitable[None]],
        socket_changed: Callable[[], Awaitable[bool]],
        *,
        disconnected: Callable[[], None],
        recreated: Callable[[], None],
    ) -> None:
        """Call `disconnected` or `recreated` for each event, until cancelled.

        `wait_disconnected` returns when the driver has closed the held connection;
        `socket_changed` returns whether the socket is another one than at the last Probe.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._poll, socket_changed, recreated)
            while True:
                await wait_disconnected()
                changed = False
                with trio.move_on_after(CHECK_TIMEOUT):
                    changed = await socket_changed()
                if changed:
                    recreated()
                else:
                    disconnected()

    async def _poll(
        self, socket_changed: Callable[[], Awaitable[bool]], recreated: Callable[[], None]
    ) -> None:
        while True:
            await self._unhealthy.wait()
            is_unhealthy = True
            while is_unhealthy:
                is_unhealthy = self._unhealthy.is_set()
                if await socket_changed():
                    recreated()
                await trio.sleep(POLL)
