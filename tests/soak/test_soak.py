from pathlib import Path

from tests.soak.soak import MOST_KIB, Scale, soak

# This takes a few seconds; a busy machine may do less. `make soak` is the long run.
SHORT = Scale(probes=1_500, requests=6_000, seconds=12.0, clients=3)


def test_nothing_grows_and_every_probe_and_request_is_accounted_for(tmp_path: Path) -> None:
    record = soak(SHORT, tmp_path)
    assert list(record.flaws(MOST_KIB)) == []
