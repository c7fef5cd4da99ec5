"""`make screenshot`: the status page for the README, light and dark, beside this file.

An hour in the life of a driver, told by a script to the program's own endpoints: a kubelet that
asks every ten seconds, an update of the driver, a backend that fails, and one hang that has just
begun to be a worry.
"""

import random
from pathlib import Path

from livenessprobe.health.result import ProbeStatus
from tests.browser.chromium import Tab, open_chromium, show
from tests.world import PROBE_TIMEOUT, World

READY, NOT_READY, FAILED, TIMED_OUT, UNREACHABLE = ProbeStatus

HERE = Path(__file__).parent

PERIOD = 10
"""Seconds from one request of the kubelet to the next."""

# From which second on, which state, why, and how long a Probe takes then, in seconds.
LIFE = (
    (0, READY, "", 0.002),
    (840, UNREACHABLE, "/csi/csi.sock: connection refused: no driver listens on this socket", 3e-4),
    (880, NOT_READY, "driver responded but is not ready", 0.003),
    (930, READY, "", 0.002),
    (
        2310,
        FAILED,
        "rpc error: code = FailedPrecondition desc = the storage backend is on fire",
        0.03,
    ),
    (2460, READY, "", 0.003),
    (
        3510,
        TIMED_OUT,
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        PROBE_TIMEOUT,
    ),
)


def live() -> World:
    """Live through the hour."""
    world = World(driver_name="disks.csi.example.com")
    chance = random.Random(1)  # noqa: S311 - not for secrets
    for request in range(PERIOD, 3600, PERIOD):
        _, state, reason, usual = next(row for row in reversed(LIFE) if row[0] <= request)
        for before in (3.25, 0.25):
            latency = usual
            if state is not TIMED_OUT:
                latency *= chance.lognormvariate(0, 0.4)
                latency *= 60 if chance.random() < 0.01 else 1  # a disk that wakes up
            world.observe(state, request - before + latency, latency=latency, message=reason)
        world.schedule.record_request(float(request), healthy=state is READY)
    world.now += 0.4
    return world


def main() -> None:
    """Write the pictures."""
    with open_chromium() as browser:
        for scheme in ("light", "dark"):
            with browser.new_context(
                viewport={"width": 960, "height": 922},
                color_scheme=scheme,
                locale="en-GB",
                timezone_id="UTC",
            ) as context:
                show(context, live())
                tab = Tab(context)
                tab.open()
                picture = HERE / f"status-page-{scheme}.png"
                tab.page.screenshot(path=picture)
                print(picture)  # noqa: T201 - to know where to look


if __name__ == "__main__":
    main()
