"""Reads Kubernetes objects from JSON: the workloads with the parts of their pods that matter here.

The input is whatever `kubectl get -o json` printed, or anything else, so nothing is taken for
granted: a field of the wrong type counts as one that is not there. All values are frozen, and hold
what the API server would have stored; defaults are filled in elsewhere, which tells them apart.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LARGEST = 256 * 1024 * 1024
"""Bytes of one input: some 25,000 pods. To read it takes four to nine times as much memory."""

# Where a kind has the spec of its pods.
_POD_SPECS: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "PodTemplate": ("template", "spec"),
} | dict.fromkeys(
    ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"),
    ("spec", "template", "spec"),
)

_DEEPEST_LIST = 8
"""Lists within lists; kubectl makes one."""

PROBE_TYPES = ("liveness", "readiness", "startup")


EMPTY = "is empty: pipe kubectl get -o json into it, or name files"


class InputError(Exception):
    """The input is not JSON, or holds no Kubernetes object; the message says what and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of a container, as far as it is given.

    Attributes:
        type: `liveness`, `readiness` or `startup`.
        handler: `httpGet`, `grpc`, `exec`, or the name of another one; empty if there is none.
        port: a number, the name of one of the container's ports, or None.
        path: of `httpGet`.
        service: of `grpc`.
        command: of `exec`.
        seconds: `periodSeconds` and its like, and `failureThreshold`, only those that are set.

    """

    type: str
    handler: str = ""
    host: str = ""
    port: int | str | None = None
    path: str = ""
    scheme: str = "HTTP"
    service: str = ""
    command: tuple[str, ...] = ()
    seconds: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A volume's place in a container; `volume` is its path on the node, or its name."""

    path: str
    volume: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container that runs as long as its pod.

    Attributes:
        command: with `$(VAR)` expanded as far as the object has the values; likewise `args`.
        ports: the numbers of the declared ports that have a name.
        limits: in CPUs and bytes.

    """

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    mounts: tuple[Mount, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a person calls one thing: a DaemonSet with all its pods, or a pod that has no owner."""

    kind: str
    namespace: str
    name: str
    host_network: bool
    windows: bool
    containers: tuple[Container, ...]

    def __str__(self) -> str:
        """Name it as `kubectl get` would, with its namespace if it has one."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


def read_objects(data: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in `data`: any number of JSON documents, each one object or a List.

    Raises:
        InputError: there is something else, or nothing.

    """
    if len(data) > LARGEST:
        raise InputError(f"is longer than {LARGEST} bytes: give less, such as one namespace")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 at byte {error.start}") from error
    decoder = json.JSONDecoder()
    blank = re.compile(r"\s*")
    position = _end(blank, text, 0)
    if position == len(text):
        raise InputError(EMPTY)
    while position < len(text):
        try:
            document, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise InputError(f"is not JSON at {place}: {error.msg}") from error
        except (RecursionError, ValueError) as error:
            raise InputError("is nested too deeply, or holds a number too long to read") from error
        yield from _flat(document, _DEEPEST_LIST)
        position = _end(blank, text, position)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _flat(document: object, depth: int) -> Iterator[Mapping[str, Any]]:
    item = _mapping(document)
    kind = _text(item.get("kind"))
    if not kind or not depth:
        raise InputError("holds something that is no Kubernetes object: it has no `kind`")
    if kind.endswith("List") and isinstance(item.get("items"), list):
        for element in _sequence(item["items"]):
            # A typed list, such as PodList, leaves out what its own kind tells.
            yield from _flat({"kind": kind[:-4], **_mapping(element)}, depth - 1)
    else:
        yield item


def read_workloads(
    objects: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Workload, ...], Mapping[str, int]]:
    """Return the workloads, and how many objects of each other kind there are.

    What belongs to another one of the workloads, such as a pod to its DaemonSet, is left out.
    """
    with_pods: list[Mapping[str, Any]] = []
    others: Counter[str] = Counter()
    for item in objects:
        if item["kind"] in _POD_SPECS:
            with_pods.append(item)
        else:
            others[item["kind"]] += 1
    shown = {(item["kind"], *_place(item)) for item in with_pods}
    return tuple(_workload(item) for item in with_pods if not _owners(item) & shown), others


def _place(item: Mapping[str, Any]) -> tuple[str, str]:
    metadata = _mapping(item.get("metadata"))
    return _text(metadata.get("namespace")), _text(metadata.get("name"))


