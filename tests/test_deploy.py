"""Checks the manifests in deploy/ against the program."""

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
from livenessprobe.health.verdict import SERVICES, Question
from livenessprobe.server.listen import open_listeners

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).parents[1]

# A manifest as YAML parses it.
Container = dict[str, Any]

Target = tuple[str, int, str]
"""An address, a port, and a path or the name of a gRPC service."""

POD_IP = "2001:db8::1"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}

# Not for Kubernetes itself, and tested elsewhere.
ELSEWHERE = {"grafana", "kustomize", "prometheus"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod template with the sidecar."""

    origin: str
    on_host_network: bool
    sidecars: Sequence[Container]
    others: Sequence[Container]


def manifests() -> Iterator[tuple[str, Any]]:
    """Yield every Kubernetes object under deploy/, with the name of its file."""
    for path in sorted((ROOT / "deploy").rglob("*.yaml")):
        if path.parent.name not in ELSEWHERE:
            for document in yaml.safe_load_all(path.read_text()):
                yield str(path.relative_to(ROOT / "deploy")), document


def pods() -> Iterator[Pod]:
    for path, document in manifests():
        spec = document.get("spec", {})
        pod = spec.get("template", {}).get("spec", spec)
        containers = pod.get("containers", [])
        sidecars = [container for container in containers if is_sidecar(container)]
        if sidecars:
            yield Pod(
                origin=path,
                on_host_network=pod.get("hostNetwork", False),
                sidecars=sidecars,
                others=[container for container in containers if not is_sidecar(container)],
            )


def is_sidecar(container: Container) -> bool:
    return "/livenessprobe:" in container["image"]


def config(sidecar: Container) -> flags.Config:
    return flags.parse(
        [expand(text, sidecar) for text in sidecar.get("command", [])[1:] + sidecar.get("args", [])]
    )


def expand(text: str, container: Container) -> str:
    for variable in container.get("env", []):
        assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        text = text.replace(f"$({variable['name']})", POD_IP)
    return text


def served(sidecar: Container) -> set[Target]:
    """Return the addresses and paths that the sidecar serves."""
    host, _, port = config(sidecar).health_address.rpartition(":")
    addresses = {"": {POD_IP} | LOOPBACK, "localhost": LOOPBACK}.get(host, {host.strip("[]")})
    names = {f"/{question.value}" for question in Question} | set(SERVICES)
    return {(address, int(port), name) for address in addresses for name in names}


def asked(containers: Iterable[Container]) -> Iterator[Target]:
    """Yield the addresses and paths that kubelet probes, with the named ports resolved."""
    for container in containers:
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for probe in probes(container):
            if "httpGet" in probe:
                get = probe["httpGet"]
                yield get.get("host", POD_IP), ports.get(get["port"], get["port"]), get["path"]
            elif "grpc" in probe:
                yield POD_IP, probe["grpc"]["port"], probe["grpc"].get("service", "")


def probes(container: Container) -> list[dict[str, Any]]:
    names = ("livenessProbe", "readinessProbe", "startupProbe")
    return [container[name] for name in names if name in container]


def mounts(container: Container) -> dict[str, str]:
    """Return the mount path of each volume."""
    return {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}


PODS = [pytest.param(pod, id=pod.origin) for pod in pods()]


@pytest.mark.parametrize("pod", PODS)
def test_the_arguments_of_every_sidecar_cause_no_warning(pod: Pod) -> None:
    assert [config(sidecar).warnings for sidecar in pod.sidecars] == [()] * len(pod.sidecars)


@pytest.mark.parametrize("pod", PODS)
def test_every_probe_of_a_driver_is_served_by_its_sidecars(pod: Pod) -> None:
    answered = set[Target]().union(*map(served, pod.sidecars))
    assert set(asked(pod.others)) <= answered


@pytest.mark.parametrize("pod", PODS)
async def test_the_listen_addresses_of_every_sidecar_are_valid(pod: Pod) -> None:
    for sidecar in pod.sidecars:
        host, _, _ = config(sidecar).health_address.replace(POD_IP, "::1").rpartition(":")
        for listener in await open_listeners(f"{host}:0"):
            listener.close()


@pytest.mark.parametrize("pod", PODS)
def test_probes_of_the_hosts_loopback_are_only_on_the_hosts_network(pod: Pod) -> None:
    addresses = {address for address, *_ in asked(pod.others)}
    assert pod.on_host_network or not addresses & LOOPBACK


@pytest.mark.parametrize("pod", PODS)
def test_sidecars_on_the_hosts_network_listen_on_loopback_only(pod: Pod) -> None:
    addresses = {address for sidecar in pod.sidecars for address, *_ in served(sidecar)}
    assert not pod.on_host_network or addresses <= LOOPBACK


@pytest.mark.parametrize("pod", PODS)
def test_every_sidecar_is_used_by_a_probe(pod: Pod) -> None:
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
def test_an_exec_probe_runs_check_with_time_to_start(probe: dict[str, Any]) -> None:
    program, word, *argv = probe["exec"]["command"]
    assert (program, word) == ("/livenessprobe", "check")
    assert flags.parse_check(argv).probe_timeout < probe["timeoutSeconds"]


def test_there_is_an_example_for_every_kind_of_probe_and_network() -> None:
    assert {pod.origin for pod in pods()} == {
        "example.yaml",
        "network/host.yaml",
        "network/ipv6.yaml",
        "probes/exec.yaml",
        "probes/grpc.yaml",
        "probes/http.yaml",
    }
    assert COMMANDS
    assert any(pod.on_host_network for pod in pods())


def test_the_readme_links_every_file() -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", (ROOT / "deploy" / "README.md").read_text()))
    assert [link for link in sorted(links) if not (ROOT / "deploy" / link).exists()] == []
    assert {link.split("/")[0] for link in links} == {
        path.name for path in (ROOT / "deploy").iterdir() if path.name != "README.md"
    }


MANIFESTS = [pytest.param(document, id=origin) for origin, document in manifests()]


@pytest.mark.parametrize("document", MANIFESTS)
def test_kubernetes_accepts_every_manifest(document: Any) -> None:
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
