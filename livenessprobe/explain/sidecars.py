"""Finds who is probed through which sidecar.

A sidecar is known by its image's or its command's name, or by its container's name; a probe is its
own if it asks the sidecar's port, whichever container of the pod has the probe. An exec probe that
runs `livenessprobe check` counts as a sidecar of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from livenessprobe.explain.forecast import Program
from livenessprobe.flags import go, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from livenessprobe.explain.objects import Container, Probe, Workload

_NAME = re.compile(r"liveness-?probe")
_COMMAND = re.compile(r"(.*[/\\])?livenessprobe(\.exe)?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What a livenessprobe container, or an exec probe's command, is started with."""

    container: Container
    check: tuple[str, ...]  # the exec probe's command, if it is one
    given: Mapping[str, str]  # the flags' texts as set
    problem: str  # why it is not explained

    def is_asked_by(self, probe: Probe, container: Container) -> bool:
        """Return whether the probe of the container asks this sidecar."""
        if self.check or probe.handler == "exec":
            return container is self.container and probe.command == self.check != ()
        if isinstance(probe.port, str):  # a name that is not declared, so the path tells
            return probe.path == "/healthz"
        return probe.port is not None and probe.port == self.endpoint[1]

    @property
    def tag(self) -> str:
        """The tag of an image that is livenessprobe's own."""
        name, tag = _image(self.container)
        return tag if _NAME.search(name) else ""

    @property
    def version(self) -> tuple[int, int] | None:
        """Major and minor of the release; None: the image does not tell."""
        match = re.match(r"v?([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", self.tag)
        return (int(match[1]), int(match[2])) if match else None

    @property
    def socket(self) -> str:
        """The path on which it looks for the driver."""
        address = self.given.get("csi-address", table.FLAGS["csi-address"].default)
        return re.sub("^unix:(//)?", "", address)

    @property
    def endpoint(self) -> tuple[str, int | None]:
        """The host, empty for every address, and port that it listens on; None: not known."""
        port = self.given.get("health-port", table.FLAGS["health-port"].default)
        host, _, port = (self.given.get("http-endpoint") or f":{port}").rpartition(":")
        return host, int(port) if re.fullmatch("[0-9]{1,5}", port) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One container with those of its probes that ask one sidecar."""

    workload: Workload
    container: Container
    sidecar: Sidecar
    probes: Mapping[str, Probe]  # by type; at least one
    callers: Sequence[Probe]  # all probes that ask the sidecar, those of other containers too
    rivals: int = 1  # the sidecars on its network that want its port, with itself

    @property
    def probe(self) -> Probe:
        """The one that matters: it restarts the driver if one does."""
        return self.probes.get("liveness") or next(iter(self.probes.values()))

    @property
    def program(self) -> Program:
        """What the sidecar runs.

        This program is known by the tag of its releases, 0.N, where the reference's have a v; by
        --probe-interval; and by questions that only it answers. All else counts as the reference.
        """
        if self.sidecar.check:
            return Program.CHECK
        is_ours = (
            re.fullmatch(r"0\.[0-9]+(\.[0-9]+)?", self.sidecar.tag)
            or "probe-interval" in self.sidecar.given
            or any(each.handler == "grpc" or each.path in _OURS_ONLY for each in self.callers)
        )
        return Program.OURS if is_ours else Program.REFERENCE


_OURS_ONLY = {"/livez", "/readyz"}


def find(workload: Workload) -> tuple[list[Subject], list[Sidecar], list[str]]:
    """Return who is probed by whom, all sidecars, and what is not explained for which reason."""
    sidecars = [_sidecar(each) for each in workload.containers if is_sidecar(each)]
    checks = {
        (container.name, probe.command): _started(container, probe.command)
        for container in workload.containers
        for probe in container.probes
        if _COMMAND.fullmatch("".join(probe.command[:1])) and probe.command[1:2] == ("check",)
    }
    subjects: list[Subject] = []
    reasons: dict[str, str] = {}
    for sidecar in (*sidecars, *checks.values()):
        asking = [
            (container, {p.type: p for p in container.probes if sidecar.is_asked_by(p, container)})
            for container in workload.containers
        ]
        callers = [probe for _, probes in asking for probe in probes.values()]
        if sidecar.problem or not callers:
            reasons[sidecar.container.name] = sidecar.problem or _unasked(sidecar)
            continue
        subjects += [
            Subject(
                workload=workload,
                container=container,
                sidecar=sidecar,
                probes=probes,
                callers=callers,
            )
            for container, probes in asking
            if probes
        ]
    # Where a check runs in the sidecar's own container, nobody has to ask its port.
    explained = {subject.sidecar.container.name for subject in subjects}
    skipped = [
        f"{workload.name}, sidecar {name}: {reason}"
        for name, reason in reasons.items()
        if name not in explained
    ]
    return subjects, sidecars, skipped


def is_sidecar(container: Container) -> bool:
    """Return whether the container looks like a livenessprobe sidecar."""
    is_named = _NAME.search(_image(container)[0]) or _NAME.search(container.name)
    return bool(is_named or _COMMAND.fullmatch("".join(container.command[:1])))


def _image(container: Container) -> tuple[str, str]:
    """Return the last part of the image's name, and its tag."""
    name, _, tag = container.image.partition("@")[0].rpartition("/")[2].partition(":")
    return name, tag


def _sidecar(container: Container) -> Sidecar:
    sidecar = _started(container, ())
    command = container.command[:1] or ("livenessprobe",)
    if not _COMMAND.fullmatch(command[0]):
        return replace(sidecar, problem=f"its command is {go.quote(command[0])}, which is not read")
    # Before 1.1 other rules held. With --probe-timeout, the tag is not the release's.
    if re.match(r"v(0|1\.0)\.", sidecar.tag) and "probe-timeout" not in sidecar.given:
        return replace(sidecar, problem=f"its image is {sidecar.tag}, older than --probe-timeout")
    return sidecar


def _started(container: Container, check: tuple[str, ...]) -> Sidecar:
    """Return what runs with the arguments of the container, or of a check in it."""
    flags = table.CHECK_FLAGS if check else table.FLAGS
    argv = check[2:] if check else (*container.command[1:], *container.args)
    given: dict[str, str] = {}
    problem = ""
    try:
        given, _ = go.scan(argv, {name: flag.kind for name, flag in flags.items()})
    except (go.UsageError, go.HelpRequested) as error:
        problem = f"it ends at its start: {str(error) or 'it is asked for help'}"
    return Sidecar(container=container, check=check, given=given, problem=problem)


def _unasked(sidecar: Sidecar) -> str:
    port = sidecar.endpoint[1]
    if port is None:
        return "the port that it listens on is not in the object, so its probes cannot be told"
    return f"no probe of the pod asks its port {port}: nothing restarts the driver"
