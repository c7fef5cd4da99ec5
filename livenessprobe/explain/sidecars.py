"""Finds who is probed through which sidecar.

A sidecar is known by its image's or its command's name, or by its container's name; a probe is its
own if it asks the sidecar's port, whichever container of the pod has the probe. An exec probe that
runs `livenessprobe check` counts as a sidecar of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe.explain.forecast import Program
from livenessprobe.flags import csi_address, go, table, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from livenessprobe.explain.objects import Container, Probe, Workload

_NAME = re.compile(r"liveness-?probe")
_PROGRAM = re.compile(r"(.*[/\\])?livenessprobe(\.exe)?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What a livenessprobe container, or an exec probe's command, is started with."""

    workload: Workload
    container: Container
    check: tuple[str, ...]  # the exec probe's command, if it is one
    given: Mapping[str, str]  # the flags' texts as set
    tag: str  # of an image that is livenessprobe's own
    socket: str  # the path on which it looks for the driver
    host: str  # that it listens on; empty: every address
    port: int | None  # likewise; None: not known
    problem: str  # why it is not explained

    @property
    def version(self) -> tuple[int, int] | None:
        """Major and minor of the release; None: the image does not tell."""
        match = re.match(r"v?([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", self.tag)
        return (int(match[1]), int(match[2])) if match else None

    @property
    def wants(self) -> object:
        """The port that it listens on, with the network that it is on; None: none, or not known."""
        if self.port is None or self.check or self.problem:
            return None
        node = self.workload.node
        return self.port, id(self.workload) if node is None or self.workload.windows else node

    @property
    def callers(self) -> list[Probe]:
        """All probes of the pod that ask it."""
        return [p for each in self.workload.containers for p in self.probes_of(each).values()]

    def probes_of(self, container: Container) -> dict[str, Probe]:
        """Return the container's probes that ask it, by type."""
        return {p.type: p for p in container.probes if self._is_asked_by(p, container)}

    def _is_asked_by(self, probe: Probe, container: Container) -> bool:
        if self.check:
            return container is self.container and probe.command == self.check
        if isinstance(probe.port, str):  # a name that is not declared, so the path tells
            return probe.path == "/healthz"
        return probe.port is not None and probe.port == self.port

    @property
    def program(self) -> Program:
        """What it runs.

        This program is known by the tag of its releases, 0.N, where the reference's have a v; by
        --probe-interval; and by questions that only it answers. All else counts as the reference.
        """
        if self.check:
            return Program.CHECK
        is_ours = (
            re.fullmatch(r"0\.[0-9]+(\.[0-9]+)?", self.tag)
            or "probe-interval" in self.given
            or any(p.handler == "grpc" or p.path in {"/livez", "/readyz"} for p in self.callers)
        )
        return Program.OURS if is_ours else Program.REFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One container with those of its probes that ask one sidecar."""

    container: Container
    sidecar: Sidecar
    probes: Mapping[str, Probe]  # by type; at least one
    rivals: int  # the sidecars on its network that want its port, with itself

    @property
    def probe(self) -> Probe:
        """The one that matters: it restarts the driver if one does."""
        return self.probes.get("liveness") or next(iter(self.probes.values()))


def find(workloads: Sequence[Workload]) -> tuple[list[Subject], list[str]]:
    """Return who is probed by whom, and which sidecar is not explained for which reason."""
    sidecars = [sidecar for workload in workloads for sidecar in _sidecars(workload)]
    wanted = Counter(sidecar.wants for sidecar in sidecars if sidecar.wants)
    subjects = [
        Subject(container=each, sidecar=sidecar, probes=probes, rivals=wanted[sidecar.wants])
        for sidecar in sidecars
        for each in sidecar.workload.containers
        if not sidecar.problem and (probes := sidecar.probes_of(each))
    ]
    # Where a check runs in the sidecar's own container, nobody has to ask its port.
    explained = {id(subject.sidecar.container) for subject in subjects}
    skipped: dict[int, str] = {}
    for sidecar in sidecars:
        name, container = sidecar.workload.name, sidecar.container
        if id(container) not in explained:
            reason = sidecar.problem or _unasked(sidecar)
            skipped[id(container)] = f"{name}, sidecar {container.name}: {reason}"
    return subjects, list(skipped.values())


def _unasked(sidecar: Sidecar) -> str:
    if sidecar.port is None:
        return "the port that it listens on is not in the object, so its probes cannot be told"
    return f"no probe of the pod asks its port {sidecar.port}: nothing restarts the driver"


def is_sidecar(container: Container) -> bool:
    """Return whether the container looks like a livenessprobe sidecar."""
    is_named = _NAME.search(container.image) or _NAME.search(container.name)
    return bool(is_named or _PROGRAM.fullmatch(container.program))


def _sidecars(workload: Workload) -> list[Sidecar]:
    """Return the sidecars of the workload, and behind them its checks."""
    sidecars = [_sidecar(workload, each) for each in workload.containers if is_sidecar(each)]
    for container in workload.containers:
        commands = dict.fromkeys(probe.command for probe in container.probes)
        sidecars += [_sidecar(workload, container, each) for each in commands if _is_check(each)]
    return sidecars


def _is_check(command: tuple[str, ...]) -> bool:
    return command[1:2] == ("check",) and bool(_PROGRAM.fullmatch(command[0]))


def _sidecar(workload: Workload, container: Container, check: tuple[str, ...] = ()) -> Sidecar:
    flags = table.CHECK_FLAGS if check else table.FLAGS
    argv = check[2:] if check else container.args
    given: dict[str, str] = {}
    problem = ""
    try:
        given, _ = go.scan(argv, {name: flag.kind for name, flag in flags.items()})
    except (go.UsageError, go.HelpRequested) as error:
        problem = f"it ends at its start: {str(error) or 'it is asked for help'}"
    tag = container.tag if _NAME.search(container.image) else ""
    if not check and container.program and not _PROGRAM.fullmatch(container.program):
        problem = f"its command is {go.quote(container.program)}, which is not read"
    # Before 1.1 other rules held. With --probe-timeout, the tag is not the release's.
    elif not check and re.match(r"v(0|1\.0)\.", tag) and "probe-timeout" not in given:
        problem = f"its image is {tag}, older than --probe-timeout"
    texts = {name: flag.default for name, flag in table.FLAGS.items()} | given
    host, _, port = values.health_address(texts).rpartition(":")
    return Sidecar(
        workload=workload,
        container=container,
        check=check,
        given=given,
        tag=tag,
        socket=csi_address.without_scheme(texts["csi-address"]),
        host=host,
        port=int(port) if re.fullmatch("[0-9]{1,5}", port) else None,
        problem=problem,
    )
