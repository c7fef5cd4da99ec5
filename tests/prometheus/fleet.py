"""What a fleet costs: `python -m tests.prometheus.fleet`.

Many sidecars, all of one driver, and one Prometheus server with the rules and the relabelings of
deploy/prometheus. Scrapes, evaluations and the windows of the rules are `FASTER` than in a cluster,
so that in the end each window holds as many samples as it does there. The result is a table in
Markdown, with a projection to `NODES`, one sidecar each.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Self

from tests.e2e.harness import TIMEOUT, Address, DriverProcess, Sidecar
from tests.prometheus import monitors
from tests.prometheus.harness import RULES, Prometheus, compress

NODES = 15_000

SCRAPED_EVERY = 30
"""Seconds, in a cluster."""

FASTER = 30
"""So a scrape follows the one before after a second, and the longest window has two minutes."""

# A Probe for each request of a kubelet that asks every ten seconds.
PROBED_EVERY = "10s"

# Sidecars that start at the same time.
TOGETHER = 4

# Evaluations whose median is reported, the last ones, when the windows are full.
EVALUATIONS = 10

# What Prometheus adds to the samples of a target: up, scrape_duration_seconds and three more.
ADDED_SERIES = 5

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What processes use."""

    cpu: float
    """Seconds so far."""
    memory: float
    """Bytes, each counted once."""
    alone: float
    """Bytes that they would take if nothing were shared."""

    @classmethod
    def of(cls, pids: Iterable[int]) -> Self:
        """Look at these processes and add them up."""
        ticks = pss = rss = 0
        for pid in pids:
            process = Path("/proc") / str(pid)
            user_and_system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
            ticks += sum(map(int, user_and_system))
            rollup = (process / "smaps_rollup").read_text().splitlines()[1:]
            kibibytes = dict(line.removesuffix(" kB").split(":") for line in rollup)
            pss += int(kibibytes["Pss"])
            rss += int(kibibytes["Rss"])
        return cls(cpu=ticks / os.sysconf("SC_CLK_TCK"), memory=pss * 1024.0, alone=rss * 1024.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was measured; times in seconds, memory in bytes."""

    sidecars: int
    prometheus: str
    """Version."""
    sent: int
    """Samples in a sidecar's answer."""
    series: int
    """Of one sidecar that are kept, with those that Prometheus adds."""
    plain: int
    """Bytes of one scrape's answer."""
    packed: int
    """The same with gzip, which is what Prometheus asks for."""
    scrapes: list[float]
    """How long each took."""
    evaluation: float
    """Of all rules, once."""
    server_empty: Usage
    """Before the first scrape."""
    server: Usage
    sidecars_before: Usage
    sidecars_after: Usage
    seconds: float
    """Between the last two."""

    def table(self) -> Iterator[str]:
        """Yield the lines of the table."""
        more = NODES / self.sidecars
        series = self.series * self.sidecars
        memory = self.server.memory - self.server_empty.memory
        each = memory / series / 1024
        alone = self.sidecars_after.alone / self.sidecars / MIB
        cpu = (self.sidecars_after.cpu - self.sidecars_before.cpu) / self.seconds / self.sidecars
        centiles = quantiles(self.scrapes, n=100)
        projected = self.server_empty.memory + memory * more
        rows = [
            ("", f"{self.sidecars} here", f"{NODES:,} nodes", "formula for the projection"),
            ("---",) * 4,
            (
                "series",
                f"{series:,}",
                f"{series * more:,.0f}",
                f"{self.series} for each node, of {self.sent + ADDED_SERIES} without relabelings",
            ),
            (
                f"samples a second, scraped every {SCRAPED_EVERY} s",
                f"{series / SCRAPED_EVERY:,.0f}",
                f"{series * more / SCRAPED_EVERY:,.0f}",
                f"series / {SCRAPED_EVERY}",
            ),
            (
                "a scrape's answer, plain / gzip",
                f"{self.plain:,} / {self.packed:,} bytes",
                f"{self.packed * NODES / SCRAPED_EVERY / MIB:.1f} MiB/s with gzip",
                f"size * nodes / {SCRAPED_EVERY}",
            ),
            (
                "a scrape, median / 99th percentile",
                f"{centiles[49] * 1000:.1f} / {centiles[98] * 1000:.1f} ms",
                "the same",
                "each node answers for itself",
            ),
            (
                "all rules once, every window full",
                f"{self.evaluation * 1000:.0f} ms",
                f"{self.evaluation * more:.1f} s",
                "in proportion to nodes",
            ),
            (
                f"memory of Prometheus {self.prometheus}",
                f"{self.server.memory / MIB:.0f} MiB",
                f"{projected / MIB / 1024:.1f} GiB",
                f"{self.server_empty.memory / MIB:.0f} MiB + {each:.1f} KiB * series",
            ),
            (
                "memory of all sidecars",
                f"{self.sidecars_after.memory / MIB:,.0f} MiB",
                f"{alone:.0f} MiB on each node",
                "libraries are shared here, not there",
            ),
            (
                f"CPU of all sidecars, a Probe every {PROBED_EVERY} and a scrape every second",
                f"{cpu * self.sidecars:.2f} cores",
                f"{cpu * 1000:.1f} thousandths of a core on each node at most",
                "a scrape is rarer there",
            ),
        ]
        yield from (f"| {' | '.join(row)} |" for row in rows)


def measure(folder: Path, number: int, seconds: float) -> Record:
    """Run so many sidecars and scrape them for so many seconds."""
    rules = folder / "rules.yaml"
    rules.write_text(compress(RULES.read_text(), FASTER))
    interval = SCRAPED_EVERY / FASTER
    with ExitStack() as stack:
        driver = stack.enter_context(DriverProcess(folder / "csi.sock"))
        flags = (
            f"--csi-address={driver.socket}",
            f"--probe-interval={PROBED_EVERY}",
            "--http-endpoint=127.0.0.1:0",
        )
        sidecars: list[Sidecar] = []
        while len(sidecars) < number:
            # A few at a time, as each has only so long to start.
            sidecars += [
                stack.enter_context(Sidecar(*flags, log=folder / f"log-{len(sidecars) + more}"))
                for more in range(min(TOGETHER, number - len(sidecars)))
            ]
            for sidecar in sidecars[-TOGETHER:]:
                sidecar.wait_for_listeners(1)
        pids = [sidecar.pid for sidecar in sidecars]
        prometheus = stack.enter_context(
            Prometheus(
                folder / "prometheus",
                rules=[rules],
                metric_relabelings=monitors.metric_relabelings("podmonitor.yaml"),
                interval=interval,
            )
        )
        server_empty = Usage.of([prometheus.pid])
        prometheus.scrape(
            {
                f"127.0.0.1:{sidecar.address.port}": {"node": f"node-{node}", "pod": f"pod-{node}"}
                for node, sidecar in enumerate(sidecars)
            }
        )
        prometheus.wait_for(f"count(livenessprobe_up == 1) == {number}", timeout=60.0)

        sidecars_before, started = Usage.of(pids), time.time()
        time.sleep(seconds)
        sidecars_after, ended = Usage.of(pids), time.time()

        durations = prometheus.query_range("scrape_duration_seconds", started, ended, interval)
        evaluations = []
        for _ in range(EVALUATIONS):
            evaluations.append(sum(rule["evaluationTime"] for rule in prometheus.rules()))
            time.sleep(interval)
        if failing := prometheus.firing():
            raise RuntimeError(f"this machine is too slow for this: {failing}")
        (sent,) = prometheus.query("max(scrape_samples_scraped)")
        (kept,) = prometheus.query("max(scrape_samples_post_metric_relabeling)")
        return Record(
            sidecars=number,
            prometheus=prometheus.get("status/buildinfo")["version"].partition("+")[0],
            sent=int(sent.value),
            series=int(kept.value) + ADDED_SERIES,
            plain=size(sidecars[0].address, "identity"),
            packed=size(sidecars[0].address, "gzip"),
            scrapes=[value for series in durations for _, value in series.values],
            evaluation=median(evaluations),
            server_empty=server_empty,
            server=Usage.of([prometheus.pid]),
            sidecars_before=sidecars_before,
            sidecars_after=sidecars_after,
            seconds=ended - started,
        )


def size(address: Address, encoding: str) -> int:
    """Return the bytes of the metrics' body in this encoding."""
    connection = HTTPConnection(*address, timeout=TIMEOUT)
    try:
        connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding})
        return len(connection.getresponse().read())
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.prometheus.fleet", description=__doc__)
    parser.add_argument("--sidecars", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=120.0, help="of scraping")
    options = parser.parse_args()
    os.nice(10)
    with TemporaryDirectory() as folder:
        record = measure(Path(folder), options.sidecars, options.seconds)
    for line in record.table():
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
