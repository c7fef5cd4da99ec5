"""The task that notices a driver's end and return between Probes, so that nobody has to wait.

    last Probe READY, or none yet    waits: the kernel closes the driver's connection when its
                                     process dies
    any other                        looks every POLL whether the driver has made its socket anew

Both may be reported once more while the Probe that follows is still in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe.health.result import ProbeResult, ProbeStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POLL = 0.1
"""Seconds between looks at the socket file while the driver is away or in doubt.

Short beside the second that a caller is promised; a look costs a call in a thread, and a healthy
driver gets none.
"""

LOOK_TIMEOUT = 1.0
"""Seconds that a look at the socket file may take when the driver has closed its connection.

If its directory hangs, what is known is that much: the driver is gone.
"""


class Watch:
    """What happens to the driver between two Probes. Fed by `observe` while `run` runs."""

    def __init__(self) -> None:
        self._in_doubt = trio.Event()

    def observe(self, result: ProbeResult) -> None:
        """Note whether the driver is healthy, as of its last Probe."""
        if result.status is not ProbeStatus.READY:
            self._in_doubt.set()
        elif self._in_doubt.is_set():
            self._in_doubt = trio.Event()

    async def run(
        self,
        wait_disconnected: Callable[[], Awaitable[None]],
        socket_changed: Callable[[], Awaitable[bool]],
        *,
        disconnected: Callable[[], None],
        recreated: Callable[[], None],
    ) -> None:
        """Call `disconnected` and `recreated` for what the first two see, until cancelled.

        `wait_disconnected` returns whenever the driver has closed an idle connection;
        `socket_changed` compares the socket with that of the last Probe.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._poll, socket_changed, recreated)
            while True:
                await wait_disconnected()
                changed = False
                with trio.move_on_after(LOOK_TIMEOUT):
                    changed = await socket_changed()
                if changed:
                    recreated()
                else:
                    disconnected()

    async def _poll(
        self, socket_changed: Callable[[], Awaitable[bool]], recreated: Callable[[], None]
    ) -> None:
        while True:
            await self._in_doubt.wait()
            if await socket_changed():
                recreated()
            await trio.sleep(POLL)
