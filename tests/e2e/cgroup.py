"""Creates a control group for one test, below the one that the tests run in.

It supports version 1, where each controller has its own tree, and version 2 with a single tree.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.harness import COMMAND, wait_until

ROOT = Path("/sys/fs/cgroup")


class CGroup:
    """The group at `path`; the names of its files depend on `version`, 1 or 2."""

    def __init__(self, path: Path, version: int) -> None:
        self._path = path
        self._version = version

    @property
    def command(self) -> tuple[str | Path, ...]:
        """The command that runs the sidecar in this group from the start."""
        join = f'echo $$ > {self._path}/cgroup.procs && exec "$0" "$@"'
        return ("/bin/sh", "-c", join, COMMAND)

    def limit_threads(self, number: int | None) -> None:
        """Limit the number of threads; None removes the limit."""
        self._write("pids.max", "max" if number is None else str(number))

    def limit_cpu(self, share: float | None) -> None:
        """Limit the group to this share of one CPU in each 100 ms; None removes the limit."""
        period = 100_000
        quota = None if share is None else int(period * share)
        if self._version == 1:
            self._write("cpu.cfs_period_us", str(period))
            self._write("cpu.cfs_quota_us", str(-1 if quota is None else quota))
        else:
            self._write("cpu.max", f"{'max' if quota is None else quota} {period}")

    def _write(self, name: str, value: str) -> None:
        (self._path / name).write_text(value)


@contextmanager
def own_cgroup(controller: str) -> Iterator[CGroup]:
    """Create a group with this controller, `pids` or `cpu`; skip the test if that is impossible."""
    parent, version = _parent(controller)
    path = parent / f"livenessprobe-test-{uuid4().hex}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"needs a control group of its own: {error}")
    try:
        if not list(path.glob(f"{controller}.*")):
            pytest.skip(f"needs the controller {controller}, which {parent} does not delegate")
        yield CGroup(path, version)
    finally:
        wait_until(lambda: not (path / "cgroup.procs").read_text())
        path.rmdir()


def _parent(controller: str) -> tuple[Path, int]:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    places = {names: place for _, names, place in (line.split(":", 2) for line in lines)}
    for names, place in places.items():
        if controller in names.split(","):
            return ROOT / names / place.lstrip("/"), 1
    parent = ROOT / places.get("", "/").lstrip("/")
    with suppress(OSError):  # if this fails, the group lacks the controller
        (parent / "cgroup.subtree_control").write_text(f"+{controller}")
    return parent, 2
