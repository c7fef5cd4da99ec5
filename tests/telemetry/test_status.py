from livenessprobe.health.result import ProbeStatus
from tests.world import World


def test_the_state_is_that_of_the_last_probe_until_it_expires() -> None:
    world = World()
    assert world().state is None
    for status in ProbeStatus:
        world.observe(status, 10.0)
        assert world().state is status
    world.now = 1000.0
    assert world().verdict.is_expired
    assert world().state is None
