"""The pod of deploy/example.yaml for real: podman runs its containers, and its probe is obeyed.

podman has the manifest as it is, but for what needs a cluster or another image: the driver is the
demo driver, the socket's volume is the pod's own, and the pod is on the host's network. kubelet's
part is the test's: a worker for the manifest's livenessProbe, and the restart of the driver's
container.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from signal import SIGKILL, SIGSTOP
from typing import Any

import pytest
import trio
import yaml

from tests.e2e.harness import Address, ask, free_port, wait_until
from tests.image import demo_driver
from tests.image.build import IMAGE, TREE, podman
from tests.simulation.kubelet import Container, ProbeSpec, ProbeType, Worker

pytestmark = pytest.mark.native

MANIFEST = TREE / "deploy" / "example.yaml"

POD = "livenessprobe-test"
DRIVER = f"{POD}-driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The running pod, as its kubelet sees it."""

    address: Address
    path: str
    probe: ProbeSpec

    def healthy(self) -> bool:
        """Ask as the manifest's livenessProbe does."""
        try:
            return ask(self.address, self.path).status == 200
        except (OSError, HTTPException):
            return False

    def signal_driver(self, number: int) -> None:
        """Do this to process 1 of the driver's container."""
        os.kill(int(podman("container", "inspect", "--format={{.State.Pid}}", DRIVER)), number)

    def restart_driver(self) -> None:
        """Kill the driver's container, unless it has ended, and start it again."""
        podman("restart", "--time=1", DRIVER)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    port = free_port()
    manifest = yaml.safe_load(MANIFEST.read_text())
    template = manifest["spec"]["template"]
    driver, sidecar = template["spec"]["containers"]
    probe = driver.pop("livenessProbe")  # podman would obey it in a way of its own
    _as_demo(driver)
    sidecar["image"] = IMAGE
    sidecar["args"] = [_on_port(argument, port) for argument in sidecar["args"]]
    spec = template["spec"] | {
        "hostNetwork": True,
        "restartPolicy": "Never",  # the test's part
        "volumes": [
            {"name": "socket", "emptyDir": {}},
            {"name": "demo", "hostPath": {"path": str(Path(demo_driver.__file__).parent)}},
        ],
    }
    file = tmp_path / "pod.yaml"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec}
    file.write_text(yaml.safe_dump(pod))
    podman("kube", "play", file)
    try:
        yield Pod(
            address=Address("127.0.0.1", port),
            path=probe["httpGet"]["path"],
            probe=ProbeSpec(
                period=probe["periodSeconds"],
                timeout=probe["timeoutSeconds"],
                failure_threshold=probe["failureThreshold"],
                initial_delay=probe["initialDelaySeconds"],
            ),
        )
    finally:
        podman("kube", "down", file)
        podman("volume", "rm", "--force", "socket")


def _as_demo(driver: dict[str, Any]) -> None:
    driver.update(
        image=IMAGE,
        command=["/usr/bin/python3.13", "-IS", "/demo/demo_driver.py", "/csi/csi.sock"],
        volumeMounts=[
            {"name": "socket", "mountPath": "/csi"},
            {"name": "demo", "mountPath": "/demo", "readOnly": True},
        ],
    )
    for key in ("args", "env", "ports", "securityContext"):
        del driver[key]


def _on_port(argument: str, port: int) -> str:
    """Take a free port of the host in place of the pod's own."""
    return f"--health-port={port}" if argument.startswith("--health-port=") else argument


def test_a_killed_driver_is_seen_and_so_is_the_next(pod: Pod) -> None:
    wait_until(pod.healthy)
    pod.signal_driver(SIGKILL)
    wait_until(lambda: not pod.healthy())
    pod.restart_driver()
    wait_until(pod.healthy)


async def test_kubelet_restarts_a_hung_driver_by_the_manifest(pod: Pod) -> None:
    spec = pod.probe
    container = Container()
    container.started_at = trio.current_time()
    answered, too_often = trio.Event(), trio.Event()
    answers: list[bool] = []

    async def ask_once(_name: str, _timeout: float) -> bool:
        answers.append(await trio.to_thread.run_sync(pod.healthy))
        answered.set()
        return answers[-1]

    rng = random.Random(0)  # noqa: S311 - jitter
    worker = Worker(ProbeType.LIVENESS, spec, container, ask_once, too_often.set, rng=rng)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await answered.wait()
        assert answers == [True]
        pod.signal_driver(SIGSTOP)
        with trio.fail_after((spec.failure_threshold + 1) * spec.period + spec.timeout):
            await too_often.wait()
        nursery.cancel_scope.cancel()
    assert answers.count(False) == spec.failure_threshold
    await trio.to_thread.run_sync(pod.restart_driver)
    await trio.to_thread.run_sync(wait_until, pod.healthy)
