"""Reads Kubernetes objects from JSON: the workloads with the parts of their pods that matter here.

The input may be anything: a field of the wrong type counts as one that is not there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LARGEST = 256 * 1024 * 1024
"""Bytes of one input: some 25,000 pods. To read it takes four to nine times as much memory."""

_LONGEST_ARGUMENT = 4096
"""Characters of an argument or variable that count; an address or a port has fewer.

Without a limit, variables that refer to each other could grow exponentially.
"""

_DEFAULTS = {
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "failureThreshold": 3,
    "initialDelaySeconds": 0,
}
_FACTORS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

_NOT_BLANK = re.compile(r"\S")
_VARIABLE = re.compile(r"\$(\$|\([^()]*\))")
_QUANTITY = re.compile(rf"([0-9]{{1,18}}(?:\.[0-9]{{1,18}})?)({'|'.join(_FACTORS)})")


class InputError(Exception):
    """The input is not JSON, or holds no Kubernetes object; the message says what and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of a container."""

    type: str  # liveness, readiness or startup
    handler: str  # httpGet, grpc or exec; empty if it is another one
    port: int | str | None  # a number, or an undeclared name; None: there is none
    path: str  # of httpGet; of grpc the service
    asks: str  # what is asked, as a person reads it; of exec the command
    settings: Mapping[str, int]  # its numbers, by their names in the object
    defaults: tuple[str, ...]  # the names of those numbers that Kubernetes fills in


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container that runs as long as its pod."""

    name: str
    image: str  # the last part of its name
    tag: str  # of the image
    program: str  # what its command runs; empty: what the image says
    args: tuple[str, ...]  # of the command and behind it, with $(VAR) expanded as far as known
    volumes: Mapping[str, str]  # by where they are mounted: their paths on the node, or their names
    limits: Mapping[str, float]  # in CPUs and bytes; infinite: none
    probes: Mapping[str, Probe]  # by type


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a person calls one thing: a DaemonSet with all its pods, or a pod that has no owner."""

    name: str  # with its kind and namespace, such as DaemonSet kube-system/node
    node: str | None  # whose network it is on; None: on one of its own; empty: on any node's
    windows: bool
    containers: tuple[Container, ...]


def read_objects(data: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in `data`: any number of JSON documents, each one object or a List.

    Raises:
        InputError: there is something else, or nothing.

    """
    if len(data) > LARGEST:
        raise InputError(f"is longer than {LARGEST} bytes: give less, such as one namespace")
    if not data.strip():
        raise InputError("is empty: pipe kubectl get -o json into it, or name files")
    position = 0
    try:
        text = data.decode("utf-8-sig")
        while match := _NOT_BLANK.search(text, position):
            document, position = json.JSONDecoder().raw_decode(text, match.start())
            is_list = _at(str, document, "kind").endswith("List")
            for item in _each(dict, document, "items") if is_list else [document]:
                if not _at(str, item, "kind"):
                    raise InputError("holds what is no Kubernetes object: it has no kind")
                yield item
    except (ValueError, RecursionError) as error:
        hint = "kubectl create --dry-run=client -o json -f FILE turns YAML into JSON"
        raise InputError(f"is not JSON that can be read: {error} ({hint})") from error


def read_workloads(
    objects: Iterable[Mapping[str, Any]],
) -> tuple[list[Workload], Mapping[str, int]]:
    """Return the workloads, and how many objects of each other kind there are.

    What belongs to another one of the workloads, such as a pod to its DaemonSet, is left out.
    """
    found: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []
    others: Counter[str] = Counter()
    for item in objects:
        kind = item["kind"]
        path = ("spec",) if kind == "Pod" else ("spec", "template", "spec")
        if spec := _at(dict, item, *path):
            found.append((_name(item, kind, _at(str, item, "metadata", "name")), item, spec))
        else:
            others[kind] += 1
    shown = {name for name, _, _ in found}
    workloads = [
        _workload(name, spec) for name, item, spec in found if shown.isdisjoint(_owners(item))
    ]
    return workloads, dict(others)


