"""The task that learns of a driver's end and return between Probes, so that nobody has to wait.

    last Probe READY       only listens: the driver hangs up when its process dies
    any other, or none     looks every POLL whether the driver has made its socket anew

Either may be told once more while the Probe that it calls for is still in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe.result import ProbeResult, ProbeStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POLL = 0.1
"""Seconds between looks at the socket file while the driver is away or in doubt.

Short beside the second that a caller is promised; a look costs microseconds, and a healthy driver
gets none.
"""


class Watch:
    """What happens to the driver between two Probes. Fed by `observe` while `run` runs."""

    def __init__(self) -> None:
        self._in_doubt = trio.Event()
        self._in_doubt.set()

    def observe(self, result: ProbeResult) -> None:
        """Note whether the driver is healthy, as of its last Probe."""
        if result.status is not ProbeStatus.READY:
            self._in_doubt.set()
        elif self._in_doubt.is_set():
            self._in_doubt = trio.Event()

    async def run(
        self,
        wait_hung_up: Callable[[], Awaitable[None]],
        socket_changed: Callable[[], bool],
        *,
        hung_up: Callable[[], None],
        recreated: Callable[[], None],
    ) -> None:
        """Tell `hung_up` and `recreated` of what the first two see, until cancelled.

        `wait_hung_up` returns whenever the driver has ended an idle connection; `socket_changed`
        compares the socket with that of the last Probe.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look, socket_changed, recreated)
            while True:
                await wait_hung_up()
                if socket_changed():
                    recreated()
                else:
                    hung_up()

    async def _look(
        self, socket_changed: Callable[[], bool], recreated: Callable[[], None]
    ) -> None:
        while True:
            await self._in_doubt.wait()
            if socket_changed():
                recreated()
            await trio.sleep(POLL)
