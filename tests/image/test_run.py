"""The image runs as manifests run it: any uid, no rights, nothing to write to, flags anywhere."""

import os
import re
import time
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from tests.e2e.harness import DriverProcess, wait_until
from tests.e2e.test_faults_signals import catches_sigterm
from tests.image.build import IMAGE, podman, run_podman
from tests.image.conftest import StartContainer
from tests.image.container import LOCKED

HTTP = "--http-endpoint=127.0.0.1:0"
SOCKET = "--csi-address=/csi/csi.sock"
FAST = ("--probe-interval=100ms", "--probe-timeout=500ms")

NO_CAPABILITIES = "0000000000000000"

# Seconds after our first line has run: while it imports, and as it listens.
STAGES = [0.0, 0.5, 1.0, 3.0]


@pytest.mark.parametrize("uid", ["0:0", "65534:65534"])
def test_any_uid_without_rights_will_do(
    uid: str, driver: DriverProcess, csi_socket: Path, start_container: StartContainer
) -> None:
    csi_socket.chmod(0o777)  # what a driver has to do for a sidecar that is not root
    container = start_container(SOCKET, HTTP, *FAST, options=(f"--user={uid}",))
    container.wait_for(200, "ok")
    status = Path(f"/proc/{container.pid}/status").read_text()
    assert re.findall(r"^(?:Uid|Gid):\t(\d+)", status, re.MULTILINE) == uid.split(":")
    assert re.findall(r"^Cap(?:Prm|Eff|Bnd):\t(\w+)", status, re.MULTILINE) == [NO_CAPABILITIES] * 3
    assert re.findall(r"^NoNewPrivs:\t(\d)", status, re.MULTILINE) == ["1"]


def test_a_socket_that_the_uid_may_not_use_is_told_as_such(
    driver: DriverProcess, csi_socket: Path, start_container: StartContainer
) -> None:
    csi_socket.chmod(0o755)
    container = start_container(SOCKET, HTTP, *FAST, options=("--user=65534:65534",))
    assert "permission denied for uid 65534" in container.wait_for(500, "permission").body


@pytest.mark.parametrize("program", ["/livenessprobe", "livenessprobe"])
def test_a_manifest_may_have_program_and_flags_in_the_command(
    program: str, driver: DriverProcess, start_container: StartContainer
) -> None:
    command = f'["{program}", "{SOCKET}", "{HTTP}"]'
    start_container(options=(f"--entrypoint={command}",)).wait_for(200, "ok")


def test_it_writes_nothing_even_where_it_could(
    driver: DriverProcess, start_container: StartContainer
) -> None:
    container = start_container(SOCKET, HTTP, *FAST, options=("--read-only=false",))
    container.wait_for(200, "ok")
    changes = {line.split()[1] for line in podman("diff", container.name).splitlines()}
    # Where podman mounts something.
    assert {
        path for path in changes if not re.match("/(csi|dev|etc|proc|run|sys)(/|$)", path)
    } == set()


def test_a_port_may_be_named(start_container: StartContainer) -> None:
    container = start_container("--health-port=http-alt", options=("--network=none",))
    assert container.address.port == 8080


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--help"], 0, "Usage of livenessprobe:"),
        (["--nope"], 2, "flag provided but not defined: -nope"),
        (["--health-port=1", "--http-endpoint=:2"], 1, "Only one of"),
        (["check", "--csi-address=/nowhere/csi.sock"], 1, "no such directory: /nowhere"),
    ],
)
def test_it_ends_with_the_exit_code_of_the_command(
    arguments: list[str], code: int, text: str
) -> None:
    ended = run_podman("run", "--rm", *LOCKED, IMAGE, *arguments)
    assert ended.returncode == code
    assert text in ended.stdout + ended.stderr


def test_a_driver_that_dies_hangs_and_comes_back_is_seen(
    csi_socket: Path, start_container: StartContainer
) -> None:
    with DriverProcess(csi_socket) as driver:
        container = start_container(SOCKET, HTTP, *FAST)
        container.wait_for(200, "ok")
        driver.signal(SIGSTOP)
        container.wait_for(500, "")
        driver.signal(SIGCONT)
        container.wait_for(200, "ok")
        driver.signal(SIGKILL)
        container.wait_for(500, "no driver listens")
    csi_socket.unlink()
    container.wait_for(500, "no such file")
    with DriverProcess(csi_socket):
        container.wait_for(200, "ok")


def test_podman_stop_finds_it_willing(
    driver: DriverProcess, start_container: StartContainer
) -> None:
    container = start_container(SOCKET, HTTP, *FAST)
    container.wait_for(200, "ok")
    podman("stop", container.name)
    # `podman stop` may return a moment before the `podman run` that passes signals on has ended.
    wait_until(lambda: container.exit_code is not None)
    assert container.exit_code == 0


@pytest.mark.native
@pytest.mark.parametrize("stage", STAGES)
def test_process_1_obeys_sigterm_while_it_starts(stage: float) -> None:
    # A tenth of a CPU draws the start out, so that podman is done before it.
    slow = ("--cpu-period=100000", "--cpu-quota=10000")
    name = podman("create", *LOCKED, *slow, IMAGE, HTTP)
    try:
        podman("start", name)
        pid = int(podman("inspect", "--format={{.State.Pid}}", name))
        # The kernel keeps a signal from process 1 that has no handler; the interpreter's own start
        # is before ours, and before that the process is runc, which catches it and does nothing.
        executable = Path(f"/proc/{pid}/exe")
        wait_until(lambda: "python" in executable.readlink().name and catches_sigterm(pid))
        time.sleep(stage)
        os.kill(pid, SIGTERM)
        assert podman("wait", name) == "0"
        assert "Traceback" not in podman("logs", name)
    finally:
        podman("rm", "--force", "--time=0", name)
