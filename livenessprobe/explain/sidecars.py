"""Finds who is probed through which sidecar.

A sidecar is known by its image's or its command's name, or by its container's name. A probe is its
own if it asks the sidecar's port, whichever container of the pod has the probe, or if it runs
`livenessprobe check` in the sidecar's container.
"""

from __future__ import annotations

import re
from collections import Counter
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
class Sidecar:
    """A livenessprobe container that at least one probe of its pod asks."""

    workload: Workload
    container: Container
    program: Program
    version: tuple[int, int] | None  # the program's release; None: the image does not tell
    given: Mapping[str, str]  # the flags' texts as set
    socket: str  # the path on which it looks for the driver
    host: str  # that it listens on; empty: every address
    port: int  # likewise
    callers: Sequence[tuple[Container, Probe]]  # who asks it


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One container with those of its probes that ask one sidecar."""

    container: Container
    sidecar: Sidecar
    probes: Mapping[str, Probe]  # by type; at least one
    rivals: int  # the sidecars on its network that want its port, with itself

    @property
    def probe(self) -> Probe:
        """The one that matters: it restarts the driver if one does."""
        return self.probes.get("liveness") or next(iter(self.probes.values()))


def find(workloads: Sequence[Workload]) -> tuple[list[Subject], list[str]]:
    """Return who is probed by whom, and which sidecar is not explained for which reason."""
    sidecars: list[Sidecar] = []
    skipped: list[str] = []
    for workload in workloads:
        for container in filter(is_sidecar, workload.containers):
            try:
                sidecars.append(_sidecar(workload, container))
            except _NotExplainedError as reason:
                skipped.append(f"{workload.name}, sidecar {container.name}: {reason}")
    wanted = Counter(map(_address, sidecars))
    subjects = [
        Subject(container=each, sidecar=sidecar, probes=probes, rivals=wanted[_address(sidecar)])
        for sidecar in sidecars
        for each in sidecar.workload.containers
        if (probes := {probe.type: probe for asks, probe in sidecar.callers if asks is each})
    ]
    return subjects, skipped


def is_sidecar(container: Container) -> bool:
    """Return whether the container looks like a livenessprobe sidecar."""
    is_named = _NAME.search(container.image) or _NAME.search(container.name)
    return bool(is_named or _PROGRAM.fullmatch(container.program))


def _address(sidecar: Sidecar) -> tuple[object, ...]:
    """Return the port with the network: the pod's own, one node's, or that of any node."""
    workload = sidecar.workload
    network = id(workload) if workload.node is None else workload.node
    return sidecar.port, workload.windows, network


class _NotExplainedError(Exception):
    """Why a sidecar is skipped."""


def _sidecar(workload: Workload, container: Container) -> Sidecar:
    if container.program and not _PROGRAM.fullmatch(container.program):
        command = go.quote(container.program)
        raise _NotExplainedError(f"its command is {command}, which is not read")
    try:
        given, _ = go.scan(container.args, {flag.name: flag.kind for flag in table.FLAGS.values()})
    except (go.UsageError, go.HelpRequested) as error:
        reason = str(error) or "it is asked for help"
        raise _NotExplainedError(f"it ends at its start: {reason}") from error
    tag = container.tag if _NAME.search(container.image) else ""
    # Before 1.1 other rules held. With --probe-timeout, the tag is not the release's.
    if re.match(r"v(0|1\.0)\.", tag) and "probe-timeout" not in given:
        raise _NotExplainedError(f"its image is {tag}, older than --probe-timeout")
    texts = {name: flag.default for name, flag in table.FLAGS.items()} | given
    host, _, digits = values.health_address(texts).rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", digits):
        raise _NotExplainedError("the port that it listens on is not in the object")
    port = int(digits)
    callers = [
        (each, probe)
        for each in workload.containers
        for probe in each.probes
        if _asks(probe, port) or (each is container and _CHECK.fullmatch(probe.path))
    ]
    if not callers:
        reason = f"no probe of the pod asks its port {port}: nothing restarts the driver"
        raise _NotExplainedError(reason)
    version = _VERSION.match(tag)
    return Sidecar(
        workload=workload,
        container=container,
        program=_program(tag, given, [probe for _, probe in callers]),
        version=(int(version[1]), int(version[2])) if version else None,
        given=given,
        socket=csi_address.without_scheme(texts["csi-address"]),
        host=host,
        port=port,
        callers=callers,
    )


def _asks(probe: Probe, port: int) -> bool:
    if isinstance(probe.port, str):  # a name that is not declared, so the path tells
        return probe.path == "/healthz"
    return probe.port == port


def _program(tag: str, given: Mapping[str, str], probes: Sequence[Probe]) -> Program:
    """Return what a sidecar runs.

    This program is known by the tag of its releases, 0.N, where the reference's have a v; by
    --probe-interval; and by questions that only it answers. All else counts as the reference.
    """
    is_ours = (
        re.fullmatch(r"0\.[0-9]+(\.[0-9]+)?", tag)
        or "probe-interval" in given
        or any(p.handler != "httpGet" or p.path in {"/livez", "/readyz"} for p in probes)
    )
    return Program.OURS if is_ours else Program.REFERENCE
