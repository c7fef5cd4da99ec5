from __future__ import annotations

from typing import Any

import pytest

from livenessprobe.explain.cases import case_of
from livenessprobe.explain.forecast import Program
from livenessprobe.explain.objects import read_workloads
from livenessprobe.explain.sidecars import Subject, find
from tests.explain.pods import OURS, Pod


def found(pod: Pod) -> tuple[list[Subject], list[str]]:
    (workload,), _ = read_workloads([pod.json])
    return find([workload])


def only(pod: Pod) -> Subject:
    (subject,), skipped = found(pod)
    assert skipped == []
    return subject


def why_not(pod: Pod) -> str:
    subjects, (skipped,) = found(pod)
    assert subjects == []
    what, _, why = skipped.partition(": ")
    assert what == "Pod kube-system/example-csi, sidecar liveness-probe"
    return why


def test_the_container_whose_probe_asks_the_sidecars_port_is_probed_through_it() -> None:
    subject = only(Pod())
    assert subject.container.name == "driver"
    assert subject.sidecar.name == "liveness-probe"
    assert list(subject.probes) == ["liveness"]


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "registry.k8s.io/sig-storage/livenessprobe@sha256:12"},
        {"image": "mirror.example.com:5000/csi-liveness-probe"},
        {"image": "all-in-one:1", "command": ["/bin/livenessprobe"], "name": "x"},
        {"image": "all-in-one:1", "command": ["C:\\livenessprobe.exe"], "name": "x"},
        {"image": "all-in-one:1"},
    ],
)
def test_a_sidecar_is_known_by_image_command_or_name(changes: dict[str, Any]) -> None:
    pod = Pod()
    pod.sidecar |= changes
    assert only(pod).sidecar.name == pod.sidecar["name"]


def test_other_sidecars_are_none() -> None:
    pod = Pod()
    pod.sidecar |= {
        "name": "csi-provisioner",
        "image": "registry.k8s.io/sig-storage/csi-provisioner:v5.0.0",
        "args": ["--csi-address=/csi/csi.sock", "--http-endpoint=:9808"],
    }
    assert found(pod) == ([], [])


@pytest.mark.parametrize(
    ("port", "ports", "args"),
    [
        ("healthz", [{"name": "healthz", "containerPort": 29603}], ["--health-port=29603"]),
        (29603, [{"containerPort": 9000}], ["--http-endpoint=:29603"]),
        ("29603", [], ["--http-endpoint=localhost:29603"]),
        ("healthz", [{"name": "healthz", "containerPort": 29603}], ["--http-endpoint=[::1]:29603"]),
        # Declared elsewhere, or nowhere: kubelet does not find it, but who reads it does.
        ("healthz", [], ["--health-port=29603"]),
    ],
)
def test_a_probe_asks_a_port_by_number_or_by_a_name_of_its_container(
    port: int | str, ports: list[Any], args: list[str]
) -> None:
    pod = Pod()
    pod.probe["httpGet"]["port"] = port
    pod.driver["ports"] = ports
    pod.sidecar["args"] = args
    assert only(pod).port == 29603


def test_a_probe_of_anything_else_is_not_the_sidecars() -> None:
    pod = Pod()
    pod.driver["startupProbe"] = {"tcpSocket": {"port": 9808}}
    pod.driver["readinessProbe"] = {"httpGet": {"path": "/ready", "port": "web"}}
    assert list(only(pod).probes) == ["liveness"]


@pytest.mark.parametrize("scheme", ["", "unix:", "unix://", "UNIX://"])
def test_the_socket_is_the_path_that_the_program_reads(scheme: str) -> None:
    pod = Pod()
    pod.sidecar.update(args=[f"--csi-address={scheme}/csi/csi.sock"])
    assert only(pod).socket == "/csi/csi.sock"


@pytest.mark.parametrize(
    ("command", "is_check"),
    [
        (["/livenessprobe", "check", "--csi-address=/csi/csi.sock"], True),
        (["livenessprobe", "check"], True),
        (["/bin/other", "check"], False),
        (["livenessprobe", "--v=2"], False),
    ],
)
def test_a_check_in_the_sidecars_container_asks_it(command: list[str], *, is_check: bool) -> None:
    pod = Pod()
    pod.sidecar["readinessProbe"] = {"exec": {"command": command}}
    subjects, skipped = found(pod)
    containers = [subject.container.name for subject in subjects]
    assert containers == (["driver", "liveness-probe"] if is_check else ["driver"])
    assert skipped == []
    # Only this program has the command.
    assert subjects[0].program is (Program.OURS if is_check else Program.REFERENCE)


def test_a_check_in_another_container_is_none_of_the_sidecars_probes() -> None:
    pod = Pod()
    pod.driver["readinessProbe"] = {"exec": {"command": ["/livenessprobe", "check"]}}
    assert list(only(pod).probes) == ["liveness"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"args": ["--nope"]}, "it ends at its start: flag provided but not defined: -nope"),
        ({"args": ["--probe-timeout=3"]}, 'it ends at its start: invalid value "3" for flag'),
        ({"args": ["--help"]}, "it ends at its start: it is asked for help"),
        ({"command": ["/bin/sh", "-c"]}, 'its command is "/bin/sh", which is not read'),
        ({"args": ["--http-endpoint=$(ADDRESS)"]}, "the port that it listens on is not in"),
        (
            {"args": ["--health-port=9809"]},
            "no probe of the pod asks its port 9809: it restarts nothing",
        ),
        (
            {"image": "quay.io/k8scsi/livenessprobe:v1.0.2"},
            "its image is v1.0.2, older than --probe-timeout",
        ),
    ],
)
def test_what_is_not_understood_is_skipped_with_the_reason(
    changes: dict[str, Any], reason: str
) -> None:
    pod = Pod()
    pod.probe["httpGet"]["port"] = 9808
    pod.sidecar |= changes
    assert why_not(pod).startswith(reason)


