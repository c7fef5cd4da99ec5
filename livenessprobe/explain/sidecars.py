"""Finds who is probed through which sidecar, and what its arguments come to.

A sidecar is known by its image's or its command's name, by its container's name, or by flags that
no other CSI sidecar has; a probe is its own if it asks the sidecar's port, whichever container of
the pod has the probe. An exec probe that runs `livenessprobe check` needs no sidecar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from livenessprobe import flags
from livenessprobe.flags import go, kinds, table
from livenessprobe.health.verdict import Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from livenessprobe.explain.objects import Container, Probe, Workload


class Program(Enum):
    """What a sidecar runs, by the name that the output has for it."""

    REFERENCE = "kubernetes-csi/livenessprobe"
    OURS = "this program"
    CHECK = "livenessprobe check"


NEWEST = (2, 19)
"""The reference's release that counts where an image does not tell its own."""

# The reference's flags that not every release takes: since which, and until which. The logging
# flags are those of Kubernetes' component-base from 2.12 on, those of klog before.
_ALWAYS, _STILL = (0, 0), (1000, 0)
_SINCE = {
    "metrics-address": (2, 1),
    "metrics-path": (2, 1),
    "http-endpoint": (2, 2),
    "logging-format": (2, 12),
    "log-flush-frequency": (2, 12),
    "log-text-split-stream": (2, 12),
    "log-json-split-stream": (2, 12),
    "log-text-info-buffer-size": (2, 12),
    "log-json-info-buffer-size": (2, 12),
    "automaxprocs": (2, 16),
    "probe-interval": _STILL,
}
_UNTIL = {"connection-timeout": (2, 0)} | {
    name: (2, 12)
    for name, flag in table.FLAGS.items()
    if flag.group is table.Group.IGNORED and name not in {"automaxprocs", "connection-timeout"}
}

_OLDEST = (1, 1)
"""The reference's first release that has --probe-timeout; what is older asks by other rules."""

