"""Runs the sidecar with a demo CSI driver, whose behaviour is typed into the terminal.

`make run` starts it. The driver is a gRPC server on a UNIX socket. The sidecar is a separate
process, with the flags of a manifest.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from generated.csi.v1 import GetPluginInfoResponse, IdentityBase, ProbeResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from generated.csi.v1 import GetPluginInfoRequest, ProbeRequest

ENDPOINT = "127.0.0.1:9808"

# There is no kubelet, so there are no callers for the schedule to follow.
INTERVAL = "--probe-interval=1s"

MODES = ("ready", "starting", "failing", "hanging", "gone")

WELCOME = f"""\
livenessprobe probes a demo CSI driver once a second. In another terminal, run:

    curl -i http://{ENDPOINT}/healthz
    curl -s 'http://{ENDPOINT}/readyz?verbose'
    curl -s http://{ENDPOINT}/metrics

or open http://{ENDPOINT}/ in a browser. Then type a mode for the driver here, and try again:

    {"  ".join(MODES)}

Every change is logged here. Ctrl-C stops both.

"""


class DemoDriver(IdentityBase):
    """A CSI driver on the socket at `path` that replies according to its mode."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._mode = "ready"
        self._server = Server([self])

    async def set_mode(self, mode: str) -> None:
        """Switch to one of `MODES`; "gone" stops the server, any other mode starts it again."""
        if mode == "gone":
            await self.stop()
        elif not self._path.exists():
            self._server = Server([self])
            await self._server.start(path=str(self._path))
        self._mode = mode

    async def stop(self) -> None:
        """Close every connection and remove the socket, as a driver that exits does."""
        self._server.close()
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def probe(self, probe_request: ProbeRequest) -> ProbeResponse:  # noqa: ARG002 - it is empty
        """Reply to `Identity.Probe` according to the mode."""
        if self._mode == "failing":
            raise GRPCError(Status.FAILED_PRECONDITION, "the storage backend is on fire")
        if self._mode == "hanging":
            await asyncio.Event().wait()
        return ProbeResponse(ready=self._mode == "ready")

    async def get_plugin_info(
        self,
        get_plugin_info_request: GetPluginInfoRequest,  # noqa: ARG002 - it is empty
    ) -> GetPluginInfoResponse:
        """Reply to `Identity.GetPluginInfo`."""
        return GetPluginInfoResponse(name="demo.csi.example.com", vendor_version="1.0")


async def run(flags: Sequence[str]) -> int:
    """Run driver and sidecar until the sidecar exits; return its exit code.

    `flags` are added to those of the sidecar.
    """
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "csi.sock"
        driver = DemoDriver(socket)
        await driver.set_mode("ready")
        sidecar = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livenessprobe"),
            *(f"--csi-address={socket}", f"--http-endpoint={ENDPOINT}", INTERVAL, *flags),
        )
        loop.add_signal_handler(signal.SIGTERM, sidecar.terminate)
        # A terminal sends Ctrl-C to both processes; this one exits after the sidecar.
        loop.add_signal_handler(signal.SIGINT, lambda: None)

        def set_mode(mode: str) -> None:
            asyncio.run_coroutine_threadsafe(driver.set_mode(mode), loop).result()
            _print(f"The driver is {mode} now.\n")

        # A daemon thread, since a blocking read from a terminal cannot be cancelled.
        threading.Thread(target=_read_modes, args=(sys.stdin, set_mode), daemon=True).start()
        exit_code = await sidecar.wait()
        await driver.stop()
    return exit_code


def _read_modes(lines: Iterable[str], set_mode: Callable[[str], None]) -> None:
    for line in lines:
        mode = line.strip().lower()
        if mode in MODES:
            set_mode(mode)
        elif mode:
            _print(f"{mode!r} is not one of {', '.join(MODES)}\n")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()  # before the sidecar's log lines, also if stdout is a pipe


if __name__ == "__main__":
    _print(WELCOME)
    sys.exit(asyncio.run(run(sys.argv[1:])))
