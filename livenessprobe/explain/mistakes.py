"""The common mistakes: a table of checks, each with its reason and with what to set."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from livenessprobe.explain.forecast import Program
from livenessprobe.explain.sidecars import is_sidecar
from livenessprobe.probing.schedule import MARGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livenessprobe.explain.cases import Case
    from livenessprobe.explain.sidecars import Subject

_LEAST_CPU = 0.1
"""CPUs; with this limit the program starts in 1.4 s, with half of it in 3 s."""

_LEAST_MEMORY, _LEAST_MEMORY_WITH_CHECK = 32, 64
"""MiB; the sidecar alone takes some 18 in its cgroup, and some 35 with one `check` beside it."""

_ANY = {"", "0.0.0.0", "[::]"}  # noqa: S104 - to warn of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is likely not meant: why it matters, and what to set."""

    name: str
    reason: str
    remedy: str


def find_mistakes(subject: Subject, case: Case, *, rivals: int) -> list[Mistake]:
    """Return what is wrong, in the order of the table."""
    return [
        Mistake(name=name, reason=reason, remedy=remedy)
        for name, (found, reason, remedy) in checks(subject, case, rivals=rivals).items()
        if found
    ]


def checks(subject: Subject, case: Case, *, rivals: int) -> Mapping[str, tuple[object, str, str]]:
    """Return all checks, the gravest first: what each found, the reason and the remedy.

    `rivals` is the number of sidecars that want the subject's address, with its own.
    """
    probe, container, port = subject.probe, subject.container, subject.port
    limits, workload = subject.sidecar.limits, subject.workload
    is_ours, may_restart = case.program is Program.OURS, probe.type != "readiness"
    memory = _LEAST_MEMORY_WITH_CHECK if probe.handler == "exec" else _LEAST_MEMORY
    return {
        "windows": (
            is_ours and workload.windows,
            "the image is for Linux, and the nodes run Windows",
            "the image of kubernetes-csi/livenessprobe there",
        ),
        "flags": (
            case.refused,
            f"the sidecar ends at its start, so no probe succeeds: {case.refused}",
            "args without what it refuses",
        ),
        "port-name": (
            isinstance(probe.port, str),
            f"{container.name} declares no port {probe.port}: kubelet neither asks nor restarts",
            f"ports: [{{name: {probe.port}, containerPort: {port}}}] there",
        ),
        "question": (
            not case.question,
            f"the sidecar never answers {probe.asks} with success, so a healthy driver fails too",
            "httpGet: {path: /healthz}",
        ),
        "on-sidecar": (
            may_restart and is_sidecar(container),
            f"the {probe.type} probe restarts its own container {container.name}, not the driver",
            f"{probe.type}Probe in the driver's container",
        ),
        "socket": (
            not _shares_socket(subject),
            f"the directory of {subject.socket} is on no volume that {container.name} mounts too",
            "volumeMounts in both, or --csi-address",
        ),
        "same-port": (
            rivals > 1,
            f"{rivals} sidecars want port {port} of one network, one gets it",
            "--health-port or --http-endpoint: a port of its own for each",
        ),
        "period": (
            may_restart and probe.settings["periodSeconds"] < case.probe_timeout,
            "periodSeconds is shorter than --probe-timeout: look how soon a driver has to be ready",
            f"periodSeconds: {ceil(case.probe_timeout + MARGIN)}, or a higher failureThreshold",
        ),
        "timeout": (
            not is_ours and probe.settings["timeoutSeconds"] < case.probe_timeout,
            "timeoutSeconds is shorter than --probe-timeout: a slow answer counts as a failure",
            f"timeoutSeconds: {ceil(case.probe_timeout)}",
        ),
        "threshold": (
            may_restart and probe.settings["failureThreshold"] == 1,
            "failureThreshold is 1: a single failing answer restarts the container",
            "failureThreshold: 3",
        ),
        "not-ready": (
            is_ours
            and {"liveness", "readiness"} <= subject.probes.keys()
            and case.question != "livez",
            "the liveness probe restarts a driver that only is not ready; a readiness probe tells",
            "livenessProbe: {httpGet: {path: /livez}}",
        ),
        "exposed": (
            workload.node is not None and subject.host in _ANY,
            f"port {port} is open on every address of the node",
            f"--http-endpoint=localhost:{port}, and host: localhost in the probes",
        ),
        "memory": (
            is_ours and limits["memory"] < memory * 2**20,
            "the memory limit is so tight that the kernel may kill the sidecar",
            f"limits: {{memory: {memory}Mi}}",
        ),
        "cpu": (
            is_ours and limits["cpu"] < _LEAST_CPU,
            "the CPU limit makes the sidecar start slowly, and answer late when the node is busy",
            "no CPU limit, or 100m",
        ),
    }


def _shares_socket(subject: Subject) -> bool:
    """Return whether a volume has the socket in both containers, as far as that is known."""
    socket, mounts = PurePosixPath(subject.socket), subject.sidecar.volumes
    if not socket.is_absolute() or "$" in subject.socket or is_sidecar(subject.container):
        return True
    volumes = {PurePosixPath(path): volume for path, volume in mounts.items()}
    mounted = next((each for each in socket.parents if each in volumes), None)
    if mounted is None:
        return False
    on_node = PurePosixPath(volumes[mounted]) / socket.relative_to(mounted)
    return any(
        PurePosixPath(each) in on_node.parents for each in subject.container.volumes.values()
    )
