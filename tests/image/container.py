"""A container of the image, used as the other process-level tests use the installed command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from tests.e2e.cgroup import ROOT as CGROUPS
from tests.e2e.cgroup import CGroup
from tests.e2e.harness import Sidecar
from tests.image.build import IMAGE, environment, podman, tool

# As the manifests have it, see deploy/.
LOCKED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the container's control group has counted; in bytes."""

    anonymous: int
    current: int
    peak: int
    oom_kills: int


class Container(Sidecar):
    """The image under `podman run` with these options; `flags` are its arguments.

    Leaving the `with` block asks it to stop, as with any sidecar, and removes it.
    """

    def __init__(self, *flags: str, log: Path, options: Sequence[str] = LOCKED) -> None:
        self.name = f"livenessprobe-{uuid4().hex}"
        settings = [f"{name}={value}" for name, value in environment().items()]
        run = (tool("podman"), "run", f"--name={self.name}", *options, IMAGE)
        super().__init__(*flags, log=log, command=("env", *settings, *run))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *rest: object) -> None:
        try:
            super().__exit__(failure, *rest)
        finally:
            podman("rm", "--force", "--time=0", self.name)

    @property
    def pid(self) -> int:
        """The id that process 1 of the container has outside of it."""
        return int(self.inspect("{{.State.Pid}}"))

    def inspect(self, template: str) -> str:
        """Return what podman knows of the container."""
        return podman("container", "inspect", f"--format={template}", self.name)

    def memory(self) -> Memory:
        """Read what the container's control group has counted so far."""
        path, version = self._cgroup("memory")
        files = _FILES[version]
        numbers = dict(line.split() for line in (path / "memory.stat").read_text().splitlines())
        events = dict(line.split() for line in (path / files.events).read_text().splitlines())
        return Memory(
            anonymous=int(numbers[files.anonymous]),
            current=int((path / files.current).read_text()),
            peak=int((path / files.peak).read_text()),
            oom_kills=int(events["oom_kill"]),
        )

    def lift_cpu_limit(self) -> None:
        """Give it all of the CPU from now on."""
        CGroup(*self._cgroup("cpu")).limit_cpu(None)

    def _cgroup(self, controller: str) -> tuple[Path, int]:
        """Return where the container's control group is, and which version it has."""
        lines = Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()
        places = {names: place for _, names, place in (line.split(":", 2) for line in lines)}
        for names, place in places.items():
            if controller in names.split(","):
                return CGROUPS / names / place.lstrip("/"), 1
        return CGROUPS / places[""].lstrip("/"), 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """What a version of control groups calls the files, and a row in memory.stat."""

    anonymous: str
    current: str
    peak: str
    events: str


_FILES = {
    1: _Files(
        anonymous="rss",
        current="memory.usage_in_bytes",
        peak="memory.max_usage_in_bytes",
        events="memory.oom_control",
    ),
    2: _Files(
        anonymous="anon",
        current="memory.current",
        peak="memory.peak",
        events="memory.events",
    ),
}