def _owners(item: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Return what the object belongs to, by kind, namespace and name."""
    metadata = _mapping(item.get("metadata"))
    namespace = _text(metadata.get("namespace"))
    template_hash = _text(_mapping(metadata.get("labels")).get("pod-template-hash"))
    owners: set[tuple[str, str, str]] = set()
    for reference in map(_mapping, _sequence(metadata.get("ownerReferences"))):
        kind, name = _text(reference.get("kind")), _text(reference.get("name"))
        owners.add((kind, namespace, name))
        if kind == "ReplicaSet" and template_hash:  # which is its Deployment's, and seldom shown
            owners.add(("Deployment", namespace, name.removesuffix(f"-{template_hash}")))
    return owners


def _workload(item: Mapping[str, Any]) -> Workload:
    spec: Mapping[str, Any] = item
    for key in _POD_SPECS[item["kind"]]:
        spec = _mapping(spec.get(key))
    namespace, name = _place(item)
    volumes = {
        _text(volume.get("name")): _text(_mapping(volume.get("hostPath")).get("path"))
        for volume in map(_mapping, _sequence(spec.get("volumes")))
    }
    selector = _mapping(spec.get("nodeSelector"))
    systems = {
        _text(selector.get("kubernetes.io/os")),
        _text(selector.get("beta.kubernetes.io/os")),
        _text(_mapping(spec.get("os")).get("name")),
    }
    containers = map(_mapping, _sequence(spec.get("containers")))
    before = map(_mapping, _sequence(spec.get("initContainers")))
    staying = (entry for entry in before if entry.get("restartPolicy") == "Always")
    return Workload(
        kind=item["kind"],
        namespace=namespace,
        name=name,
        host_network=spec.get("hostNetwork") is True,
        windows="windows" in systems,
        containers=tuple(_container(entry, volumes) for entry in (*containers, *staying)),
    )


def _container(entry: Mapping[str, Any], volumes: Mapping[str, str]) -> Container:
    env: dict[str, str] = {}
    for variable in map(_mapping, _sequence(entry.get("env"))):
        if isinstance(variable.get("value"), str):
            env[_text(variable.get("name"))] = expand(variable["value"], env)
    limits = _mapping(_mapping(entry.get("resources")).get("limits"))
    amounts = {name: quantity(str(limits[name])) for name in ("cpu", "memory") if name in limits}
    return Container(
        name=_text(entry.get("name")),
        image=_text(entry.get("image")),
        command=tuple(expand(text, env) for text in _texts(entry.get("command"))),
        args=tuple(expand(text, env) for text in _texts(entry.get("args"))),
        ports={
            _text(port.get("name")): port["containerPort"]
            for port in map(_mapping, _sequence(entry.get("ports")))
            if _is_number(port.get("containerPort"))
        },
        mounts=tuple(_mounts(entry, volumes)),
        limits={name: amount for name, amount in amounts.items() if amount is not None},
        probes=tuple(
            _probe(kind, _mapping(entry[f"{kind}Probe"]))
            for kind in PROBE_TYPES
            if _mapping(entry.get(f"{kind}Probe"))
        ),
    )


def _mounts(entry: Mapping[str, Any], volumes: Mapping[str, str]) -> Iterator[Mount]:
    for mount in map(_mapping, _sequence(entry.get("volumeMounts"))):
        name, part = _text(mount.get("name")), _text(mount.get("subPath"))
        volume = volumes.get(name) or name  # a path begins with a slash, and a name does not
        path = _text(mount.get("mountPath"))
        yield Mount(path=path, volume=f"{volume.rstrip('/')}/{part}" if part else volume)


_HANDLERS = ("httpGet", "grpc", "exec", "tcpSocket")
_SECONDS = ("periodSeconds", "timeoutSeconds", "failureThreshold", "initialDelaySeconds")


def _probe(kind: str, entry: Mapping[str, Any]) -> Probe:
    handler = next((name for name in _HANDLERS if _mapping(entry.get(name))), "")
    action = _mapping(entry.get(handler))
    port = action.get("port")
    return Probe(
        type=kind,
        handler=handler,
        host=_text(action.get("host")),
        port=port if isinstance(port, str) or _is_number(port) else None,
        path=_text(action.get("path")) or "/",
        scheme=_text(action.get("scheme")) or "HTTP",
        service=_text(action.get("service")),
        command=tuple(_texts(action.get("command"))),
        # The API server takes zero for "not set" and refuses what is below it.
        seconds={
            name: entry[name] for name in _SECONDS if _is_number(entry.get(name)) and entry[name]
        },
    )


_VARIABLE = re.compile(r"\$(\$|\(([^()]*)\))")


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand `$(VAR)` as kubelet does: `$$` is a `$`, and an unknown variable stays as it is."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    # Values may hold references to others; more than this is no address and no port.
    return _VARIABLE.sub(value, text[:_LONGEST_ARGUMENT])[:_LONGEST_ARGUMENT]


_LONGEST_ARGUMENT = 4096

_NUMBER = r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][0-9]{1,2})?"
_FACTORS: Mapping[str, float] = {"": 1, "m": 1e-3} | {
    suffix: base**power
    for base, suffixes in ((1000, ("k", "M", "G", "T", "P", "E")), (1024, ("Ki", "Mi", "Gi", "Ti")))
    for power, suffix in enumerate(suffixes, start=1)
}
_QUANTITY = re.compile(f"({_NUMBER})({'|'.join(_FACTORS)})")


def quantity(text: str) -> float | None:
    """Read a Kubernetes quantity, such as `100m` or `32Mi`; None: it is none."""
    match = _QUANTITY.fullmatch(text)
    return float(match[1]) * _FACTORS[match[2]] if match else None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _sequence(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Iterator[str]:
    return (item for item in _sequence(value) if isinstance(item, str))


_HIGHEST = 2**31 - 1  # the API's int32


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST
