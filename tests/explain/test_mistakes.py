"""The table of checks: each mistake has a manifest of its own, and the sound ones have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from livenessprobe.explain import explain_objects
from livenessprobe.explain.cases import case_of
from livenessprobe.explain.forecast import Program
from livenessprobe.explain.mistakes import checks
from livenessprobe.explain.objects import read_objects, read_workloads
from livenessprobe.explain.sidecars import find
from tests.explain.pods import Pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.explain.report import Report

    Change = Callable[[Pod], object]

DEPLOY = Path(__file__).parents[2] / "deploy"


def explained(*objects: Any, reference: bool = False) -> Report:
    data = json.dumps({"kind": "List", "items": objects}).encode()
    return explain_objects(list(read_objects(data)), reference=reference)


def mistakes(report: Report) -> list[tuple[str, str, str]]:
    return [
        (mistake.name, mistake.reason, mistake.remedy)
        for each in report.explained
        for mistake in each.warnings
    ]


def with_check(pod: Pod, *, memory: str) -> None:
    command = ["/livenessprobe", "check", "--csi-address=/csi/csi.sock"]
    pod.sidecar["readinessProbe"] = {"exec": {"command": command}, "timeoutSeconds": 5}
    pod.sidecar["resources"] = {"limits": {"memory": memory}}


def two_sidecars(pod: Pod) -> None:
    pod.spec["containers"].append(pod.sidecar | {"name": "second"})


def moved_to_sidecar(pod: Pod) -> None:
    pod.sidecar["livenessProbe"] = pod.driver.pop("livenessProbe")
    pod.sidecar["ports"] = pod.driver["ports"]


def other_volume(pod: Pod) -> None:
    pod.driver["volumeMounts"] = [{"name": "other", "mountPath": "/csi"}]


def host_paths(pod: Pod, *, driver: str) -> None:
    pod.spec["volumes"] = [
        {"name": "socket", "hostPath": {"path": "/var/lib/kubelet/plugins/example"}},
        {"name": "kubelet", "hostPath": {"path": driver}},
    ]
    pod.driver["volumeMounts"] = [{"name": "kubelet", "mountPath": "/host"}]


def with_readiness(pod: Pod) -> None:
    pod.driver["readinessProbe"] = pod.probe


def livez_beside_readiness(pod: Pod) -> None:
    pod.driver["readinessProbe"] = pod.probe
    pod.driver["livenessProbe"] = {"grpc": {"port": 9808, "service": "liveness"}}


# The name of the check, what is changed in a sound pod, ours or the reference's, and what the
# reason and the remedy say.
MANIFESTS: list[tuple[str, bool, Change, str, str]] = [
    (
        "windows",
        True,
        lambda pod: pod.spec.update(nodeSelector={"kubernetes.io/os": "windows"}),
        "the image is for Linux, and the nodes run Windows",
        "the image of kubernetes-csi/livenessprobe",
    ),
    (
        "flags",
        True,
        lambda pod: pod.sidecar.update(args=["--csi-address=unix://C:\\csi\\csi.sock"]),
        "is a Windows path, and this is Linux",
        "args without what it refuses",
    ),
    (
        "flags",
        False,
        lambda pod: pod.sidecar["args"].append("--connection-timeout=3s"),
        "ends at its start, so no probe succeeds: v2.19 does not take --connection-timeout",
        "args without what it refuses",
    ),
    (
        "flags",
        True,
        lambda pod: pod.sidecar["args"].append("--log-text-split-stream"),
        "no probe succeeds: LoggingConfiguration is invalid: options.text.splitStream: Forbidden",
        "args without what it refuses",
    ),
    (
        "port-name",
        False,
        lambda pod: pod.driver.pop("ports"),
        "driver declares no port healthz: kubelet neither asks nor restarts",
        "ports: [{name: healthz, containerPort: 9808}] there",
    ),
    (
        "question",
        False,
        lambda pod: pod.probe["httpGet"].update(path="/health"),
        "the sidecar never answers :9808/health with success, so a healthy driver fails too",
        "httpGet: {path: /healthz}",
    ),
    (
        "question",
        True,
        lambda pod: pod.driver.update(livenessProbe={"grpc": {"port": 9808, "service": "x"}}),
        "the sidecar never answers grpc :9808 x with success",
        "httpGet: {path: /healthz}",
    ),
    (
        "on-sidecar",
        False,
        moved_to_sidecar,
        "the liveness probe restarts its own container liveness-probe, not the driver",
        "livenessProbe in the driver's container",
    ),
    (
        "socket",
        False,
        lambda pod: pod.sidecar.pop("volumeMounts"),
        "the directory of /csi/csi.sock is on no volume that driver mounts too",
        "volumeMounts in both, or --csi-address",
    ),
    (
        "socket",
        False,
        other_volume,
        "the directory of /csi/csi.sock is on no volume that driver mounts too",
        "volumeMounts in both, or --csi-address",
    ),
    (
        "socket",
        False,
        lambda pod: host_paths(pod, driver="/var/lib/kubelet/plugins/other"),
        "the directory of /csi/csi.sock is on no volume that driver mounts too",
        "volumeMounts in both, or --csi-address",
    ),
    (
        "same-port",
        False,
        two_sidecars,
        "2 sidecars want port 9808 of one network, one gets it",
        "--health-port or --http-endpoint: a port of its own for each",
    ),
    (
        "period",
        True,
        lambda pod: pod.probe.update(periodSeconds=2),
        "periodSeconds is shorter than --probe-timeout",
        "periodSeconds: 4, or a higher failureThreshold",
    ),
    (
        "timeout",
        False,
        lambda pod: pod.probe.pop("timeoutSeconds"),
        "timeoutSeconds is shorter than --probe-timeout",
        "timeoutSeconds: 3",
    ),
    (
        "threshold",
        False,
        lambda pod: pod.probe.update(failureThreshold=1),
        "failureThreshold is 1",
        "failureThreshold: 3",
    ),
    (
        "not-ready",
        True,
        with_readiness,
        "the liveness probe restarts a driver that only is not ready",
        "livenessProbe: {httpGet: {path: /livez}}",
    ),
    (
        "exposed",
        False,
        lambda pod: pod.spec.update(hostNetwork=True),
        "port 9808 is open on every address of the node",
        "--http-endpoint=localhost:9808, and host: localhost in the probes",
    ),
    (
        "memory",
        True,
        lambda pod: pod.sidecar.update(resources={"limits": {"memory": "30Mi"}}),
        "the memory limit is so tight that the kernel may kill the sidecar",
        "limits: {memory: 32Mi}",
    ),
    (
        "memory",
        True,
        lambda pod: with_check(pod, memory="32Mi"),
        "the memory limit is so tight that the kernel may kill the sidecar",
        "limits: {memory: 64Mi}",
    ),
    (
        "cpu",
        True,
        lambda pod: pod.sidecar.update(resources={"limits": {"cpu": "50m"}}),
        "the CPU limit makes the sidecar start slowly",
        "no CPU limit, or 100m",
    ),
]


@pytest.mark.parametrize(("name", "ours", "change", "reason", "remedy"), MANIFESTS)
def test_a_mistake_is_told_with_its_reason_and_what_to_set(
    name: str,
    ours: bool,  # noqa: FBT001 - a column
    change: Change,
    reason: str,
    remedy: str,
) -> None:
    pod = Pod(ours=ours)
    change(pod)
    ((found, why, what_to_set), *more) = mistakes(explained(pod.json))
    assert (found, [other for other, *_ in more if other != name]) == (name, [])
    assert reason in why
    assert what_to_set.startswith(remedy)


def test_every_check_has_a_manifest() -> None:
    workloads, _ = read_workloads([Pod().json])
    (subject,), _ = find(workloads)
    table = checks(subject, case_of(subject, Program.REFERENCE), rivals=1)
    assert set(table) == {name for name, *_ in MANIFESTS}


@pytest.mark.parametrize("ours", [True, False])
def test_a_sound_pod_has_no_mistakes(*, ours: bool) -> None:
    assert mistakes(explained(Pod(ours=ours).json, reference=True)) == []


SOUND: list[Change] = [
    lambda pod: host_paths(pod, driver="/var/lib/kubelet"),
    lambda pod: host_paths(pod, driver="/var/lib/kubelet/plugins/example/"),
    lambda pod: (
        pod.spec.update(hostNetwork=True),
        pod.sidecar.update(args=["--http-endpoint=localhost:9808", "--csi-address=/csi/csi.sock"]),
    ),
    lambda pod: pod.sidecar.update(resources={"limits": {"memory": "32Mi", "cpu": "100m"}}),
    livez_beside_readiness,
    lambda pod: pod.sidecar.update(args=["--csi-address=$(SOCKET)"]),
]


@pytest.mark.parametrize("change", SOUND)
def test_what_only_looks_like_a_mistake_is_none(change: Change) -> None:
    pod = Pod(ours=True)
    change(pod)
    report = explained(pod.json)
    assert len(report.explained) == 1
    assert mistakes(report) == []


def test_a_check_in_the_sidecars_container_may_have_enough_memory() -> None:
    pod = Pod(ours=True)
    with_check(pod, memory="64Mi")
    report = explained(pod.json)
    assert [each.container for each in report.explained] == ["driver", "liveness-probe"]
    assert mistakes(report) == []


def test_two_workloads_on_the_hosts_network_may_meet_on_a_node() -> None:
    pods = [Pod().named(name) for name in "abcde"]
    for pod in pods:
        pod.spec["hostNetwork"] = True
    found = mistakes(explained(*(pod.json for pod in pods)))
    wanted = {reason for name, reason, _ in found if name == "same-port"}
    assert wanted == {"5 sidecars want port 9808 of one network, one gets it"}
    for pod in pods:
        pod.spec["nodeName"] = f"node of {pod.json['metadata']['name']}"
    found = mistakes(explained(*(pod.json for pod in pods)))
    assert {name for name, *_ in found} == {"exposed"}


def test_two_workloads_on_nodes_of_two_systems_never_meet() -> None:
    pods = [Pod().named("a"), Pod().named("b")]
    for pod, system in zip(pods, ("linux", "windows"), strict=True):
        pod.spec |= {"hostNetwork": True, "nodeSelector": {"kubernetes.io/os": system}}
    found = mistakes(explained(*(pod.json for pod in pods)))
    assert {name for name, *_ in found} == {"exposed"}


def test_two_pods_with_networks_of_their_own_may_use_the_same_port() -> None:
    assert mistakes(explained(Pod().named("a").json, Pod().named("b").json)) == []


def test_what_a_swap_brings_is_told_of_the_other_program_only() -> None:
    pod = Pod()
    pod.sidecar["image"] = "livenessprobe:v2.16.0"
    pod.probe["periodSeconds"] = 2
    (explanation,) = explained(pod.json, reference=True).explained
    (warning,) = explanation.warnings  # since its --probe-timeout is 3 s, not 1 s
    assert warning.reason.startswith("with this program, periodSeconds is shorter than")


def test_what_is_wrong_with_both_is_told_once() -> None:
    pod = Pod()
    pod.probe["failureThreshold"] = 1
    (explanation,) = explained(pod.json, reference=True).explained
    assert [mistake.name for mistake in explanation.warnings] == ["threshold"]


def test_the_projects_own_manifests_have_no_mistakes() -> None:
    files = [
        DEPLOY / "example.yaml",
        *(DEPLOY / "probes").iterdir(),
        *(DEPLOY / "network").iterdir(),
    ]
    documents = [item for path in files for item in yaml.safe_load_all(path.read_text())]
    report = explained(*documents)
    assert len(report.explained) == len(files)
    assert mistakes(report) == []
    assert report.skipped == []


def test_a_windows_pod_may_keep_the_reference() -> None:
    pod = Pod()
    pod.spec["nodeSelector"] = {"kubernetes.io/os": "windows"}
    assert mistakes(explained(pod.json)) == []
