"""What deploy/ and the Containerfile say about the program, held against the program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import livenessprobe
from livenessprobe import flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]

# As far as this file looks into it, a manifest is what YAML makes of it.
Container = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod template with our sidecar."""

    origin: str
    sidecars: Sequence[Container]
    others: Sequence[Container]


def pods() -> Iterator[Pod]:
    for path in sorted((ROOT / "deploy").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            template = document.get("spec", {}).get("template", {})
            containers = template.get("spec", {}).get("containers", [])
            sidecars = [container for container in containers if is_sidecar(container)]
            others = [container for container in containers if not is_sidecar(container)]
            if sidecars:
                yield Pod(origin=path.name, sidecars=sidecars, others=others)


def is_sidecar(container: Container) -> bool:
    return "/livenessprobe:" in container["image"]


def config(sidecar: Container) -> flags.Config:
    return flags.parse(sidecar.get("command", [])[1:] + sidecar.get("args", []))


def served(sidecar: Container) -> tuple[int, str]:
    return int(config(sidecar).health_address.rpartition(":")[2]), "/healthz"


def asked(container: Container) -> tuple[int, str]:
    """Port and path of the livenessProbe, the port looked up as kubelet does."""
    get = container["livenessProbe"]["httpGet"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    return ports.get(get["port"], get["port"]), get["path"]


def mounts(container: Container) -> dict[str, str]:
    """Where each volume is mounted."""
    return {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}


PODS = [pytest.param(pod, id=pod.origin) for pod in pods()]


def test_the_example_is_seen() -> None:
    assert "example.yaml" in {pod.origin for pod in pods()}


@pytest.mark.parametrize("pod", PODS)
def test_every_sidecar_takes_its_arguments_without_a_warning(pod: Pod) -> None:
    assert [config(sidecar).warnings for sidecar in pod.sidecars] == [()] * len(pod.sidecars)


@pytest.mark.parametrize("pod", PODS)
def test_what_every_sidecar_serves_is_what_kubelet_asks_for_a_driver(pod: Pod) -> None:
    probed = [container for container in pod.others if "livenessProbe" in container]
    assert {*map(served, pod.sidecars)} <= {*map(asked, probed)}


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
