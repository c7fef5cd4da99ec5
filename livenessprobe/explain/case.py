"""One probed container as kubelet and one of the programs see it: every value with its origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe.explain import forecast
from livenessprobe.explain.forecast import Decision, Fault, Settings
from livenessprobe.explain.sidecars import Program, Subject, Value, port_of, question
from livenessprobe.flags import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livenessprobe.explain.objects import Probe

KUBELET_DEFAULTS = {
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "failureThreshold": 3,
    "initialDelaySeconds": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A subject, answered by `program`, which need not be the one that its sidecar has now.

    Attributes:
        neighbours: other sidecars that want the same port, by the names of their places.

    """

    subject: Subject
    program: Program
    neighbours: tuple[str, ...] = ()

    @property
    def probe_timeout(self) -> Value:
        """The seconds of `--probe-timeout`."""
        return self.subject.sidecar.probe_timeout(self.program)

    def settings(self, probe: Probe) -> Settings:
        """Return all that decides when `probe` fails."""
        interval = self.subject.sidecar.given.get("probe-interval", "auto")
        others = [each for each in self.subject.lasting if each is not probe]
        return Settings(
            period=_number(probe, "periodSeconds"),
            timeout=_number(probe, "timeoutSeconds"),
            failure_threshold=_number(probe, "failureThreshold"),
            initial_delay=_number(probe, "initialDelaySeconds"),
            other_period=min((_number(each, "periodSeconds") for each in others), default=None),
            probe_timeout=self.probe_timeout.number,
            interval=kinds.interval(interval) if self.program is Program.OURS else None,
            question=question(probe, self.program),
        )

    @property
    def undecided(self) -> str:
        """Why kubelet's decisions do not depend on the driver; empty: they do."""
        probe = self.subject.probes.get("liveness")
        if probe is None:
            return "no liveness probe asks this sidecar: kubelet restarts nothing for its answers"
        if probe.handler != "exec" and port_of(self.subject.container, probe) is None:
            return "kubelet finds no port for the liveness probe: it restarts nothing"
        refused = self.subject.sidecar.refused_by(self.program)
        if refused or question(probe, self.program) is None:
            return "the liveness probe never succeeds: kubelet restarts healthy containers too"
        return ""

    @property
    def decisions(self) -> Mapping[Fault, Decision | None]:
        """When kubelet restarts the driver, by fault; only if it is not `undecided`."""
        settings = self.settings(self.subject.probes["liveness"])
        return {fault: forecast.decide(self.program, fault, settings) for fault in Fault}

    def seconds_to_come_up(self, *, restarted: bool) -> float | None:
        """Return the time from a container's start; None: its startup probe asks something else."""
        types = [probe.type for probe in self.subject.container.probes]
        first = self.subject.probes.get("startup" if "startup" in types else "liveness")
        if first is None:
            return None
        return forecast.seconds_to_come_up(self.program, self.settings(first), restarted=restarted)

    @property
    def probes_an_hour(self) -> float:
        """How often a healthy driver is asked at most, once it has started."""
        settings = [self.settings(probe) for probe in self.subject.lasting]
        interval = settings[0].interval if settings else None
        return forecast.probes_an_hour([each.period for each in settings], interval)


def value_of(probe: Probe, name: str) -> Value:
    """Return what is set, or what kubelet has instead."""
    if name in probe.seconds:
        return Value(number=probe.seconds[name])
    return Value(number=KUBELET_DEFAULTS[name], origin="default of Kubernetes")


def _number(probe: Probe, name: str) -> int:
    return int(value_of(probe, name).number)
