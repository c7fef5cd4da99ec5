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
"""MiB; the sidecar alone takes 18.3 in its cgroup, and 34.5 with one `check` beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is likely not meant: why it matters, and what to set."""

    name: str
    reason: str
    remedy: str


def find_mistakes(subject: Subject, case: Case) -> list[Mistake]:
    """Return what is wrong, in the order of the table."""
    return [
        Mistake(name=name, reason=reason, remedy=remedy)
        for name, (found, reason, remedy) in checks(subject, case).items()
        if found
    ]


def checks(subject: Subject, case: Case) -> Mapping[str, tuple[object, str, str]]:
    """Return all checks, the gravest first: what each found, the reason and the remedy."""
    probe, container, sidecar = subject.probe, subject.container, subject.sidecar
    port = sidecar.port
    probe_timeout = case.probe_timeout
    is_check, is_reference = case.program is Program.CHECK, case.program is Program.REFERENCE
    may_restart = probe.type != "readiness"
    memory = _LEAST_MEMORY_WITH_CHECK if is_check else _LEAST_MEMORY
    return {
        "windows": (
            sidecar.workload.windows and not is_reference,
            "its nodes run Windows, and this program runs on Linux",
            "the image of kubernetes-csi/livenessprobe there",
        ),
        "flags": (
            case.refused,
            f"{case.program} ends at its start: {case.refused}",
            "args without what it refuses",
        ),
        "port-name": (
            isinstance(probe.port, str),
            f"{container.name} declares no port {probe.port}, so kubelet throws each probe away",
            f"ports: [{{name: {probe.port}, containerPort: {port}}}] there",
        ),
        "question": (
            not case.question,
            f"to the question {probe.asks} {case.program} never answers that all is well",
            "httpGet: {path: /healthz}",
        ),
        "on-sidecar": (
            may_restart and is_sidecar(container),
            f"the {probe.type} probe restarts its own container {container.name}, not the driver",
            f"{probe.type}Probe in the driver's container",
        ),
        "socket": (
            not _shares_socket(subject),
            f"the directory of {sidecar.socket} is on no volume that {container.name} mounts too",
            "volumeMounts in both, or --csi-address",
        ),
        "same-port": (
            subject.rivals > 1,
            f"{subject.rivals} sidecars want port {port} of one network, one gets it",
            "--health-port or --http-endpoint: a port of its own for each",
        ),
        "period": (
            may_restart and probe.settings["periodSeconds"] < probe_timeout,
            "periodSeconds is shorter than --probe-timeout: look how soon a driver has to be ready",
            f"periodSeconds: {ceil(probe_timeout + MARGIN)}, or a higher failureThreshold",
        ),
        "timeout": (
            case.program is not Program.OURS and probe.settings["timeoutSeconds"] < probe_timeout,
            "timeoutSeconds is shorter than --probe-timeout: a slow answer counts as a failure",
            f"timeoutSeconds: {ceil(probe_timeout)}",
        ),
        "threshold": (
            may_restart and probe.settings["failureThreshold"] == 1,
            "failureThreshold is 1: a single failing answer restarts the container",
            "failureThreshold: 3",
        ),
        "not-ready": (
            case.program is Program.OURS
            and {"liveness", "readiness"} <= subject.probes.keys()
            and case.question != "livez",
            "the liveness probe restarts a driver that only is not ready; a readiness probe tells",
            "livenessProbe: {httpGet: {path: /livez}}",
        ),
        "exposed": (
            sidecar.host in {"", "0.0.0.0", "[::]"}  # noqa: S104 - to warn of it
            and sidecar.workload.node is not None
            and not is_check,
            f"port {port} is open on every address of the node",
            f"--http-endpoint=localhost:{port}, and host: localhost in the probes",
        ),
        "memory": (
            sidecar.container.limits["memory"] < memory * 2**20 and not is_reference,
            "the memory limit is too tight for this program",
            f"limits: {{memory: {memory}Mi}}",
        ),
        "cpu": (
            sidecar.container.limits["cpu"] < _LEAST_CPU and not is_reference,
            "the CPU limit makes this program start slowly, and answer late when the node is busy",
            "no CPU limit, or 100m",
        ),
    }


def _shares_socket(subject: Subject) -> bool:
    """Return whether a volume has the socket in both containers, as far as that is known."""
    driver, sidecar = subject.container, subject.sidecar.container
    socket = PurePosixPath(subject.sidecar.socket)
    is_known = socket.is_absolute() and "$" not in subject.sidecar.socket
    if not is_known or is_sidecar(driver) or driver is sidecar:
        return True
    volumes = {PurePosixPath(path): volume for path, volume in sidecar.volumes.items()}
    mounted = next((each for each in socket.parents if each in volumes), None)
    if mounted is None:
        return False
    on_node = PurePosixPath(volumes[mounted]) / socket.relative_to(mounted)
    return any(PurePosixPath(volume) in on_node.parents for volume in driver.volumes.values())