def subject_of(image: str, *args: str) -> Subject:
    pod = Pod()
    pod.sidecar |= {"image": image, "args": [*args]}
    return only(pod)


@pytest.mark.parametrize(
    ("image", "version", "seconds", "origin"),
    [
        ("quay.io/k8scsi/livenessprobe:v1.1.0", (1, 1), 1.0, "default of v1.1"),
        ("livenessprobe:v2.16.0", (2, 16), 1.0, "default of v2.16"),
        ("livenessprobe:v2.17.0-eksbuild.3", (2, 17), 3.0, "default of v2.17"),
        ("livenessprobe:2.19", (2, 19), 3.0, "default of v2.19"),
        ("livenessprobe@sha256:12", None, 3.0, "default since v2.17, the version is not known"),
    ],
)
def test_the_default_of_the_probe_timeout_is_that_of_the_version(
    image: str, version: tuple[int, int] | None, seconds: float, origin: str
) -> None:
    subject = subject_of(image)
    assert subject.version == version
    reference, ours = (case_of(subject, each) for each in (Program.REFERENCE, Program.OURS))
    assert (reference.probe_timeout, reference.probe_timeout_from) == (seconds, origin)
    assert (ours.probe_timeout, ours.probe_timeout_from) == (3.0, "default of this program")


def test_a_tag_that_is_older_than_a_flag_is_not_the_version() -> None:
    assert subject_of("livenessprobe:v0.0.0", "--probe-timeout=3s").port == 9808


def test_the_version_of_this_program_is_none_of_the_references() -> None:
    case = case_of(subject_of(OURS, "--probe-interval=10s"), Program.REFERENCE)
    assert case.probe_timeout == 3.0
    assert case.refused == "v2.19 does not take --probe-interval"


def test_a_probe_timeout_that_is_set_holds_for_both_programs() -> None:
    subject = subject_of("livenessprobe:v2.10.0", "--probe-timeout=1m1.5s")
    cases = [case_of(subject, program) for program in Program]
    assert {(case.probe_timeout, case.probe_timeout_from) for case in cases} == {(61.5, "")}


@pytest.mark.parametrize(
    ("version", "flag", "refused"),
    [
        ("v2.19.0", "--connection-timeout=3s", "v2.19 does not take --connection-timeout"),
        ("v1.1.0", "--connection-timeout=3s", ""),
        ("v2.11.0", "--logtostderr", ""),
        ("v2.12.0", "--logtostderr", "v2.12 does not take --logtostderr"),
        ("v2.12.0", "--logging-format=json", ""),
        ("v2.2.0", "--http-endpoint=:9808", ""),
        ("v2.16.0", "--automaxprocs", ""),
        ("latest", "--logtostderr", "v2.19 does not take --logtostderr"),
    ],
)
def test_later_releases_of_the_reference_refuse_what_earlier_ones_took(
    version: str, flag: str, refused: str
) -> None:
    subject = subject_of(f"livenessprobe:{version}", flag)
    assert case_of(subject, Program.REFERENCE).refused == refused
    assert case_of(subject, Program.OURS).refused == ""


@pytest.mark.parametrize(
    ("image", "args", "path", "program"),
    [
        (OURS, [], "/healthz", Program.OURS),
        ("livenessprobe:latest", ["--probe-interval=10s"], "/healthz", Program.OURS),
        ("livenessprobe:latest", [], "/livez", Program.OURS),
        ("livenessprobe:latest", [], "/healthz", Program.REFERENCE),
    ],
)
def test_this_program_is_known_by_its_tag_its_flags_or_what_it_is_asked(
    image: str, args: list[str], path: str, program: Program
) -> None:
    pod = Pod()
    pod.sidecar |= {"image": image, "args": args}
    pod.probe["httpGet"]["path"] = path
    assert only(pod).program is program


@pytest.mark.parametrize(
    ("handler", "ours", "reference"),
    [
        ({"httpGet": {"path": "/healthz?verbose", "port": 9808}}, "healthz", "healthz"),
        ({"httpGet": {"path": "/livez", "port": 9808}}, "livez", ""),
        ({"httpGet": {"path": "/readyz", "port": 9808}}, "readyz", ""),
        ({"httpGet": {"port": 9808}}, "", ""),
        ({"grpc": {"port": 9808}}, "healthz", ""),
        ({"grpc": {"port": 9808, "service": "liveness"}}, "livez", ""),
        ({"grpc": {"port": 9808, "service": "other"}}, "", ""),
    ],
)
def test_what_a_probe_asks_each_program(handler: dict[str, Any], ours: str, reference: str) -> None:
    pod = Pod(ours=True)
    pod.driver["livenessProbe"] = handler
    subject = only(pod)
    assert case_of(subject, Program.OURS).question == ours
    assert case_of(subject, Program.REFERENCE).question == reference
