"""The common mistakes: a table of checks, each with its reason and with what to set."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from livenessprobe.explain.forecast import Program
from livenessprobe.explain.sidecars import is_sidecar
from livenessprobe.probing.schedule import MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from livenessprobe.explain.cases import Case
    from livenessprobe.explain.sidecars import Subject

_OURS, _REFERENCE, _CHECK = (
    each.value for each in (Program.OURS, Program.REFERENCE, Program.CHECK)
)

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


@dataclass(frozen=True, slots=True)
class _Check:
    """A row: its texts may name the subject `s`, the case `c`, and what `finds` returned."""

    name: str
    finds: Callable[[Subject, Case], object]
    reason: str
    remedy: str


def find_mistakes(subject: Subject, case: Case) -> Iterator[Mistake]:
    """Yield what is wrong, in the order of the table."""
    for check in CHECKS:
        found = check.finds(subject, case)
        if found:
            yield Mistake(
                name=check.name,
                reason=check.reason.format(s=subject, c=case, found=found),
                remedy=check.remedy.format(s=subject, c=case, found=found),
            )


def _shares_no_socket(s: Subject, _: Case) -> bool:
    socket, volumes = s.sidecar.socket, s.sidecar.container.volumes
    is_known = socket.startswith("/") and "$" not in socket
    if not is_known or is_sidecar(s.container) or s.container is s.sidecar.container:
        return False
    place = max((path for path in volumes if _is_in(socket, path)), key=len, default=None)
    if place is None:
        return True
    on_node = volumes[place].rstrip("/") + socket[len(place.rstrip("/")) :]
    return not any(_is_in(on_node, volume) for volume in s.container.volumes.values())


def _is_in(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


def _is_exposed(s: Subject, c: Case) -> bool:
    everywhere = s.sidecar.endpoint[0] in {"", "0.0.0.0", "[::]"}  # noqa: S104 - to warn of it
    return everywhere and s.workload.node is not None and c.program != _CHECK


def _longer(name: str, margin: float, s: Subject, c: Case) -> int:
    """Return the least whole seconds in which a Probe ends, if the setting is shorter."""
    seconds = c.probe_timeout.number
    return ceil(seconds + margin) if s.probe.number(name) < seconds else 0


def _more_memory(s: Subject, c: Case) -> int:
    least = _LEAST_MEMORY_WITH_CHECK if c.program == _CHECK else _LEAST_MEMORY
    return least if _is_below(s, c, "memory", least * 2**20) else 0


def _is_below(s: Subject, c: Case, name: str, least: float) -> bool:
    limit = s.sidecar.container.limits[name]
    return c.program != _REFERENCE and limit is not None and limit < least


def _restarts(s: Subject) -> bool:
    return s.probe.type != "readiness"


CHECKS: tuple[_Check, ...] = (
    _Check(
        "windows",
        lambda s, c: c.program != _REFERENCE and s.workload.windows,
        "its nodes run Windows, and this program runs on Linux",
        "the image of kubernetes-csi/livenessprobe there",
    ),
    _Check(
        "flags",
        lambda _, c: c.refused,
        "{c.program} ends at its start: {found}",
        "args without what it refuses",
    ),
    _Check(
        "port-name",
        lambda s, _: isinstance(s.probe.port, str),
        "{s.container.name} declares no port {s.probe.port}, so kubelet throws each probe away",
        "ports: [{{name: {s.probe.port}, containerPort: {s.sidecar.endpoint[1]}}}] there",
    ),
    _Check(
        "question",
        lambda _, c: not c.question,
        "to the question {s.probe.asks} {c.program} never answers that all is well",
        "httpGet: {{path: /healthz}}",
    ),
    _Check(
        "on-sidecar",
        lambda s, _: _restarts(s) and is_sidecar(s.container),
        "the {s.probe.type} probe restarts its own container {s.container.name}, not the driver",
        "{s.probe.type}Probe in the driver's container",
    ),
    _Check(
        "socket",
        _shares_no_socket,
        "the directory of {s.sidecar.socket} is on no volume that {s.container.name} mounts too",
        "volumeMounts in both, or --csi-address",
    ),
    _Check(
        "same-port",
        lambda s, _: s.rivals > 1 and not s.sidecar.check,
        "{s.rivals} sidecars want port {s.sidecar.endpoint[1]} of one network, one gets it",
        "--health-port or --http-endpoint: a port of its own for each",
    ),
    _Check(
        "period",
        lambda s, c: _restarts(s) and _longer("periodSeconds", MARGIN, s, c),
        "periodSeconds is shorter than --probe-timeout: look how soon after a restart the driver "
        "has to be ready",
        "periodSeconds: {found}, or a higher failureThreshold",
    ),
    _Check(
        "timeout",
        lambda s, c: c.program != _OURS and _longer("timeoutSeconds", 0, s, c),
        "timeoutSeconds is shorter than --probe-timeout: a slow answer counts as a failure",
        "timeoutSeconds: {found}",
    ),
    _Check(
        "threshold",
        lambda s, _: _restarts(s) and s.probe.number("failureThreshold") == 1,
        "failureThreshold is 1: a single failing answer restarts the container",
        "failureThreshold: 3",
    ),
    _Check(
        "not-ready",
        lambda s, c: (
            c.program == _OURS
            and {"liveness", "readiness"} <= s.probes.keys()
            and c.question != "livez"
        ),
        "the liveness probe restarts a driver that only is not ready; the readiness probe tells",
        "livenessProbe: {{httpGet: {{path: /livez}}}}",
    ),
    _Check(
        "exposed",
        _is_exposed,
        "port {s.sidecar.endpoint[1]} is open on every address of the node",
        "--http-endpoint=localhost:{s.sidecar.endpoint[1]}, and host: localhost in the probes",
    ),
    _Check(
        "memory",
        _more_memory,
        "the memory limit is too tight for this program",
        "limits: {{memory: {found}Mi}}",
    ),
    _Check(
        "cpu",
        lambda s, c: _is_below(s, c, "cpu", _LEAST_CPU),
        "the CPU limit makes this program start slowly, and answer late when the node is busy",
        "no CPU limit, or 100m",
    ),
)
"""The checks, the gravest first."""
