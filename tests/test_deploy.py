"""What deploy/ and the Containerfile say about the program, held against the program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

import livenessprobe
from livenessprobe import flags
from livenessprobe.health import Question
from livenessprobe.web.grpc_health import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).parents[1]

# As far as this file looks into it, a manifest is what YAML makes of it.
Container = dict[str, Any]

Target = tuple[int, str]
"""A port, and a path or the name of a gRPC service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod template with our sidecar."""

    origin: str
    sidecars: Sequence[Container]
    others: Sequence[Container]


def manifests() -> Iterator[tuple[str, Any]]:
    """Every document under deploy/, with its file's name."""
    for path in sorted((ROOT / "deploy").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield str(path.relative_to(ROOT / "deploy")), document


def pods() -> Iterator[Pod]:
    for path, document in manifests():
        spec = document.get("spec", {})
        containers = spec.get("template", {}).get("spec", spec).get("containers", [])
        sidecars = [container for container in containers if is_sidecar(container)]
        others = [container for container in containers if not is_sidecar(container)]
        if sidecars:
            yield Pod(origin=path, sidecars=sidecars, others=others)


def is_sidecar(container: Container) -> bool:
    return "/livenessprobe:" in container["image"]


def config(sidecar: Container) -> flags.Config:
    return flags.parse(sidecar.get("command", [])[1:] + sidecar.get("args", []))


def served(sidecar: Container) -> set[Target]:
    """What the sidecar answers."""
    port = int(config(sidecar).health_address.rpartition(":")[2])
    paths = {f"/{question.value}" for question in Question}
    return {(port, path) for path in paths} | {(port, service) for service in QUESTIONS}


def asked(containers: Iterable[Container]) -> Iterator[Target]:
    """What kubelet asks over the network, the ports looked up as it does."""
    for container in containers:
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for probe in probes(container):
            if "httpGet" in probe:
                get = probe["httpGet"]
                yield ports.get(get["port"], get["port"]), get["path"]
            elif "grpc" in probe:
                yield probe["grpc"]["port"], probe["grpc"].get("service", "")


def probes(container: Container) -> list[dict[str, Any]]:
    names = ("livenessProbe", "readinessProbe", "startupProbe")
    return [container[name] for name in names if name in container]


def mounts(container: Container) -> dict[str, str]:
    """Where each volume is mounted."""
    return {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}


PODS = [pytest.param(pod, id=pod.origin) for pod in pods()]


@pytest.mark.parametrize("pod", PODS)
def test_every_sidecar_takes_its_arguments_without_a_warning(pod: Pod) -> None:
    assert [config(sidecar).warnings for sidecar in pod.sidecars] == [()] * len(pod.sidecars)


@pytest.mark.parametrize("pod", PODS)
def test_what_kubelet_asks_for_a_driver_is_what_its_sidecars_answer(pod: Pod) -> None:
    answered = set[Target]().union(*map(served, pod.sidecars))
    assert set(asked(pod.others)) <= answered


@pytest.mark.parametrize("pod", PODS)
def test_every_sidecar_is_asked(pod: Pod) -> None:
    for sidecar in pod.sidecars:
        assert served(sidecar) & set(asked(pod.others)) or probes(sidecar)


COMMANDS = [
    pytest.param(probe, id=pod.origin)
    for pod in pods()
    for sidecar in pod.sidecars
    for probe in probes(sidecar)
    if "exec" in probe
]


@pytest.mark.parametrize("probe", COMMANDS)
def test_a_command_is_one_check_with_time_to_start_in(probe: dict[str, Any]) -> None:
    program, word, *argv = probe["exec"]["command"]
    assert (program, word) == ("/livenessprobe", "check")
    assert flags.parse_check(argv).probe_timeout < probe["timeoutSeconds"]


def test_there_is_an_example_for_every_way_to_ask() -> None:
    assert {"example.yaml", "probes/http.yaml", "probes/grpc.yaml", "probes/exec.yaml"} <= {
        pod.origin for pod in pods()
    }
    assert COMMANDS


MANIFESTS = [pytest.param(document, id=origin) for origin, document in manifests()]


@pytest.mark.parametrize("document", MANIFESTS)
def test_kubernetes_takes_every_manifest(document: Any) -> None:
    kubernetes_validate.validate(document, "1.34", strict=True)


@pytest.mark.parametrize("pod", PODS)
def test_every_sidecar_sees_the_directory_of_the_drivers_socket(pod: Pod) -> None:
    for sidecar in pod.sidecars:
        directory = str(Path(config(sidecar).socket_path).parent)
        (volume,) = (name for name, path in mounts(sidecar).items() if path == directory)
        assert any(volume in mounts(other) for other in pod.others)


@pytest.mark.parametrize("pod", PODS)
def test_every_sidecar_runs_this_version_with_no_more_rights_than_it_needs(pod: Pod) -> None:
    for sidecar in pod.sidecars:
        assert sidecar["image"].rpartition(":")[2] == livenessprobe.__version__
        assert sidecar["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_the_image_is_labelled_with_the_version() -> None:
    labels = re.findall(r'image\.version="(.*)"', (ROOT / "Containerfile").read_text())
    assert labels == [livenessprobe.__version__]
