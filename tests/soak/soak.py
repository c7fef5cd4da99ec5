"""Runs one process through many Probes, requests and faults, and checks its counts and resources.

    tests.soak.driver --socket-- tests.soak.sidecar --TCP-- tests.soak.client, several of them
         |                             | sampled                  |
       tally ---------- compared with /metrics                  tally

Only the time between Probes is shortened. The program is the installed one with all its tasks, in
its own process with real sockets. Its interval is 1 ms, a hundredth of what the flags allow, so
that Probes follow one another; at the usual interval of 10 s, 200,000 Probes take 23 days.
Timeouts, the retry of GetPluginInfo (10 s), the cooldown after a closed connection (20 min) and the
ages of connections take as long as in reality. The auto schedule is tested in the simulation.

At the end the driver exits after a last Probe, and the clients exit. Then only Probes that cannot
reach a driver are counted, and the process has as many descriptors as before.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric

from tests.e2e.harness import Address, Sidecar
from tests.soak import tally
from tests.soak.client import Outcome
from tests.soak.driver import STATUS, Reply
from tests.soak.usage import Usage, growth, usage

ROOT = Path(__file__).parents[2]

PROBE = "/csi.v1.Identity/Probe"
GET_PLUGIN_INFO = "/csi.v1.Identity/GetPluginInfo"
UNREACHABLE = "unknown-non-grpc"

FLAGS = ("--http-endpoint=127.0.0.1:0", "--probe-interval=1ms", "--probe-timeout=200ms")

# Seconds between samples. One takes less than a millisecond in the kernel, and many are needed,
# since connections come and go.
SAMPLE_EVERY = 0.05

# The greatest growth in the second half of a run that is not a leak. The memory of a short run
# varies by 0.3 MiB. That of a long one varies in steps of 0.9 MiB: each Probe interns a string and
# drops it, so every 23,000 Probes CPython rebuilds its table of interned strings, which malloc
# allocates in the arena of the running thread and later frees there.
MOST_KIB = 1024.0
MOST_KIB_WHEN_LONG = 3072.0
MOST_DESCRIPTORS = 4.0  # the number varies by about 5; a fault must leave none
MOST_THREADS = 1.0  # at most two calls at a time, Probe and GetPluginInfo

# The greatest share of Probes that time out before they reach the driver on a shared machine.
MOST_UNSEEN = 0.01

REPLIES = set(Reply) - {Reply.LATE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The least numbers of Probes and requests, and the longest time in seconds."""

    probes: int
    requests: int
    seconds: float
    clients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The counts of all processes, and the resources of the sidecar during the run and at rest."""

    seconds: float
    probes: Counter[Reply]
    names: int
    answers: Counter[Outcome]
    metrics: Counter[tuple[str, str]]
    discarded: int
    usages: list[Usage]
    descriptors_before: int
    descriptors_after: int

    @property
    def unseen(self) -> int:
        """The number of Probes that timed out and that the driver has not counted."""
        timed_out = self.metrics[PROBE, "DeadlineExceeded"] + self.discarded
        return timed_out - self.probes[Reply.HANG] - self.probes[Reply.LATE]

    def flaws(self, most_kib: float) -> Iterator[str]:
        """Yield a sentence for everything that is wrong."""
        yield from self._unaccounted()
        bounds = {
            "rss": most_kib,
            "anonymous": most_kib,
            "descriptors": MOST_DESCRIPTORS,
            "threads": MOST_THREADS,
        }
        for what, most in bounds.items():
            if (grown := growth(self.usages, what)) > most:
                yield f"{what} grew by {grown:.1f} in the second half"
        if self.descriptors_after > self.descriptors_before:
            yield f"descriptors at rest: {self.descriptors_before}, then {self.descriptors_after}"

    def _unaccounted(self) -> Iterator[str]:
        yield from (f"no Probe {reply.name}" for reply in REPLIES if not self.probes[reply])
        yield from (f"no request {end.name}" for end in Outcome if not self.answers[end])
        seen: Counter[str] = Counter()
        for reply, times in self.probes.items():
            seen[STATUS[reply]] += times
        counted = self._counted(PROBE)
        if not 0 <= self.unseen <= MOST_UNSEEN * seen.total():
            yield f"{self.unseen} Probes timed out that the driver has not seen"
        for status in (seen.keys() | counted.keys()) - {"DeadlineExceeded"}:
            if not 0 <= seen[status] - counted[status] <= self.unseen:
                yield f"{status}: the driver saw {seen[status]}, the metrics say {counted[status]}"
        named = self._counted(GET_PLUGIN_INFO)
        if not named["OK"] <= self.names <= named.total():
            yield f"GetPluginInfo: the driver saw {self.names}, the metrics say {dict(named)}"

    def _counted(self, method: str) -> Counter[str]:
        """Return the number of calls that reached the driver by status, from the metrics."""
        return Counter(
            {
                status: n
                for (its, status), n in self.metrics.items()
                if its == method and status != UNREACHABLE
            }
        )


def soak(scale: Scale, folder: Path) -> Record:
    """Run the soak test with its files in `folder`."""
    run = _Run(scale, folder)
    with ExitStack() as processes:
        sidecar = processes.enter_context(
            Sidecar(
                f"--csi-address={run.socket}",
                *FLAGS,
                log=run.log,
                command=(sys.executable, "-m", "tests.soak.sidecar"),
            )
        )
        sidecar.wait_for_listeners(1)
        sidecar.wait_for(500, "no such file")
        before = _at_rest(sidecar.pid)
        started = time.monotonic()
        driver = processes.enter_context(_peer("driver", run.socket, run.probes, run.names))
        clients = [
            processes.enter_context(_peer("client", *_text(sidecar.address), answers))
            for answers in run.answers
        ]
        usages = list(run.sample(sidecar.pid, [driver, *clients]))
        seconds = time.monotonic() - started
        _end(driver, *clients)
        sidecar.wait_for(500, "no such file")
        return Record(
            seconds=seconds,
            probes=Counter({Reply(letter): n for letter, n in tally.read(run.probes).items()}),
            names=tally.read(run.names).total(),
            answers=run.count_answers(),
            metrics=_operations(sidecar.metrics()),
            discarded=sidecar.log.count("Discarded a Probe"),
            usages=usages,
            descriptors_before=before,
            descriptors_after=_at_rest(sidecar.pid),
        )


class _Run:
    """The files of one run."""

    def __init__(self, scale: Scale, folder: Path) -> None:
        self.socket = folder / "csi.sock"
        self.log = folder / "sidecar.log"
        self.probes = folder / "probes"
        self.names = folder / "names"
        self.answers = [folder / f"answers-{number}" for number in range(scale.clients)]
        for file in (self.probes, self.names, *self.answers):
            file.touch()
        self._scale = scale

    def sample(self, pid: int, peers: list[subprocess.Popen[bytes]]) -> Iterator[Usage]:
        """Yield the usage of the process until the scale is reached or the time is over."""
        started = time.monotonic()
        while not self._is_enough() and (at := time.monotonic() - started) < self._scale.seconds:
            yield usage(pid, at)
            if any(peer.poll() is not None for peer in peers):
                raise RuntimeError("a peer has ended early, see its traceback")
            time.sleep(SAMPLE_EVERY)

    def _is_enough(self) -> bool:
        requests = sum(answers.stat().st_size for answers in self.answers)
        return self.probes.stat().st_size >= self._scale.probes and requests >= self._scale.requests

    def count_answers(self) -> Counter[Outcome]:
        counts: Counter[Outcome] = Counter()
        for answers in self.answers:
            counts.update({Outcome(letter): n for letter, n in tally.read(answers).items()})
        return counts


def _peer(name: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"tests.soak.{name}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)  # noqa: S603 - ours


def _end(*peers: subprocess.Popen[bytes]) -> None:
    for peer in peers:
        peer.communicate()  # closes its stdin
        if peer.returncode:
            raise RuntimeError(f"{peer.args!r} has failed, see its traceback")


def _text(address: Address) -> tuple[str, str]:
    return address.host, str(address.port)


def _at_rest(pid: int) -> int:
    """Return the number of descriptors that are open between two Probes and without clients."""
    counts = []
    for _ in range(200):
        counts.append(usage(pid, 0.0).descriptors)
        time.sleep(0.01)  # two seconds in all, since a connection may take half a second to end
    return min(counts)


def _operations(families: list[Metric]) -> Counter[tuple[str, str]]:
    return Counter(
        {
            (sample.labels["method_name"], sample.labels["grpc_status_code"]): int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == "csi_sidecar_operations_seconds_count"
        }
    )
