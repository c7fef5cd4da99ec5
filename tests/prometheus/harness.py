"""A real Prometheus server as a process, and its HTTP API.

It finds its targets in a file, which is rewritten while it runs; it takes up to ten seconds to
notice. Whoever makes one uses it in a `with` block, so that none outlives its test:

    with Prometheus(tmp_path, rules=[RULES]) as prometheus:
        prometheus.scrape({"10.0.0.1:9808": {"node": "a"}})
        prometheus.wait_for('up{job="livenessprobe"} == 1')
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from tests.e2e.harness import TIMEOUT, Address, wait_until

ROOT = Path(__file__).parents[2]

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"

JOB = "livenessprobe"
"""The job's name that rules and dashboard look for."""

# How long the server may take until a new target's first samples can be queried: its discovery
# passes changes on every five seconds only.
NOTICE_WITHIN = 30.0

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`."""
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not in PATH; `make test-prometheus` downloads two versions")
    return path


def promtool(*arguments: str | Path) -> None:
    """Run promtool; whatever it complains of is the failure's message."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a program of the system's
    assert done.returncode == 0, done.stdout + done.stderr


def compress(rules: str, factor: int) -> str:
    """Divide every range and every `for` in the text of a rules file by `factor`.

    What took an hour then takes an hour divided by `factor`, if scrapes and evaluations are that
    much closer together too. Nothing else in the rules may depend on the time.
    """

    def shorter(duration: re.Match[str]) -> str:
        return f"{int(duration['number']) * _SECONDS[duration['unit']] * 1000 // factor}ms"

    return re.sub(r"((?<=\[)|(?<= for: ))(?P<number>\d+)(?P<unit>[smh])(?=\]|\n)", shorter, rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One element of an instant query's answer; the metric's name is the label `__name__`."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One element of a range query's answer."""

    labels: Mapping[str, str]
    values: list[tuple[float, float]]
    """Seconds since the epoch, and the value then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that is pending or firing."""

    name: str
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Prometheus:
    """The server, with its data, its log and its configuration in `folder`.

    `interval`, in seconds, is from one scrape to the next and from one evaluation of the rules to
    the next. A series without samples ends to count after ten of them, which is what a server that
    scrapes every 30 s does by default. `relabelings` are for the labels of its targets,
    `metric_relabelings` for those of their samples.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rules: Iterable[Path] = (),
        relabelings: Iterable[Mapping[str, Any]] = (),
        metric_relabelings: Iterable[Mapping[str, Any]] = (),
        interval: float = 1.0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "prometheus.log"
        self._targets = folder / "targets.json"
        self.scrape({})
        self.config = folder / "prometheus.yml"
        """The configuration file, for promtool."""
        every = f"{interval * 1000:.0f}ms"
        self.config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": every, "evaluation_interval": every},
                    "rule_files": [str(path) for path in rules],
                    "scrape_configs": [
                        {
                            "job_name": JOB,
                            "file_sd_configs": [{"files": [str(self._targets)]}],
                            "relabel_configs": [dict(each) for each in relabelings],
                            "metric_relabel_configs": [dict(each) for each in metric_relabelings],
                        }
                    ],
                }
            )
        )
        self._command = [
            program("prometheus"),
            f"--config.file={self.config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            f"--query.lookback-delta={interval * 10_000:.0f}ms",
            # Hidden from --help: how often targets that discovery has passed on are taken up.
            "--scrape.discovery-reload-interval=100ms",
        ]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program of the system's
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        try:
            wait_until(self._is_ready)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """The process's id, for a look into /proc."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has logged so far."""
        return self._log.read_text()

    @property
    def complaints(self) -> list[str]:
        """The lines of the log above level info, which 3 spells in capitals."""
        above_info = re.compile("level=(warn|error)", re.IGNORECASE)
        return [line for line in self.log.splitlines() if above_info.search(line)]

    @property
    def address(self) -> Address:
        """Where its API and its pages are."""
        # 3 tells its component in between.
        found = re.search(r'"Listening on".* address=(\S+):(\d+)', self.log)
        assert found is not None, self.log
        return Address(found[1], int(found[2]))

    def scrape(self, targets: Mapping[str, Mapping[str, str]]) -> None:
        """From now on, scrape these `host:port`, and no others.

        Each comes with the labels that its samples get beside `job` and `instance`; a label
        `instance` replaces the address, as relabelling may in a cluster.
        """
        groups = [
            {"targets": [target], "labels": dict(labels)} for target, labels in targets.items()
        ]
        # Replaced in one step, since the server may read at any moment.
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.replace(self._targets)

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """Evaluate an expression now, or at that time in seconds since the epoch."""
        parameters = {"query": expression} | ({} if at is None else {"time": repr(at)})
        answer = self.get("query", parameters)
        if answer["resultType"] == "scalar":
            return [Sample(labels={}, value=float(answer["result"][1]))]
        return [
            Sample(labels=item["metric"], value=float(item["value"][1]))
            for item in answer["result"]
        ]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate an expression every `step` seconds; the times are seconds since the epoch."""
        parameters = {"query": expression, "start": start, "end": end, "step": step}
        return [
            Series(
                labels=item["metric"],
                values=[(float(time), float(value)) for time, value in item["values"]],
            )
            for item in self.get("query_range", parameters)["result"]
        ]

    def alerts(self) -> list[Alert]:
        """All alerts that are pending or firing."""
        return [
            Alert(
                name=item["labels"]["alertname"],
                state=item["state"],
                labels=item["labels"],
                annotations=item["annotations"],
            )
            for item in self.get("alerts")["alerts"]
        ]

    def firing(self) -> set[str]:
        """The names of the alerts that are firing."""
        return {alert.name for alert in self.alerts() if alert.state == "firing"}

    def rules(self) -> list[Any]:
        """All rules as the API tells them, with their health, last error and evaluation time."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[Any]:
        """The active targets as the API tells them, with their health and last error."""
        answer: list[Any] = self.get("targets", {"state": "active"})["activeTargets"]
        return answer

    def wait_for(self, expression: str, timeout: float = NOTICE_WITHIN) -> list[Sample]:
        """Wait until the expression has an answer that is not empty, and return it."""
        try:
            return wait_until(lambda: self.query(expression), timeout)
        except TimeoutError as error:
            raise AssertionError(f"nothing for {expression}; alerts: {self.alerts()}") from error

    def wait_for_none(self, expression: str, timeout: float = NOTICE_WITHIN) -> None:
        """Wait until the expression has an empty answer."""
        try:
            wait_until(lambda: not self.query(expression), timeout)
        except TimeoutError as error:
            raise AssertionError(f"still: {self.query(expression)}") from error

    def get(self, endpoint: str, parameters: Mapping[str, object] | None = None) -> Any:
        """Ask the API and return the data; an error or a warning in its answer is raised."""
        target = f"/api/v1/{endpoint}?{urlencode(parameters or {})}"
        connection = HTTPConnection(*self.address, timeout=TIMEOUT)
        try:
            connection.request("GET", target)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer["status"] != "success" or answer.get("warnings"):
            raise RuntimeError(f"{parameters}: {answer}")
        return answer["data"]

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"Prometheus ended by itself: {self.log}")
        log = self.log
        return "Server is ready" in log and '"Listening on"' in log  # in either order

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
            self._process.wait()
