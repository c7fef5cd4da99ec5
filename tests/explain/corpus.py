"""The public manifests of the corpus, each wrapped into the object that it came from.

The corpus records the sidecar, the probed container and their probes. The volume that they share
is not in it, nor who is probed where no probe was seen; the volume is added here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.flags.test_corpus import CORPUS, plausible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def rows() -> Iterator[Mapping[str, Any]]:
    """Yield the corpus, row by row, or nothing if it is not beside the repository."""
    if CORPUS.exists():
        yield from map(json.loads, CORPUS.read_text(encoding="utf-8").splitlines())


def wrapped(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row as an object of the API."""
    kind, name = _workload(row)
    address = _socket(row)
    mounts = [{"name": "socket", "mountPath": address.rpartition("/")[0] or "/csi"}]
    sidecar = {
        "name": row["container"],
        "image": row["image"],
        "command": row["command"],
        "args": row["args"],
        "env": [_variable(name, value) for name, value in row["env"].items()],
        "ports": row["ports"],
        "resources": row["resources"],
        "volumeMounts": mounts,
    }
    # What a chart fills in, `${NAME}`, no object of a cluster has.
    arguments = json.dumps(row["args"])
    sidecar["args"] = json.loads(re.sub(r"\$\{(\w+)\}", lambda m: plausible(m[1]), arguments))
    containers = [sidecar]
    if row["probedContainer"] is not None:
        containers.append(
            {
                "name": row["probedContainer"],
                "ports": row["probedContainerPorts"],
                "livenessProbe": row["livenessProbe"],
                "readinessProbe": row["readinessProbe"],
                "volumeMounts": mounts,
            }
        )
    spec = {
        "hostNetwork": row["hostNetwork"],
        "containers": containers,
        "volumes": [{"name": "socket", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"template": {"spec": spec}},
    }


def _workload(row: Mapping[str, Any]) -> tuple[str, str]:
    match = re.search(r"workload (DaemonSet|Deployment|StatefulSet)/([\w.-]+)", row["notes"])
    return (match[1], match[2]) if match else ("DaemonSet", row["driver"])


def _variable(name: str, value: str) -> dict[str, Any]:
    if value.startswith("<"):  # it comes from a field, a ConfigMap or a Secret
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": value.strip("<>")}}}
    return {"name": name, "value": value}


def _socket(row: Mapping[str, Any]) -> str:
    arguments = [*(row["command"] or ()), *(row["args"] or ())]
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if name == "csi-address":
            value = re.sub(r"\$\((\w+)\)", lambda match: row["env"].get(match[1], ""), value)
            return re.sub("^unix:(//)?", "", value)
    return "/run/csi/socket"
