"""The tightest limits seen in the field: 32Mi of memory, and two hundredths of a CPU.

And the limit that deploy/probes/exec.yaml sets for a sidecar in whose container checks are run.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from tests.e2e.harness import Address, DriverProcess, ask, free_port, wait_until
from tests.image.build import TREE, podman
from tests.image.conftest import StartContainer
from tests.image.container import Container

pytestmark = pytest.mark.native

MIB = 1 << 20

SOCKET = "--csi-address=/csi/csi.sock"

MEMORY = ("--memory=32m", "--memory-swap=32m")
CPU = ("--cpu-period=100000", "--cpu-quota=2000")

REQUESTS = 10_000
ATTEMPTS = 3


def test_32_mib_are_enough_for_a_crowd_and_the_kubelet(
    driver: DriverProcess, start_container: StartContainer
) -> None:
    container = start_container(SOCKET, "--http-endpoint=127.0.0.1:0", options=MEMORY)
    container.wait_for(200, "ok")
    process, address = container.pid, container.address
    with kubelet(address) as statuses, ThreadPoolExecutor(8) as crowd:
        answers = Counter(crowd.map(lambda _: ask(address).status, range(REQUESTS)))
    memory = container.memory()
    assert answers == {200: REQUESTS}
    assert set(statuses) == {200}
    assert memory.oom_kills == 0
    assert memory.anonymous <= 31 * MIB, memory  # the kernel can take back the rest only
    assert container.pid == process


def test_a_check_beside_the_sidecar_fits_the_limit_of_its_manifest(
    driver: DriverProcess, start_container: StartContainer
) -> None:
    (sidecar,) = (each for each in containers("probes/exec.yaml") if "resources" in each)
    limit = sidecar["resources"]["limits"]["memory"].removesuffix("i").lower()
    memory = (f"--memory={limit}", f"--memory-swap={limit}")
    container = start_container(SOCKET, "--http-endpoint=127.0.0.1:0", options=memory)
    container.wait_for(200, "ok")
    process = container.pid
    for _ in range(ATTEMPTS):
        podman("exec", container.name, "/livenessprobe", "check", SOCKET)
    assert container.pid == process
    assert container.memory().oom_kills == 0


def containers(manifest: str) -> list[dict[str, Any]]:
    pod = yaml.safe_load((TREE / "deploy" / manifest).read_text())
    found: list[dict[str, Any]] = pod["spec"]["containers"]
    return found


@contextmanager
def kubelet(address: Address) -> Iterator[list[int]]:
    """Ask as four probes of a manifest do, until the block ends; gather the statuses."""
    statuses: list[int] = []
    enough = threading.Event()

    def probe(target: str) -> None:
        while not enough.wait(1):
            statuses.append(ask(address, target).status)

    targets = ["/healthz", "/livez", "/readyz", "/healthz?verbose"]
    threads = [threading.Thread(target=probe, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def test_with_a_fiftieth_of_a_cpu_it_answers_soon(
    driver: DriverProcess, start_container: StartContainer
) -> None:
    container, seconds = first_answer(start_container, *CPU, *MEMORY)
    container.lift_cpu_limit()  # or it would take its time to stop as well
    assert seconds < 15  # nine or ten, and what a busy machine adds


def test_with_a_whole_cpu_it_answers_within_1_s(
    driver: DriverProcess, start_container: StartContainer
) -> None:
    # The best of some: the machine may be shared.
    assert min(first_answer(start_container)[1] for _ in range(ATTEMPTS)) < 1


def first_answer(start_container: StartContainer, *options: str) -> tuple[Container, float]:
    """Return a container, and the seconds from its start to its first answer of whatever kind."""
    address = Address("127.0.0.1", free_port())
    container = start_container(
        SOCKET, f"--http-endpoint={address.host}:{address.port}", options=options, listeners=0
    )
    wait_until(lambda: answers(address), timeout=60)
    answered = time.time()
    return container, answered - int(container.inspect("{{.State.StartedAt.UnixMilli}}")) / 1000


def answers(address: Address) -> bool:
    try:
        return bool(ask(address).status)
    except ConnectionRefusedError:
        return False
