"""The common mistakes: a table of checks, each with its reason and with what to set."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

from livenessprobe.explain.forecast import seconds_to_come_up
from livenessprobe.explain.objects import PROBE_TYPES
from livenessprobe.explain.sidecars import Program, is_sidecar, port_of
from livenessprobe.health.verdict import Question
from livenessprobe.probing.schedule import MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.explain.case import Case
    from livenessprobe.explain.forecast import Settings
    from livenessprobe.explain.objects import Container, Mount, Probe

LEAST_CPU = 0.1
"""CPUs; with this limit the program starts in two seconds, with half of it in four."""

LEAST_MEMORY, LEAST_MEMORY_WITH_CHECK = 32, 48
"""MiB; the program takes 20 and stays below 32 in a crowd; with one `check` beside it takes 37."""

_EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104 - to warn of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is likely not meant: why it matters, and what to set."""

    name: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a check looks at, and what its texts may name: a case, and one of its probes."""

    case: Case
    probe: Probe
    settings: Settings

    @property
    def driver(self) -> Container:
        """The probed container."""
        return self.case.subject.container

    @property
    def sidecar(self) -> Container:
        """The sidecar's container."""
        return self.case.subject.sidecar.container

    @property
    def asked(self) -> str:
        """What the probe asks for."""
        if self.probe.handler == "grpc":
            return f"grpc service {self.probe.service!r}"
        return f"{self.probe.scheme} {self.probe.path}"

    @property
    def least_timeout(self) -> int:
        """The `timeoutSeconds` in which a Probe can end; a command has to start before it."""
        start = 1 if self.case.program is Program.CHECK else 0
        return ceil(self.settings.probe_timeout) + start

    @property
    def least_period(self) -> int:
        """The `periodSeconds` in which a Probe can end."""
        return ceil(self.settings.probe_timeout + MARGIN)

    @property
    def patience(self) -> int:
        """Seconds that a container may take to come up after a restart."""
        return floor(seconds_to_come_up(self.case.program, self.settings, restarted=True))

    @property
    def least_memory(self) -> int:
        """MiB that the sidecar's container needs."""
        checks = self.case.program is Program.CHECK
        return LEAST_MEMORY_WITH_CHECK if checks else LEAST_MEMORY

    @property
    def memory_limit(self) -> float:
        """MiB that the sidecar's container may take; 0: any."""
        return self.sidecar.limits.get("memory", 0.0) / 2**20

    @property
    def cpu_limit(self) -> float:
        """CPUs that the sidecar's container may take; 0: any."""
        return self.sidecar.limits.get("cpu", 0.0)

    @property
    def neighbours(self) -> str:
        """Other sidecars that want the same port."""
        return ", ".join(self.case.neighbours)

    @property
    def refused(self) -> str:
        """Why the program does not start with these flags; empty: it does."""
        return self.case.subject.sidecar.refused_by(self.case.program)


def find_mistakes(case: Case) -> list[Mistake]:
    """Return what is wrong with the case, in the order of the table, each once."""
    views = [
        View(case=case, probe=probe, settings=case.settings(probe))
        for probe in case.subject.probes.values()
    ]
    found = (
        Mistake(
            name=check.name,
            reason=check.reason.format(it=view),
            remedy=check.remedy.format(it=view),
        )
        for check in CHECKS
        for view in views
        if view.probe.type in check.of and check.when(view)
    )
    return list(dict.fromkeys(found))


def _is_windows(it: View) -> bool:
    image, command = it.sidecar.image, it.sidecar.command[:1]
    looks = "windows" in image or any(word.endswith(".exe") for word in command)
    return it.case.subject.workload.windows or looks or ":\\" in it.case.subject.sidecar.socket


def _has_no_socket(it: View) -> bool:
    socket = it.case.subject.sidecar.socket
    known = socket.startswith("/") and "$" not in socket and is_sidecar(it.sidecar)
    return known and _mount(it.sidecar, socket) is None


def _shares_no_socket(it: View) -> bool:
    socket = it.case.subject.sidecar.socket
    mount = _mount(it.sidecar, socket) if is_sidecar(it.sidecar) else None
    if mount is None or is_sidecar(it.driver):
        return False
    on_node = mount.volume.rstrip("/") + socket[len(mount.path.rstrip("/")) :]
    return not any(_is_in(on_node, other.volume) for other in it.driver.mounts)


def _mount(container: Container, path: str) -> Mount | None:
    """Return what the container has mounted at a path."""
    holding = (mount for mount in container.mounts if _is_in(path, mount.path))
    return max(holding, key=lambda mount: len(mount.path), default=None)


