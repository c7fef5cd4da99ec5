"""Finds who is probed through which sidecar.

A sidecar is known by its image's or its command's name, or by its container's name. A probe asks it
on its port, whichever container of the pod has the probe, or by running `livenessprobe check` in
the sidecar's own container.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe.explain.forecast import Program
from livenessprobe.flags import csi_address, go, table, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from livenessprobe.explain.objects import Container, Probe, Workload

_NAME = re.compile(r"liveness-?probe")
_PROGRAM = re.compile(r"(.*[/\\])?livenessprobe(\.exe)?", re.DOTALL)
_CHECK = re.compile(r"([^ ]*/)?livenessprobe check( .*)?", re.DOTALL)
_VERSION = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})(?![0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One container with those of its probes that ask one sidecar."""

    workload: Workload
    container: Container
    probes: Mapping[str, Probe]  # by type; at least one
    sidecar: Container
    program: Program  # that the sidecar runs
    version: tuple[int, int] | None  # the program's release; None: the image does not tell
    given: Mapping[str, str]  # the sidecar's flags that are set, as texts
    socket: str  # the path on which it looks for the driver
    host: str  # that it listens on; empty: every address
    port: int  # likewise
    callers: Sequence[Probe]  # all probes that ask it, of whichever container

    @property
    def probe(self) -> Probe:
        """The one that matters: it restarts the driver if one does."""
        return self.probes.get("liveness") or next(iter(self.probes.values()))

    @property
    def address(self) -> tuple[object, ...]:
        """The port that the sidecar wants, of the pod's own network, one node's or any node's."""
        network = id(self.workload) if self.workload.node is None else self.workload.node
        return self.port, self.workload.windows, network


class _NotExplainedError(Exception):
    """Why a sidecar is skipped."""


def find(workloads: Sequence[Workload]) -> tuple[list[Subject], list[str]]:
    """Return who is probed by whom, and which sidecar is not explained for which reason."""
    subjects: list[Subject] = []
    skipped: list[str] = []
    for workload in workloads:
        for sidecar in filter(is_sidecar, workload.containers):
            try:
                subjects += _subjects(workload, sidecar)
            except _NotExplainedError as reason:
                skipped.append(f"{workload.name}, sidecar {sidecar.name}: {reason}")
    return subjects, skipped


def is_sidecar(container: Container) -> bool:
    """Return whether the container looks like a livenessprobe sidecar."""
    is_named = _NAME.search(container.image) or _NAME.search(container.name)
    return bool(is_named or _PROGRAM.fullmatch(container.program))


def _subjects(workload: Workload, sidecar: Container) -> list[Subject]:
    if sidecar.program and not _PROGRAM.fullmatch(sidecar.program):
        command = go.quote(sidecar.program)
        raise _NotExplainedError(f"its command is {command}, which is not read")
    try:
        given, _ = go.scan(sidecar.args, {name: flag.kind for name, flag in table.FLAGS.items()})
    except (go.UsageError, go.HelpRequested) as error:
        reason = str(error) or "it is asked for help"
        raise _NotExplainedError(f"it ends at its start: {reason}") from error
    tag = sidecar.tag if _NAME.search(sidecar.image) else ""
    # Before 1.1 other rules held. With --probe-timeout, the tag is not the release's.
    if re.match(r"v(0|1\.0)\.", tag) and "probe-timeout" not in given:
        raise _NotExplainedError(f"its image is {tag}, older than --probe-timeout")
    texts = {name: flag.default for name, flag in table.FLAGS.items()} | given
    host, _, port = values.health_address(texts).rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port):
        raise _NotExplainedError("the port that it listens on is not in the object")
    probed = [
        (each, {k: p for k, p in each.probes.items() if _asks(p, int(port), own=each is sidecar)})
        for each in workload.containers
    ]
    callers = [probe for _, probes in probed for probe in probes.values()]
    if not callers:
        reason = f"no probe of the pod asks its port {port}: it restarts nothing"
        raise _NotExplainedError(reason)
    version = _VERSION.match(tag)
    return [
        Subject(
            workload=workload,
            container=container,
            probes=probes,
            sidecar=sidecar,
            program=_program(tag, given, callers),
            version=(int(version[1]), int(version[2])) if version else None,
            given=given,
            socket=csi_address.without_scheme(texts["csi-address"]),
            host=host,
            port=int(port),
            callers=callers,
        )
        for container, probes in probed
        if probes
    ]


def _asks(probe: Probe, port: int, *, own: bool) -> bool:
    """Return whether the probe asks the sidecar; `own`: it is the sidecar container's own probe."""
    if probe.handler == "exec":
        return own and bool(_CHECK.fullmatch(probe.asks))
    if isinstance(probe.port, str):  # a name that is not declared, so the path tells
        return probe.path == "/healthz"
    return probe.port == port


def _program(tag: str, given: Mapping[str, str], callers: Sequence[Probe]) -> Program:
    """Return what a sidecar runs.

    This program is known by the tag of its releases, 0.N, where the reference's have a v; by
    --probe-interval; and by questions that only it answers. All else counts as the reference.
    """
    is_ours = (
        re.fullmatch(r"0\.[0-9]+(\.[0-9]+)?", tag)
        or "probe-interval" in given
        or any(p.handler != "httpGet" or p.path in {"/livez", "/readyz"} for p in callers)
    )
    return Program.OURS if is_ours else Program.REFERENCE
