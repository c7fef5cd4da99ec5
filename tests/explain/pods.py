"""A sound pod with a driver and its sidecar, to be changed by tests; as the API has it."""

from __future__ import annotations

import copy
from typing import Any

SOCKET = {"name": "socket", "mountPath": "/csi"}

_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"namespace": "kube-system", "name": "example-csi"},
    "spec": {
        "containers": [
            {
                "name": "driver",
                "image": "registry.k8s.io/sig-storage/hostpathplugin:v1.17.1",
                "ports": [{"name": "healthz", "containerPort": 9808}],
                "livenessProbe": {
                    "httpGet": {"path": "/healthz", "port": "healthz", "scheme": "HTTP"},
                    "periodSeconds": 10,
                    "timeoutSeconds": 3,
                    "failureThreshold": 5,
                    "initialDelaySeconds": 10,
                },
                "volumeMounts": [SOCKET],
            },
            {
                "name": "liveness-probe",
                "image": "registry.k8s.io/sig-storage/livenessprobe:v2.19.0",
                "args": ["--csi-address=/csi/csi.sock"],
                "volumeMounts": [SOCKET],
            },
        ],
        "volumes": [{"name": "socket", "emptyDir": {}}],
    },
}

OURS = "registry.example.com/livenessprobe:0.1.0"


class Pod:
    """A pod's JSON, and short names for its parts."""

    def __init__(self, *, ours: bool = False) -> None:
        self.json = copy.deepcopy(_POD)
        self.spec: dict[str, Any] = self.json["spec"]
        self.driver: dict[str, Any] = self.spec["containers"][0]
        self.sidecar: dict[str, Any] = self.spec["containers"][1]
        self.probe: dict[str, Any] = self.driver["livenessProbe"]
        if ours:
            self.sidecar["image"] = OURS

    def named(self, name: str) -> Pod:
        self.json["metadata"]["name"] = name
        return self

    def in_template(self, kind: str) -> dict[str, Any]:
        """Return the same pod as the template of a workload."""
        return self.json | {"kind": kind, "spec": {"template": {"spec": self.spec}}}
