"""Defines the settings of manifests: a container's probes and the sidecar's --probe-timeout.

The corpus of public manifests lies beside the repository where it was collected; `corpus()` counts
how often each setting occurs in it. `TABLE` stands for it elsewhere, and is what the tests use: the
most frequent settings, the extreme ones, and a startup probe, which the corpus does not record.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from livenessprobe.flags.kinds import duration
from tests.flags.test_corpus import CORPUS
from tests.simulation.kubelet import ProbeSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

MANY_FAILURES = 5
"""The highest failureThreshold that is simulated; manifests have up to 100.

Policies differ in the first and the last failing answer; more in between only take time.
"""

_FIELDS = {
    "periodSeconds": "period",
    "timeoutSeconds": "timeout",
    "failureThreshold": "failure_threshold",
    "initialDelaySeconds": "initial_delay",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    liveness: ProbeSpec
    readiness: ProbeSpec | None = None
    startup: ProbeSpec | None = None
    probe_timeout: float = 3.0

    def __str__(self) -> str:
        spec, more = self.liveness, ""
        if self.readiness is not None:
            more += f" readiness P={self.readiness.period}"
        if self.startup is not None:
            more += f" startup P={self.startup.period}"
        return (
            f"P={spec.period} N={spec.failure_threshold} T={self.probe_timeout:g} "
            f"timeout={spec.timeout} delay={spec.initial_delay}{more}"
        )

    @property
    def detects_hangs_in_time(self) -> bool:
        """Whether a Probe of a driver that hangs times out within the kubelet's own timeout.

        If not, a kubelet that waits for the driver gives up before any Probe can.
        """
        return self.probe_timeout <= self.liveness.timeout

    @property
    def harmless(self) -> float:
        """Seconds; a shorter fault never restarts the driver."""
        liveness = self.liveness
        return (liveness.failure_threshold - 1) * liveness.period - self.probe_timeout - 1


def setting(
    period: int,
    timeout: int,
    failure_threshold: int,
    initial_delay: int,
    *,
    probe_timeout: float = 3.0,
    readiness: ProbeSpec | None = None,
    startup: ProbeSpec | None = None,
) -> Setting:
    return Setting(
        liveness=ProbeSpec(
            period=period,
            timeout=timeout,
            failure_threshold=failure_threshold,
            initial_delay=initial_delay,
        ),
        readiness=readiness,
        startup=startup,
        probe_timeout=probe_timeout,
    )


TABLE: Mapping[Setting, int] = {
    setting(30, 10, 5, 30): 30,
    setting(10, 3, 5, 10): 20,
    setting(2, 3, 5, 10): 12,
    setting(10, 1, 3, 0): 16,  # kubelet's own defaults: it does not wait for --probe-timeout
    setting(30, 30, 5, 30, probe_timeout=10): 3,
    setting(60, 3, 5, 10): 5,
    setting(180, 10, 3, 30): 1,
    setting(2, 3, 1, 10): 1,
    setting(10, 3, 1, 0): 1,
    setting(5, 5, 3, 10): 2,
    setting(60, 30, 3, 60, probe_timeout=30): 1,
    setting(10, 3, 5, 10, readiness=ProbeSpec(period=5, timeout=3)): 2,
    setting(10, 3, 5, 0, startup=ProbeSpec(period=10, timeout=3, failure_threshold=30)): 1,
}
"""Settings, each with the approximate percentage of manifests that have one like it."""


def corpus() -> Mapping[Setting, int]:
    """Return the settings of the corpus with the number of manifests that have each; or none."""
    if not CORPUS.exists():
        return {}
    return Counter(_read(json.loads(line)) for line in CORPUS.read_text().splitlines())


def _read(entry: Mapping[str, Any]) -> Setting:
    arguments = [*(entry["command"] or ()), *(entry["args"] or ())]
    given = dict(argument.lstrip("-").split("=") for argument in arguments if "=" in argument)
    readiness = entry["readinessProbe"]
    return Setting(
        liveness=_spec(entry["livenessProbe"] or {}),
        # A readiness probe that runs a command does not use the sidecar.
        readiness=_spec(readiness) if readiness and "httpGet" in readiness else None,
        probe_timeout=duration(given.get("probe-timeout", "3s")),
    )


def _spec(probe: Mapping[str, Any]) -> ProbeSpec:
    spec = ProbeSpec(**{ours: probe[field] for field, ours in _FIELDS.items() if field in probe})
    return replace(spec, failure_threshold=min(spec.failure_threshold, MANY_FAILURES))
