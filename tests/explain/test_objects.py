from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest

from livenessprobe.explain import objects
from livenessprobe.explain.objects import InputError, expand, quantity, read_objects, read_workloads
from tests.explain.pods import Pod


def read(*documents: Any) -> list[str]:
    """Return the names of the workloads in these documents."""
    data = "\n".join(json.dumps(document) for document in documents).encode()
    workloads, _ = read_workloads(read_objects(data))
    return [workload.name for workload in workloads]


def owned(pod: Pod, kind: str, name: str) -> dict[str, Any]:
    owners = [{"kind": kind, "name": name, "controller": True}]
    return pod.json | {"metadata": pod.json["metadata"] | {"ownerReferences": owners}}


@pytest.mark.parametrize(
    "documents",
    [
        [Pod().json, Pod().json],
        [{"kind": "List", "items": [Pod().json, Pod().json]}],
        [{"kind": "List", "items": [Pod().json]}, Pod().json],
    ],
)
def test_objects_come_alone_or_in_lists_and_there_may_be_several_documents(
    documents: list[Any],
) -> None:
    assert read(*documents) == ["Pod kube-system/example-csi"] * 2


def test_a_workload_has_its_containers_from_its_template() -> None:
    workloads, _ = read_workloads([Pod().in_template("StatefulSet"), Pod().json])
    for workload, kind in zip(workloads, ("StatefulSet", "Pod"), strict=True):
        assert workload.name == f"{kind} kube-system/example-csi"
        assert [each.name for each in workload.containers] == ["driver", "liveness-probe"]


def test_what_a_shown_workload_owns_is_not_repeated() -> None:
    node, controller = Pod().named("node"), Pod().named("controller")
    assert read(
        node.in_template("DaemonSet"),
        owned(Pod().named("node-x7k2p"), "DaemonSet", "node"),
        controller.in_template("Deployment"),
        owned(Pod().named("controller-1"), "ReplicaSet", "controller-6d4cf56db6"),
        owned(Pod().named("other-x"), "DaemonSet", "other"),
        owned(Pod().named("other-y"), "ReplicaSet", "other-6d4cf56db6"),
        owned(Pod().named("same"), "Driver", "same"),
    ) == [
        "DaemonSet kube-system/node",
        "Deployment kube-system/controller",
        "Pod kube-system/other-x",
        "Pod kube-system/other-y",
        "Pod kube-system/same",
    ]


def test_other_kinds_are_counted_by_name() -> None:
    others = [{"kind": "ConfigMap"}, {"kind": "Service"}, {"kind": "ConfigMap"}]
    assert read_workloads([*others, Pod().json])[1] == {"ConfigMap": 2, "Service": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"kind: Pod\n", "is not JSON that can be read: Expecting value: line 1 column 1"),
        (b'{"kind": "Pod"} {', "is not JSON that can be read: .*line 1 column 18"),
        (b'{"items": []}', "no Kubernetes object: it has no kind"),
        (b"[]", "no Kubernetes object"),
        (b'{"kind": "List", "items": [{}]}', "no Kubernetes object"),
        (b'{"kind": 3}', "no Kubernetes object"),
        (b"\xff\xfe", "is not JSON that can be read: .* byte 0xff in position 0"),
        (b"[" * 200_000, "is not JSON that can be read: maximum recursion depth exceeded"),
        (b'{"kind": "L", "n": ' + b"1" * 10_000 + b"}", "is not JSON that can be read: Exceeds"),
    ],
)
def test_input_that_holds_no_objects_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_objects(data))


def test_input_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LARGEST", 100)
    with pytest.raises(InputError, match="is longer than 100 bytes: give less"):
        list(read_objects(b" " * 101))


def test_a_byte_order_mark_is_no_harm() -> None:
    assert list(read_objects(b'\xef\xbb\xbf{"kind": "Pod"}')) == [{"kind": "Pod"}]


def test_fields_of_the_wrong_type_count_as_not_there() -> None:
    pod = Pod()
    pod.sidecar |= {"args": "--v=5", "ports": {}, "env": [3], "resources": [], "volumeMounts": None}
    pod.driver["ports"] = [{"name": "healthz", "containerPort": "9808"}, 3]
    pod.probe |= {"periodSeconds": "10", "timeoutSeconds": -1, "failureThreshold": True}
    pod.spec["volumes"] = 5
    (workload,), _ = read_workloads([pod.json])
    driver, sidecar = workload.containers
    assert (sidecar.args, sidecar.volumes) == ((), {})
    assert sidecar.limits == {"cpu": inf, "memory": inf}
    (probe,) = driver.probes.values()
    assert probe.port == "healthz"
    assert list(probe.settings.values()) == [10, 1, 3, 10]
    assert probe.defaults == ("periodSeconds", "timeoutSeconds", "failureThreshold")


def test_a_probe_of_another_kind_has_no_handler() -> None:
    pod = Pod()
    pod.driver["livenessProbe"] = {"tcpSocket": {"port": 9808}}
    pod.driver["startupProbe"] = {"periodSeconds": 5}
    pod.driver["ports"] = [{"containerPort": 9808}]
    (workload,), _ = read_workloads([pod.json])
    found = [(probe.handler, probe.port) for probe in workload.containers[0].probes.values()]
    assert found == [("", None), ("", None)]


def test_init_containers_that_stay_are_containers() -> None:
    pod = Pod()
    pod.spec["initContainers"] = [
        {"name": "gone"},
        {"name": "once", "restartPolicy": "Never"},
        pod.sidecar | {"restartPolicy": "Always"},
    ]
    pod.spec["containers"].remove(pod.sidecar)
    (workload,), _ = read_workloads([pod.json])
    assert [container.name for container in workload.containers] == ["driver", "liveness-probe"]


def test_variables_have_the_values_of_the_environment_in_its_order() -> None:
    pod = Pod()
    pod.sidecar["env"] = [
        {"name": "PORT", "value": "9808"},
        {"name": "ADDRESS", "value": "[$(POD_IP)]:$(PORT)"},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    pod.sidecar["args"] = ["--http-endpoint=$(ADDRESS)"]
    (workload,), _ = read_workloads([pod.json])
    assert workload.containers[1].args == ("--http-endpoint=[$(POD_IP)]:9808",)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$A ${A} $(A", "$A ${A} $(A"),
        ("$(A)$(A)", "11"),
        ("x" * 9999, "x" * 4096),
    ],
)
def test_references_are_expanded_as_kubelet_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", 0.1),
        ("0.5", 0.5),
        ("2", 2),
        (2, 2),
        ("32Mi", 32 * 2**20),
        ("1.5Gi", 1.5 * 2**30),
        ("50M", 50e6),
        ("", inf),
        ("-1", inf),
        ("1x", inf),
        ("1e3", inf),
        ("1\n", inf),
        ("9" * 99, inf),
    ],
)
def test_quantities_are_read_as_kubernetes_does(text: str | int, number: float) -> None:
    assert quantity(text) == pytest.approx(number)