def _is_in(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


ALL = PROBE_TYPES
RESTARTING = ("liveness", "startup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row: the types of probes it looks at, when it holds, and the texts about `it`, a view."""

    name: str
    of: tuple[str, ...] = ALL
    when: Callable[[View], bool]
    reason: str
    remedy: str


CHECKS = (
    Check(
        name="windows",
        when=lambda it: it.case.program is not Program.REFERENCE and _is_windows(it),
        reason="its nodes run Windows, and this program runs on Linux",
        remedy="the image of kubernetes-csi/livenessprobe there",
    ),
    Check(
        name="flags",
        when=lambda it: it.refused != "" and not _is_windows(it),
        reason="{it.case.program.value} ends at its start: {it.refused}",
        remedy="args without what it refuses",
    ),
    Check(
        name="port-name",
        when=lambda it: it.probe.handler != "exec" and port_of(it.driver, it.probe) is None,
        reason="the {it.probe.type} probe's port {it.probe.port} is not declared in its own "
        "container {it.driver.name}: kubelet throws each probe away and restarts nothing",
        remedy="ports: [{{name: {it.probe.port}, containerPort: {it.case.subject.sidecar.port}}}] "
        "in {it.driver.name}",
    ),
    Check(
        name="question",
        when=lambda it: it.settings.question is None,
        reason="the {it.probe.type} probe asks for {it.asked}, to which {it.case.program.value} "
        "never answers that all is well",
        remedy="httpGet: {{path: /healthz, scheme: HTTP}}",
    ),
    Check(
        name="on-sidecar",
        of=RESTARTING,
        when=lambda it: is_sidecar(it.driver),
        reason="the {it.probe.type} probe stands in the sidecar's own container {it.driver.name}: "
        "it restarts that, and never the driver",
        remedy="{it.probe.type}Probe in the driver's container",
    ),
    Check(
        name="socket",
        when=_has_no_socket,
        reason="{it.sidecar.name} looks for {it.case.subject.sidecar.socket} where no volume is "
        "mounted",
        remedy="volumeMounts: the driver's volume with the socket's directory",
    ),
    Check(
        name="socket",
        when=_shares_no_socket,
        reason="{it.driver.name} does not mount the volume in which {it.sidecar.name} looks for "
        "{it.case.subject.sidecar.socket}",
        remedy="volumeMounts in {it.driver.name}, or --csi-address",
    ),
    Check(
        name="same-port",
        when=lambda it: bool(it.case.neighbours),
        reason="port {it.case.subject.sidecar.port} is wanted by {it.neighbours} too: of those on "
        "one network only one gets it",
        remedy="--health-port or --http-endpoint: a port of its own for each",
    ),
    Check(
        name="period",
        of=RESTARTING,
        when=lambda it: (
            it.case.program is not Program.OURS and it.settings.period < it.settings.probe_timeout
        ),
        reason="the {it.probe.type} probe's periodSeconds of {it.settings.period} is shorter than "
        "the --probe-timeout of {it.settings.probe_timeout:g} s: a failing answer may take longer "
        "than the period, and kubelet asks less often then",
        remedy="periodSeconds: {it.least_period}",
    ),
    Check(
        name="period",
        of=RESTARTING,
        when=lambda it: (
            it.case.program is Program.OURS and it.settings.period < it.settings.probe_timeout
        ),
        reason="the {it.probe.type} probe's periodSeconds of {it.settings.period} is shorter "
        "than the --probe-timeout of {it.settings.probe_timeout:g} s, and answers take no time: a "
        "driver that is not ready {it.patience} s after a restart is restarted again",
        remedy="periodSeconds: {it.least_period}, or a higher failureThreshold",
    ),
    Check(
        name="timeout",
        when=lambda it: (
            it.case.program is not Program.OURS and it.settings.timeout < it.least_timeout
        ),
        reason="the {it.probe.type} probe's timeoutSeconds of {it.settings.timeout} leaves no time "
        "for the --probe-timeout of {it.settings.probe_timeout:g} s: an answer that is slow but "
        "sound counts as a failure",
        remedy="timeoutSeconds: {it.least_timeout}",
    ),
    Check(
        name="threshold",
        of=RESTARTING,
        when=lambda it: it.settings.failure_threshold == 1,
        reason="the {it.probe.type} probe's failureThreshold is 1: a single failing answer "
        "restarts the container",
        remedy="failureThreshold: 3",
    ),
    Check(
        name="not-ready",
        of=("liveness",),
        when=lambda it: (
            it.case.program is Program.OURS
            and it.settings.question is not Question.LIVEZ
            and "readiness" in it.case.subject.probes
        ),
        reason="the liveness probe restarts a driver that only is not ready, which CSI calls "
        '"otherwise perfectly healthy"; its readiness probe takes it out of service already',
        remedy="livenessProbe: {{httpGet: {{path: /livez}}}}",
    ),
    Check(
        name="exposed",
        when=lambda it: (
            it.case.program is not Program.CHECK
            and it.case.subject.workload.host_network
            and it.case.subject.sidecar.host in _EVERYWHERE
        ),
        reason="{it.sidecar.name} listens on port {it.case.subject.sidecar.port} of every address "
        "of the node, for whoever can reach it",
        remedy="--http-endpoint=localhost:{it.case.subject.sidecar.port}, and host: localhost in "
        "the probes",
    ),
    Check(
        name="memory",
        when=lambda it: (
            it.case.program is not Program.REFERENCE and 0 < it.memory_limit < it.least_memory
        ),
        reason="the memory limit of {it.memory_limit:.0f} MiB is too tight for this program",
        remedy="limits: {{memory: {it.least_memory}Mi}}",
    ),
    Check(
        name="cpu",
        when=lambda it: it.case.program is not Program.REFERENCE and 0 < it.cpu_limit < LEAST_CPU,
        reason="the CPU limit of {it.cpu_limit:g} makes this program start slowly, and answer "
        "late when the node is busy",
        remedy="no CPU limit, or 100m",
    ),
)
"""The checks, the gravest first."""
