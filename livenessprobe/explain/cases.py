"""What follows for one probed container if its sidecar runs one of the programs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from livenessprobe import flags
from livenessprobe.explain.forecast import Fault, Program, Settings, decide, seconds_to_come_up
from livenessprobe.explain.sidecars import is_sidecar
from livenessprobe.flags import kinds, table
from livenessprobe.health.verdict import SERVICES, Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livenessprobe.explain.forecast import Decision
    from livenessprobe.explain.objects import Probe
    from livenessprobe.explain.sidecars import Subject

_NEWEST, _LONGER_TIMEOUT = (2, 19), (2, 17)
"""The reference's release that counts if the image tells none, and the first with 3 s, not 1 s."""

_REFUSED_SINCE = {
    name: (2, 12) for name, flag in table.FLAGS.items() if flag.group is table.Group.IGNORED
} | {"automaxprocs": (inf, 0), "connection-timeout": (2, 0), "probe-interval": (0, 0)}
"""The reference's first release that does not take a flag; with 2.12 klog's were replaced."""

_QUESTIONS = {
    Program.REFERENCE: {("httpGet", "/healthz"): "healthz"},
    Program.OURS: {
        **{("httpGet", f"/{question.value}"): question.value for question in Question},
        **{("grpc", service): question.value for service, question in SERVICES.items()},
        ("exec", ""): "healthz",  # a check
    },
}
"""What each program is asked, by the handler and the path or service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What follows with one program."""

    program: Program
    probe_timeout: float  # seconds
    probe_timeout_from: str  # whose default it is; empty: it is set
    refused: str  # why the program does not start with the sidecar's flags
    question: str  # healthz, livez or readyz; empty: the program never answers it with success
    restarted_after: Mapping[Fault, Decision | None]  # None: never; empty: by other probes or none
    # Seconds from a pod's start, and after a restart. None: what a startup probe allows that asks
    # something else; also if `restarted_after` is empty.
    ready_within: tuple[float, float] | None
    probes_an_hour: float  # at most


def case_of(subject: Subject, program: Program) -> Case:
    """Return what follows for the subject if its sidecar runs this program."""
    probe = subject.probe
    probe_timeout, probe_timeout_from = _probe_timeout(subject, program)
    refused = _refused(subject, program)
    question = _QUESTIONS[program].get((probe.handler, probe.path.partition("?")[0]), "")
    is_ours = program is Program.OURS
    interval = kinds.interval(subject.given.get("probe-interval", "auto")) if is_ours else None
    lasting = [each for each in subject.callers if each.type != "startup"]

    def settings(probe: Probe) -> Settings:
        others = (each for each in lasting if each.port == probe.port and each is not probe)
        return Settings(
            period=probe.settings["periodSeconds"],
            timeout=probe.settings["timeoutSeconds"],
            failure_threshold=probe.settings["failureThreshold"],
            initial_delay=probe.settings["initialDelaySeconds"],
            probe_timeout=probe_timeout,
            interval=interval,
            other_period=min((each.settings["periodSeconds"] for each in others), default=None),
        )

    is_liveness = probe.type == "liveness" and isinstance(probe.port, int)
    restarted_after: dict[Fault, Decision | None] = {}
    ready_within = None
    if is_liveness and question and not refused and not is_sidecar(subject.container):
        restarted_after = {fault: decide(program, fault, settings(probe)) for fault in Fault}
        if question == "livez":
            restarted_after[Fault.NOT_READY] = None
        first = subject.container.probes.get("startup", probe)
        if first.type in subject.probes:
            ready_within = seconds_to_come_up(program, settings(first))
    an_hour = sum(3600 / each.settings["periodSeconds"] for each in lasting)
    return Case(
        program=program,
        probe_timeout=probe_timeout,
        probe_timeout_from=probe_timeout_from,
        refused=refused,
        question=question,
        restarted_after=restarted_after,
        ready_within=ready_within,
        probes_an_hour=3600 / interval if interval else an_hour,
    )


def _probe_timeout(subject: Subject, program: Program) -> tuple[float, str]:
    if "probe-timeout" in subject.given:
        return max(0.0, kinds.duration(subject.given["probe-timeout"])), ""
    if program is Program.OURS:
        return 3.0, "default of this program"
    if not (version := _version(subject)):
        return 3.0, "default since v2.17, the version is not known"
    return (1.0 if version < _LONGER_TIMEOUT else 3.0), "default of v{}.{}".format(*version)


def _refused(subject: Subject, program: Program) -> str:
    if program is Program.REFERENCE:
        version = _version(subject) or _NEWEST
        names = [f"--{n}" for n in subject.given if version >= _REFUSED_SINCE.get(n, (inf, 0))]
        return "v{}.{} does not take {}".format(*version, ", ".join(names)) if names else ""
    try:
        flags.parse(subject.sidecar.args)
    except flags.ConfigError as error:
        return f"{error}: {error.err}" if error.err else str(error)
    return ""


def _version(subject: Subject) -> tuple[int, int] | None:
    """Return the reference's version, if the sidecar runs it and its image tells."""
    return subject.version if subject.program is Program.REFERENCE else None
