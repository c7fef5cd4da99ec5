"""`make run`: the program in front of a CSI driver of a few lines, to look at and to play with.

The driver is a real gRPC server on a real socket; the program is a process of its own, started
with the flags of a manifest. A word typed into the terminal is the driver's new mood.
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

# Nobody asks regularly here, so there would be nobody to follow.
INTERVAL = "--probe-interval=1s"

MOODS = ("ready", "starting", "failing", "hanging", "gone")

WELCOME = f"""\
livenessprobe polls a demo CSI driver once a second. In another terminal, ask it:

    curl -i http://{ENDPOINT}/healthz
    curl -s 'http://{ENDPOINT}/readyz?verbose'
    curl -s http://{ENDPOINT}/metrics

or open http://{ENDPOINT}/ in a browser. Then type how the driver shall be from now on, and look
again:

    {"  ".join(MOODS)}

Every change is logged here. Ctrl-C ends both.

"""


class DemoDriver(IdentityBase):
    """A CSI driver on the socket at `path` that behaves as its mood is."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._mood = "ready"
        self._server = Server([self])

    async def set_mood(self, mood: str) -> None:
        """Behave like one of `MOODS` from the next call on; being there is part of it."""
        if mood == "gone":
            await self.stop()
        elif not self._path.exists():
            self._server = Server([self])
            await self._server.start(path=str(self._path))
        self._mood = mood

    async def stop(self) -> None:
        """Hang up and remove the socket, as a driver that ends does."""
        self._server.close()
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def probe(self, probe_request: ProbeRequest) -> ProbeResponse:  # noqa: ARG002 - it is empty
        """Answer CSI's question whether the driver is healthy, and ready."""
        if self._mood == "failing":
            raise GRPCError(Status.FAILED_PRECONDITION, "the storage backend is on fire")
        if self._mood == "hanging":
            await asyncio.Event().wait()
        return ProbeResponse(ready=self._mood == "ready")

    async def get_plugin_info(
        self,
        get_plugin_info_request: GetPluginInfoRequest,  # noqa: ARG002 - it is empty
    ) -> GetPluginInfoResponse:
        """Tell the driver's name."""
        return GetPluginInfoResponse(name="demo.csi.example.com", vendor_version="1.0")


async def run(flags: Sequence[str]) -> int:
    """Run driver and program, with `flags` added, until it ends; return its exit code."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "csi.sock"
        driver = DemoDriver(socket)
        await driver.set_mood("ready")
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livenessprobe"),
            *(f"--csi-address={socket}", f"--http-endpoint={ENDPOINT}", INTERVAL, *flags),
        )
        loop.add_signal_handler(signal.SIGTERM, program.terminate)
        # A terminal sends Ctrl-C to both; the demo ends when the program has.
        loop.add_signal_handler(signal.SIGINT, lambda: None)

        def set_mood(mood: str) -> None:
            asyncio.run_coroutine_threadsafe(driver.set_mood(mood), loop).result()
            _say(f"The driver is {mood} from its next Probe on.\n")

        # A daemon thread, since nothing else ends a read from a terminal.
        threading.Thread(target=_read_moods, args=(sys.stdin, set_mood), daemon=True).start()
        exit_code = await program.wait()
        await driver.stop()
    return exit_code


def _read_moods(lines: Iterable[str], set_mood: Callable[[str], None]) -> None:
    for line in lines:
        mood = line.strip().lower()
        if mood in MOODS:
            set_mood(mood)
        elif mood:
            _say(f"{mood!r} is none of {', '.join(MOODS)}\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()  # into a pipe too, before the program's log lines


if __name__ == "__main__":
    _say(WELCOME)
    sys.exit(asyncio.run(run(sys.argv[1:])))
