"""What follows for one probed container if its sidecar runs one of the programs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from livenessprobe import flags
from livenessprobe.explain.forecast import Fault, Program, Settings, decide, seconds_to_come_up
from livenessprobe.flags import kinds, table
from livenessprobe.health.verdict import SERVICES, Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livenessprobe.explain.forecast import Decision
    from livenessprobe.explain.objects import Probe
    from livenessprobe.explain.sidecars import Sidecar, Subject

_NEWEST, _LONGER_TIMEOUT = (2, 19), (2, 17)
"""The reference's release that counts if the image tells none, and the first with 3 s, not 1 s."""

_REFUSED_SINCE = {
    name: (2, 12) for name, flag in table.FLAGS.items() if flag.group is table.Group.IGNORED
} | {"automaxprocs": (inf, 0), "connection-timeout": (2, 0), "probe-interval": (0, 0)}
"""The reference's first release that does not take a flag; with 2.12 klog's were replaced."""

_PATHS = {f"/{question.value}": question for question in Question}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What follows with one program; where `undecided` says why not, of the driver nothing does."""

    program: Program
    probe_timeout: float
    probe_timeout_from: str  # whose default it is; empty: it is set
    refused: str  # why the program does not start with the sidecar's flags
    question: str  # healthz, livez or readyz; empty: nothing that the program answers by yes
    undecided: str
    restarted_after: Mapping[Fault, Decision | None]  # None: never
    ready_within: tuple[float, float] | None  # seconds from a pod's start, and after a restart
    probes_an_hour: float  # at most


def case_of(subject: Subject, program: Program) -> Case:
    """Return what follows for the subject if its sidecar runs this program."""
    probe, sidecar = subject.probe, subject.sidecar
    probe_timeout, probe_timeout_from = _probe_timeout(sidecar, program)
    refused = _refused(sidecar, program)
    question = _question(probe, program)
    undecided = ""
    if probe.type != "liveness":
        undecided = "no liveness probe asks this sidecar: kubelet restarts nothing for its answers"
    elif isinstance(probe.port, str):
        undecided = "kubelet finds no port for the liveness probe: it restarts nothing"
    elif refused or not question:
        undecided = "the liveness probe never succeeds: kubelet restarts healthy containers too"
    is_ours = program is Program.OURS
    interval = kinds.interval(sidecar.given.get("probe-interval", "auto")) if is_ours else None
    lasting = [each for each in sidecar.callers if each.type != "startup"]

    def settings(probe: Probe) -> Settings:
        periods = [each.settings["periodSeconds"] for each in lasting if each is not probe]
        return Settings(
            period=probe.settings["periodSeconds"],
            timeout=probe.settings["timeoutSeconds"],
            failure_threshold=probe.settings["failureThreshold"],
            initial_delay=probe.settings["initialDelaySeconds"],
            probe_timeout=probe_timeout,
            interval=interval,
            other_period=min(periods, default=None),
        )

    restarted_after: dict[Fault, Decision | None] = {}
    if not undecided:
        restarted_after = {fault: decide(program, fault, settings(probe)) for fault in Fault}
        if question == "livez":
            restarted_after[Fault.NOT_READY] = None
    has_startup = any(each.type == "startup" for each in subject.container.probes)
    first = subject.probes.get("startup") if has_startup else probe
    an_hour = [3600 / each.settings["periodSeconds"] for each in lasting]
    return Case(
        program=program,
        probe_timeout=probe_timeout,
        probe_timeout_from=probe_timeout_from,
        refused=refused,
        question=question,
        undecided=undecided,
        restarted_after=restarted_after,
        ready_within=seconds_to_come_up(program, settings(first)) if first else None,
        probes_an_hour=3600 / interval if interval else sum(an_hour),
    )


def _question(probe: Probe, program: Program) -> str:
    path = probe.path.partition("?")[0]
    if program is Program.CHECK:
        return "healthz"
    if program is Program.REFERENCE:
        return "healthz" if (probe.handler, path) == ("httpGet", "/healthz") else ""
    question = (SERVICES if probe.handler == "grpc" else _PATHS).get(path)
    return question.value if question else ""


def _probe_timeout(sidecar: Sidecar, program: Program) -> tuple[float, str]:
    given, version = sidecar.given.get("probe-timeout"), sidecar.version
    if given is not None:
        return max(0.0, kinds.duration(given)), ""
    if program is not Program.REFERENCE:
        return 3.0, "default of this program"
    if version is None:
        return 3.0, "default since v2.17, the image tells no version"
    seconds = 1.0 if version < _LONGER_TIMEOUT else 3.0
    return seconds, f"default of v{version[0]}.{version[1]}"


def _refused(sidecar: Sidecar, program: Program) -> str:
    if program is Program.OURS:
        try:
            flags.parse(sidecar.container.args)
        except flags.ConfigError as error:
            return f"{error}: {error.err}" if error.err else str(error)
    elif program is Program.REFERENCE:
        version = sidecar.version or _NEWEST
        names = [f"--{n}" for n in sidecar.given if version >= _REFUSED_SINCE.get(n, (inf, 0))]
        return f"this release does not take {', '.join(names)}" if names else ""
    return ""
