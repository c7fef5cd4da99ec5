"""Runs the sidecar with a wall clock that steps a day forward or back whenever it is read."""

import random
import sys
import time

DAY = 24 * 60 * 60

wall_clock = time.time
chance = random.Random(5)  # noqa: S311 - not for secrets


def stepped() -> float:
    return wall_clock() + chance.choice((-DAY, 0, DAY))


if __name__ == "__main__":
    # Before the imports, for modules that import these functions by name.
    time.time = stepped
    time.time_ns = lambda: int(stepped() * 1e9)

    from livenessprobe.__main__ import main

    sys.exit(main())