def _name(item: Mapping[str, Any], kind: str, name: str) -> str:
    """Return how a person calls this in the namespace of `item`."""
    namespace = _at(str, item, "metadata", "namespace")
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _owners(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the object belongs to: its owner, and for a ReplicaSet the Deployment too."""
    for each in _each(dict, item, "metadata", "ownerReferences"):
        kind, name = _at(str, each, "kind"), _at(str, each, "name")
        yield _name(item, kind, name)
        if kind == "ReplicaSet":  # called like its Deployment, with a hash behind
            yield _name(item, "Deployment", name.rpartition("-")[0])


def _workload(name: str, spec: Mapping[str, Any]) -> Workload:
    staying = [e for e in _each(dict, spec, "initContainers") if e.get("restartPolicy") == "Always"]
    on_node = {
        _at(str, e, "name"): _at(str, e, "hostPath", "path") for e in _each(dict, spec, "volumes")
    }
    return Workload(
        name=name,
        node=_at(str, spec, "nodeName") if spec.get("hostNetwork") is True else None,
        windows=_at(str, spec, "nodeSelector", "kubernetes.io/os") == "windows",
        containers=tuple(
            _container(e, on_node) for e in (*_each(dict, spec, "containers"), *staying)
        ),
    )


def _container(entry: Mapping[str, Any], on_node: Mapping[str, str]) -> Container:
    env: dict[str, str] = {}
    for each in _each(dict, entry, "env"):
        if type(each.get("value")) is str:
            env[_at(str, each, "name")] = expand(each["value"], env)
    command = [expand(text, env) for text in _each(str, entry, "command")]
    args = [expand(text, env) for text in _each(str, entry, "args")]
    mounts = {
        _at(str, e, "mountPath"): _at(str, e, "name") for e in _each(dict, entry, "volumeMounts")
    }
    limits = _at(dict, entry, "resources", "limits")
    ports = {_at(str, e, "name"): _at(int, e, "containerPort") for e in _each(dict, entry, "ports")}
    image, _, tag = _at(str, entry, "image").partition("@")[0].rpartition("/")[2].partition(":")
    return Container(
        name=_at(str, entry, "name"),
        image=image,
        tag=tag,
        program="".join(command[:1]),
        args=(*command[1:], *args),
        volumes={path: on_node.get(name) or name for path, name in mounts.items()},
        limits={name: quantity(limits.get(name)) for name in ("cpu", "memory")},
        probes={
            kind: _probe(kind, entry[f"{kind}Probe"], ports)
            for kind in ("liveness", "readiness", "startup")
            if entry.get(f"{kind}Probe")
        },
    )


def _probe(kind: str, entry: object, ports: Mapping[str, int]) -> Probe:
    handler = next((name for name in ("httpGet", "grpc", "exec") if _at(dict, entry, name)), "")
    action = _at(dict, entry, handler)
    name = _at(str, action, "port")
    number = int(name) if re.fullmatch("[0-9]{1,5}", name) else ports.get(name)
    port = (number or name) if name else _at(int, action, "port") or None
    path = _at(str, action, "path") or "/" if handler == "httpGet" else _at(str, action, "service")
    command = " ".join(_each(str, action, "command"))
    asks = {"httpGet": f":{port}{path}", "grpc": f"grpc :{port} {path}".rstrip(), "exec": command}
    # The API server takes zero for "not set", and refuses what is outside of an int32.
    numbers = {name: _at(int, entry, name) for name in _DEFAULTS}
    given = {name: number for name, number in numbers.items() if 0 < number < 2**31}
    return Probe(
        type=kind,
        handler=handler,
        port=port,
        path=path,
        asks=asks.get(handler, ""),
        settings=_DEFAULTS | given,
        defaults=tuple(name for name in _DEFAULTS if name not in given),
    )


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand `$(VAR)` as kubelet does: `$$` is a `$`, and an unknown variable stays as it is."""
    known = {"$": "$"} | {f"({name})": value for name, value in env.items()}
    text = text[:_LONGEST_ARGUMENT]
    return _VARIABLE.sub(lambda m: known.get(m[1], m[0]), text)[:_LONGEST_ARGUMENT]


def quantity(value: object) -> float:
    """Read a quantity as manifests write them, such as `100m` or `32Mi`; infinite: it is none."""
    match = _QUANTITY.fullmatch(str(value))
    return float(match[1]) * _FACTORS[match[2]] if match else inf


def _at(kind: type, value: object, *path: str) -> Any:
    """Return what is at the path if it is of this kind, else the kind's empty value."""
    for key in path:
        value = cast("Mapping[str, object]", value).get(key) if isinstance(value, dict) else None
    return value if type(value) is kind else kind()


def _each(kind: type, value: object, *path: str) -> list[Any]:
    """Return those elements of the list at the path that are of this kind."""
    return [each for each in _at(list, value, *path) if type(each) is kind]