_LONGER_TIMEOUT = (2, 17)
"""The reference's first release whose --probe-timeout is 3 s unless set; before it is 1 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number and where it comes from: `set`, or whose default it is."""

    number: float
    origin: str = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What a livenessprobe container, or an exec probe's command, is started with.

    Attributes:
        known_by: by what it was told from other containers.
        version: major and minor of the release; None: its image does not tell.
        given: the flags' texts as set.
        refusal: why its arguments cannot be read; then the other fields say nothing.
        socket: the path on which it looks for the driver.
        host: of the address that it listens on; empty: all of them.
        port: None: it cannot be told.

    """

    container: Container
    program: Program
    known_by: str
    version: tuple[int, int] | None = None
    given: Mapping[str, str] = field(default_factory=dict[str, str])
    refusal: str = ""
    socket: str = ""
    host: str = ""
    port: int | None = None

    def probe_timeout(self, program: Program) -> Value:
        """Return the seconds of `--probe-timeout` if the sidecar runs `program`."""
        text = self.given.get("probe-timeout")
        if text is not None:
            return Value(number=max(0.0, kinds.duration(text)))
        if program is not Program.REFERENCE:
            default = kinds.duration(table.FLAGS["probe-timeout"].default)
            return Value(number=default, origin="default of this program")
        if self.version is None:
            return Value(number=3.0, origin="default since v2.17, the image tells no version")
        shorter = self.version < _LONGER_TIMEOUT
        origin = f"default of v{self.version[0]}.{self.version[1]}"
        return Value(number=1.0 if shorter else 3.0, origin=origin)

    def refused_by(self, program: Program) -> str:
        """Return why `program` does not start with these flags; empty: it does."""
        if program is Program.REFERENCE:
            version = self.version or NEWEST
            untaken = [
                f"--{name}"
                for name in self.given
                if not _SINCE.get(name, _ALWAYS) <= version < _UNTIL.get(name, _STILL)
            ]
            return f"this release does not take {', '.join(untaken)}" if untaken else ""
        try:
            if program is Program.OURS:
                flags.parse([*self.container.command[1:], *self.container.args])
        except flags.ConfigError as error:
            return f"{error}: {error.err}" if error.err else str(error)
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One container with those of its probes that ask one sidecar."""

    workload: Workload
    container: Container
    sidecar: Sidecar
    probes: Mapping[str, Probe]
    """By type; at least one."""
    others: tuple[Probe, ...] = ()
    """The probes of other containers that ask the same sidecar."""

    @property
    def lasting(self) -> list[Probe]:
        """All probes that go on asking the sidecar once the containers have started."""
        return [each for each in (*self.probes.values(), *self.others) if each.type != "startup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that looks as if it belonged here, and why it is not explained."""

    what: str
    why: str


def find(workload: Workload) -> tuple[list[Subject], list[Sidecar], list[Skipped]]:
    """Return who is probed by whom, all sidecars, and what cannot be explained."""
    sidecars = [*_sidecars(workload)]
    subjects = _subjects(workload, sidecars)
    explained = [subject for subject in subjects if not subject.sidecar.refusal]
    everyone = {id(each): each for each in (*sidecars, *(each.sidecar for each in subjects))}
    for subject in explained:
        everyone.pop(id(subject.sidecar), None)
        # Where a check runs in the sidecar's own container, nobody has to ask its port.
        for sidecar in sidecars:
            if subject.sidecar.program is Program.CHECK and sidecar.container is subject.container:
                everyone.pop(id(sidecar), None)
    skipped = [
        Skipped(what=f"{workload}, sidecar {sidecar.container.name}", why=_why_unasked(sidecar))
        for sidecar in everyone.values()
    ]
    return explained, sidecars, skipped


def _why_unasked(sidecar: Sidecar) -> str:
    if sidecar.refusal:
        return sidecar.refusal
    if sidecar.port is None:
        return "the port that it listens on is not in the object, so its probes cannot be told"
    return f"no probe of the pod asks its port {sidecar.port}: nothing restarts the driver"


def _sidecars(workload: Workload) -> Iterator[Sidecar]:
    for container in workload.containers:
        known_by = _known_by(container)
        if known_by:
            yield _sidecar(workload, container, known_by)


_NAME = re.compile(r"liveness-?probe")
_COMMANDS = ("livenessprobe", "livenessprobe.exe")
_OWN_FLAGS = re.compile(r"--?(health-port|probe-timeout)(=|$)")


def is_sidecar(container: Container) -> bool:
    """Return whether the container looks like a livenessprobe sidecar."""
    return _known_by(container) != ""


def _known_by(container: Container) -> str:
    if _NAME.search(_image(container)[0]):
        return "image"
    if _base_name(container.command[:1]) in _COMMANDS:
        return "command"
    if _NAME.search(container.name):
        return "container's name"
    # Other CSI sidecars have --csi-address and --http-endpoint as well, but none of these.
    return "flags" if any(map(_OWN_FLAGS.match, container.args)) else ""


def _image(container: Container) -> tuple[str, str]:
    """Return the last part of the image's name, and its tag."""
    name = container.image.partition("@")[0].rpartition("/")[2]
    base, _, tag = name.partition(":")
    return base, tag


def _base_name(command: Sequence[str]) -> str:
    return re.split(r"[/\\]", command[0])[-1] if command else ""


def _sidecar(workload: Workload, container: Container, known_by: str) -> Sidecar:
    sidecar = Sidecar(container=container, program=Program.REFERENCE, known_by=known_by)
    if container.command and _base_name(container.command) not in _COMMANDS:
        why = f"its command is {go.quote(container.command[0])}, which is not read"
        return replace(sidecar, refusal=why)
    given, refusal = _given([*container.command[1:], *container.args], table.FLAGS)
    if refusal:
        return replace(sidecar, refusal=refusal)
    texts = {name: flag.default for name, flag in table.FLAGS.items()} | given
    address = texts["http-endpoint"] or f":{texts['health-port']}"
    host, _, port = address.rpartition(":")
    sidecar = replace(
        sidecar,
        given=given,
        socket=_path(texts["csi-address"]),
        host=host.strip("[]"),
        port=int(port) if re.fullmatch("[0-9]{1,5}", port) else None,
    )
    return _released(workload, sidecar)


def _released(workload: Workload, sidecar: Sidecar) -> Sidecar:
    """Return the sidecar with its program and version."""
    tag = _image(sidecar.container)[1] if sidecar.known_by == "image" else ""
    if _is_ours(workload, sidecar, tag):
        return replace(sidecar, program=Program.OURS)
    match = re.match(r"v?([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", tag)
    version = (int(match[1]), int(match[2])) if match else None
    if version is None or version >= _OLDEST:
        return replace(sidecar, version=version)
    if "probe-timeout" in sidecar.given:  # then the tag is not the release's
        return sidecar
    return replace(sidecar, refusal=f"its image is {tag}, older than --probe-timeout")


def _given(argv: Sequence[str], known: Mapping[str, table.Flag]) -> tuple[dict[str, str], str]:
    """Return the flags' texts as set, and why the program would not start with them."""
    try:
        return go.scan(argv, {name: flag.kind for name, flag in known.items()})[0], ""
    except go.HelpRequested:
        return {}, "it ends at its start: it is asked for help"
    except go.UsageError as error:
        return {}, f"it ends at its start: {error}"


def _path(address: str) -> str:
    return re.sub("^unix:(//)?", "", address)


_OUR_TAG = re.compile(r"0\.[0-9]+(\.[0-9]+)?")


def _is_ours(workload: Workload, sidecar: Sidecar, tag: str) -> bool:
    """Return whether the sidecar is this program: the reference's tags begin with a v.

    Where the tag tells nothing, what only this program takes and answers does.
    """
    return (
        _OUR_TAG.fullmatch(tag) is not None
        or "probe-interval" in sidecar.given
        or any(
            probe.handler == "grpc" or probe.path in {"/livez", "/readyz"}
            for container in workload.containers
            for probe in container.probes
            if sidecar.port is not None and port_of(container, probe) == sidecar.port
        )
    )


def port_of(container: Container, probe: Probe) -> int | None:
    """Return the port that kubelet asks; None: the name of a port that `container` has not."""
    if not isinstance(probe.port, str):
        return probe.port
    if probe.port in container.ports:
        return container.ports[probe.port]
    return int(probe.port) if re.fullmatch("[0-9]{1,5}", probe.port) else None


def _subjects(workload: Workload, sidecars: Sequence[Sidecar]) -> list[Subject]:
    # By container and sidecar; checks with the same command are one.
    asked: dict[object, tuple[Container, Sidecar, dict[str, Probe]]] = {}
    for container in workload.containers:
        for probe in container.probes:
            sidecar = _asked(workload, container, probe, sidecars)
            if sidecar is not None:
                key = id(container), probe.command or id(sidecar)
                asked.setdefault(key, (container, sidecar, {}))[2][probe.type] = probe
    return [
        Subject(
            workload=workload,
            container=container,
            sidecar=sidecar,
            probes=probes,
            others=tuple(
                probe
                for _, other, theirs in asked.values()
                if other is sidecar and theirs is not probes
                for probe in theirs.values()
            ),
        )
        for container, sidecar, probes in asked.values()
    ]


def _asked(
    workload: Workload, container: Container, probe: Probe, sidecars: Sequence[Sidecar]
) -> Sidecar | None:
    if probe.handler == "exec":
        return _check(container, probe)
    if probe.handler not in {"httpGet", "grpc"}:
        return None
    port = port_of(container, probe)
    if port is None:  # then the name tells whom it was meant for
        named = (other.ports.get(str(probe.port)) for other in workload.containers)
        port = next((number for number in named if number is not None), None)
        if port is None and len(sidecars) == 1 and probe.path == "/healthz":
            return sidecars[0]
    return next((sidecar for sidecar in sidecars if sidecar.port == port is not None), None)


def _check(container: Container, probe: Probe) -> Sidecar | None:
    if _base_name(probe.command) not in _COMMANDS or probe.command[1:2] != ("check",):
        return None
    given, refusal = _given(probe.command[2:], table.CHECK_FLAGS)
    return Sidecar(
        container=container,
        program=Program.CHECK,
        known_by="probe's command",
        given=given,
        refusal=refusal,
        socket=_path(given.get("csi-address", table.CHECK_FLAGS["csi-address"].default)),
    )


_PATHS = {"/healthz": Question.HEALTHZ, "/livez": Question.LIVEZ, "/readyz": Question.READYZ}
_SERVICES = {"": Question.HEALTHZ, "liveness": Question.LIVEZ, "readiness": Question.READYZ}


def question(probe: Probe, program: Program) -> Question | None:
    """Return what the probe asks `program`; None: nothing that it answers by yes."""
    if program is Program.CHECK:
        return Question.HEALTHZ
    if probe.handler == "grpc":
        return _SERVICES.get(probe.service) if program is Program.OURS else None
    asked = _PATHS.get(probe.path.partition("?")[0])
    plain = probe.scheme.upper() == "HTTP"
    answers = program is Program.OURS or asked is Question.HEALTHZ
    return asked if plain and answers else None
