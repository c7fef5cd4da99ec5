import pytest
import trio
import trio.testing

from livenessprobe.health.errors import DeadlineExceededError
from livenessprobe.probing.deadline import call_within


async def test_the_call_gets_its_timeout_and_its_result_is_returned(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def call(seconds: float) -> str:
        await trio.sleep(2.9)
        return f"got {seconds}"

    assert await call_within(3.0, call) == "got 3.0"


async def test_a_call_that_takes_longer_is_cancelled_at_its_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    with pytest.raises(DeadlineExceededError):
        await call_within(3.0, trio.sleep)  # its argument is 3.0, so it ends at the deadline
    assert trio.current_time() - start == pytest.approx(3.0)


async def test_cancellation_from_outside_raises_no_deadline_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hang(_: float) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(1.0) as outer:
        await call_within(3.0, hang)
    assert outer.cancelled_caught
