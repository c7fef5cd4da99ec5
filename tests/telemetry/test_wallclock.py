import time

import pytest
import trio

from livenessprobe.telemetry.wallclock import STEP, WallClock


async def test_the_offset_gives_the_wall_clocks_time() -> None:
    clock = WallClock()
    assert clock.offset + trio.current_time() == pytest.approx(time.time(), abs=0.5)


async def test_the_offset_is_constant_until_the_wall_clock_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = WallClock()
    before, now = clock.offset, time.time
    monkeypatch.setattr(time, "time", lambda: now() + 0.9 * STEP)
    assert clock.offset == before
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    assert clock.offset == pytest.approx(before + 3600, abs=0.5)
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    assert clock.offset == pytest.approx(before - 3600, abs=0.5)
