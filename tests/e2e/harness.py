"""Runs the installed command and a CSI driver as processes, and sends requests like kubelet.

The processes write to files or reply on pipes, and there are no threads. Each process is used in a
`with` block, so that none outlives its test.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests import csi_driver
from tests.csi_driver import Counts

COMMAND = Path(sys.executable).with_name("livenessprobe")

# Seconds after which a test fails; long, since the machine may be shared. Under emulation the image
# takes nine until it listens, on a machine that is idle. Less than the minute of hanging Probes.
TIMEOUT = 45.0

# Seconds. Kubelet waits for the sidecar when a pod is deleted; about a second is expected.
STOP_WITHIN = 3.0

_KEEPERS: list[socket.socket] = []
"""Those of `free_port`."""

KUBELET = {"User-Agent": "kube-probe/1.34", "Connection": "close"}

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = TIMEOUT) -> T:
    """Poll until the condition is true and return its value; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {value!r} after {timeout} s")
        time.sleep(0.01)
    return value


class Address(NamedTuple):
    """The host and port of a listener."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: str


def ask(
    address: Address, target: str = "/healthz", method: str = "GET", accept: str = "*/*"
) -> Response:
    """Send one request over a new connection, as kubelet does."""
    connection = HTTPConnection(*address, timeout=TIMEOUT)
    try:
        connection.request(method, target, headers=KUBELET | {"Accept": accept})
        response = connection.getresponse()
        return Response(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read().decode(),
        )
    finally:
        connection.close()


def connect(address: Address, request: bytes) -> socket.socket:
    """Open a raw connection and send these bytes; the caller closes the connection."""
    connection = socket.create_connection(address, timeout=TIMEOUT)
    connection.sendall(request)
    return connection


def free_port() -> int:
    """Return a port of 127.0.0.1 that the kernel gives to nobody else until this process ends.

    A socket is bound to it and does not listen. With SO_REUSEADDR on both sides, one that listens
    may have the port too.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    _KEEPERS.append(keeper)
    return Address(*keeper.getsockname()).port


def run(*flags: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end, with `env` added to the environment."""
    return subprocess.run(  # noqa: S603 - our own command
        [COMMAND, *flags],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=os.environ | (env or {}),
    )


class DriverProcess:
    """`tests/csi_driver.py` in its own process, which may be killed or stopped."""

    def __init__(self, socket_path: Path) -> None:
        self.socket = socket_path
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, csi_driver.__file__, socket_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        if self._answer() != "listening":
            raise RuntimeError("the driver did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, command: str) -> str:
        """Send one command, see `csi_driver.obey`, and return the reply."""
        self._commands.write(f"{command}\n")
        self._commands.flush()
        return self._answer()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; after SIGKILL, wait for the end."""
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait()

    @property
    def counts(self) -> Counts:
        """The calls that the driver has received so far."""
        return Counts(**json.loads(self.tell("counts")))

    def wait_for_probes(self, more: int) -> None:
        """Wait until so many more Probes have begun.

        There is one Probe at a time, so after three more the result of the second is there, which
        began after this call.
        """
        target = self.counts.probes + more
        wait_until(lambda: self.counts.probes >= target)

    def _answer(self) -> str:
        return self._answers.readline().rstrip("\n")


class Sidecar:
    """The installed command, running; its stderr goes to a file.

    At the end of the `with` block it gets SIGTERM, and has to exit within `STOP_WITHIN` seconds
    with exit code 0 and without a traceback in its log.
    """

    def __init__(self, *flags: str, log: Path, command: Sequence[str | Path] = (COMMAND,)) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, *flags], stderr=stderr, stdin=subprocess.DEVNULL
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.kill()
        if failure is None and "Traceback" in self.log:
            raise RuntimeError(f"it logged a traceback: {self.log}")

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything written to stderr so far."""
        return self._log.read_text()

    @property
    def addresses(self) -> list[Address]:
        """The listeners logged so far; a wildcard address is replaced by the loopback address."""
        found = re.findall(r'"ServeMux listening" address="\[?(.*?)\]?:(\d+)"', self.log)
        any_address = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to read, not to bind
        return [Address(any_address.get(host, host), int(port)) for host, port in found]

    @property
    def address(self) -> Address:
        """The first listener."""
        return self.addresses[0]

    def ask(self, target: str = "/healthz", method: str = "GET", accept: str = "*/*") -> Response:
        """Send one request to the first listener."""
        return ask(self.address, target, method, accept)

    def wait_for_listeners(self, number: int) -> None:
        """Wait until it has logged so many listeners."""
        wait_until(lambda: self._ended() or len(self.addresses) >= number)
        if self._ended():
            raise RuntimeError(f"it ended by itself: {self.log}")

    def wait_for_log(self, text: str) -> None:
        """Wait until its log has this text."""
        wait_until(lambda: text in self.log)

    def wait_for_name(self) -> None:
        """Wait until it has logged the driver's name.

        A Probe that is due cancels the call for it, which follows again after 10 s, then 20 s. On a
        busy machine that happens with the short intervals of the tests.
        """
        wait_until(lambda: '"CSI driver name"' in self.log)

    def wait_for(self, status: int, text: str) -> Response:
        """Wait until /healthz answers with this status and with this text in its body."""
        last: list[Response] = []

        def answered() -> bool:
            last[:] = [self.ask()]
            return last[0].status == status and text in last[0].body

        try:
            wait_until(answered)
        except TimeoutError as error:
            raise AssertionError(f"expected {status} {text!r}, got {last}") from error
        return last[0]

    def metrics(self) -> list[Metric]:
        """Return the parsed /metrics of the first listener."""
        return list(text_string_to_metric_families(self.ask("/metrics").body))

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self, *numbers: signal.Signals, apart: float = 0.0) -> None:
        """Send signals, SIGTERM by default, and require exit code 0 within `STOP_WITHIN`."""
        started = time.monotonic()
        for number in numbers or (signal.SIGTERM,):
            self._process.send_signal(number)
            time.sleep(apart)
        code = self._process.wait(timeout=TIMEOUT)
        took = time.monotonic() - started
        if code or took > STOP_WITHIN:
            raise AssertionError(f"exit code {code} after {took:.1f} s, {numbers}: {self.log}")

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        self._process.kill()
        self._process.wait()

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def _ended(self) -> bool:
        return self.exit_code is not None
