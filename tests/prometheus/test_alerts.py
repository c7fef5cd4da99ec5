"""Every alert fires and clears, with a real server that scrapes the real program.

The rules are those of deploy/ with their durations divided by `FASTER`, and scrapes and evaluations
come that much faster too. Each of the pods below has a trouble of its own, all of them at the same
time, and each alert has to fire for the pod with its trouble and for no other.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from signal import SIGKILL
from threading import Thread

from tests.csi_driver import DRIVER_NAME
from tests.e2e.harness import COMMAND, DriverProcess, Sidecar, free_port, wait_until
from tests.prometheus import monitors, wedged
from tests.prometheus.harness import RULES, Alert, Prometheus, compress

# An hour takes 40 seconds here. In that time all the troubles have to have happened, on a busy
# machine too.
FASTER = 90

# Where a sidecar restarts. It has to be back within the two minutes that the rules look back for,
# which are six seconds here.
LESS_FAST = 20

# Generous: what is expected is 40 seconds for an alert that looks at the last hour.
SEEN_WITHIN = 90.0

# A healthy driver keeps this timeout on a busy machine too, and a slow one takes most of it.
FLAGS = ("--probe-interval=250ms", "--probe-timeout=2s")
SLOW = "delay 1.3"

FIRING = 'group by (alertname, pod) (ALERTS{alertstate="firing"})'
EVER_FIRED = 'group by (alertname, pod) (last_over_time(ALERTS{alertstate="firing"}[1h]))'

# Which pod has which trouble. The last is none of a pod's.
EXPECTED = {
    ("CSIDriverDown", "down"),
    ("CSIDriverFlapping", "flapping"),
    ("CSIDriverRestartLoop", "restarting"),
    ("CSIDriverSlow", "slow"),
    ("LivenessprobeMissing", "missing"),
    ("LivenessprobeRestartLoop", "restarted"),
    ("LivenessprobeResultStale", "stale"),
    ("LivenessprobeNotScraped", ""),
}


class Pod:
    """A driver and its sidecar, which keeps its port however often it is started."""

    def __init__(self, name: str, folder: Path, stack: ExitStack) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._stack = stack
        self._port = free_port()
        self.target = f"127.0.0.1:{self._port}"
        self.name = name
        # As the Operator has them before the relabelings of a monitor.
        self.labels = {
            "job": "kube-system/livenessprobe",
            "namespace": "storage",
            "pod": name,
            "container": "driver",
            "__meta_kubernetes_pod_node_name": f"node-{name}",
            "__meta_kubernetes_pod_controller_kind": "DaemonSet",
            "__meta_kubernetes_pod_controller_name": "example",
        }
        self.start_sidecar()
        self.start_driver()

    def start_driver(self) -> None:
        self.driver = self._stack.enter_context(DriverProcess(self._folder / "csi.sock"))

    def start_sidecar(self) -> None:
        flags = (
            f"--csi-address={self._folder / 'csi.sock'}",
            f"--http-endpoint=127.0.0.1:{self._port}",
            *FLAGS,
        )
        command = (sys.executable, wedged.__file__) if self.name == "stale" else (COMMAND,)
        log = self._folder / "log"
        self.sidecar = self._stack.enter_context(Sidecar(*flags, log=log, command=command))
        self.sidecar.wait_for_listeners(1)

    def is_well(self) -> None:
        """Wait until the driver is healthy and has told its name."""
        self.sidecar.wait_for(200, "ok")
        wait_until(lambda: self.driver.counts.plugin_infos)
        self.sidecar.wait_for_name()

    def restart_driver(self) -> None:
        self.driver.signal(SIGKILL)
        self.sidecar.wait_for(500, "")
        self.start_driver()
        self.is_well()

    def restart_sidecar(self, prometheus: Prometheus) -> None:
        start = f'process_start_time_seconds{{pod="{self.name}"}}'
        (before,) = prometheus.query(start)
        self.sidecar.stop()
        self.start_sidecar()
        self.is_well()
        # Each start is seen by a scrape, or it would not count.
        prometheus.wait_for(f"{start} > {before.value}")

    def flap(self) -> None:
        self.driver.tell("error 13 out of luck")
        self.sidecar.wait_for(500, "out of luck")
        self.driver.tell("ready")
        self.sidecar.wait_for(200, "ok")

    @property
    def wedge(self) -> Path:
        return self._folder / wedged.WEDGE


@contextmanager
def kube_state_metrics(desired: int) -> Iterator[str]:
    """Serve what kube-state-metrics says of the DaemonSet, and yield where."""
    text = (
        'kube_daemonset_status_desired_number_scheduled{namespace="storage", daemonset="example"}'
        f" {desired}\n"
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def alerts(prometheus: Prometheus, expression: str) -> set[tuple[str, str]]:
    """The names and pods of the alerts in the answer."""
    samples = prometheus.query(expression)
    return {(sample.labels["alertname"], sample.labels.get("pod", "")) for sample in samples}


def wait_for_alerts(prometheus: Prometheus, expected: set[tuple[str, str]]) -> None:
    """Wait until these alerts are firing, and no others."""
    try:
        wait_until(lambda: alerts(prometheus, FIRING) == expected, SEEN_WITHIN)
    except TimeoutError as error:
        differ = alerts(prometheus, FIRING) ^ expected
        raise AssertionError(f"missing or not expected: {differ}") from error


def assert_names_what_it_is_about(alert: Alert) -> None:
    """Whoever is called has to know where to look, and what for."""
    about = alert.labels.get("node") or alert.labels["daemonset"]
    assert about in alert.annotations["summary"], alert
    text = " ".join(alert.annotations.values())
    assert (DRIVER_NAME if alert.name.startswith("CSIDriver") else "livenessprobe") in text
    assert "<" not in text, "no value, or an error of the template"


def targets(*pods: Pod) -> dict[str, Mapping[str, str]]:
    return {pod.target: pod.labels for pod in pods}


def test_every_alert_fires_for_its_trouble_alone_and_clears(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(compress(RULES.read_text(), FASTER))
    names = [pod for _, pod in EXPECTED if pod]
    with ExitStack() as stack:
        pods = {name: Pod(name, tmp_path, stack) for name in ["well", "late", *names]}
        for pod in pods.values():
            pod.is_well()
        cluster = {stack.enter_context(kube_state_metrics(len(pods))): dict[str, str]()}
        late = pods["late"]
        others = [pod for pod in pods.values() if pod is not late]
        prometheus = stack.enter_context(
            Prometheus(
                tmp_path / "prometheus",
                rules=[rules],
                relabelings=monitors.relabelings("podmonitor.yaml"),
                metric_relabelings=monitors.metric_relabelings("podmonitor.yaml"),
                interval=30 / FASTER,
            )
        )
        prometheus.scrape(targets(*others) | cluster)
        prometheus.wait_for(f"count(livenessprobe_up == 1) == {len(others)}")
        assert {frozenset(sample.labels) for sample in prometheus.query('up{pod!=""}')} == {
            frozenset({"__name__", "job", "instance", "namespace", "pod", "node", "daemonset"})
        }

        pods["down"].driver.tell("error 9 no backend")
        pods["slow"].driver.tell(SLOW)
        pods["stale"].wedge.touch()
        pods["missing"].sidecar.stop()
        for _ in range(3):
            pods["flapping"].flap()
            pods["restarting"].restart_driver()
            pods["restarted"].restart_sidecar(prometheus)
        wait_for_alerts(prometheus, EXPECTED)
        for alert in prometheus.alerts():
            assert_names_what_it_is_about(alert)

        # Still the same trouble, whatever it looks like.
        pods["down"].driver.tell("hang")
        pods["down"].sidecar.wait_for(500, "context deadline exceeded")
        pods["down"].driver.signal(SIGKILL)
        pods["down"].sidecar.wait_for(500, "connection refused")
        assert ("CSIDriverDown", "down") in alerts(prometheus, FIRING)

        pods["down"].start_driver()
        pods["slow"].driver.tell("ready")
        pods["stale"].wedge.unlink()
        pods["missing"].start_sidecar()
        prometheus.scrape(targets(late, *others) | cluster)
        wait_for_alerts(prometheus, set())
        assert alerts(prometheus, EVER_FIRED) == EXPECTED

        prometheus.scrape({})
        wait_for_alerts(prometheus, {("LivenessprobeMissing", "")})
        prometheus.scrape(targets(late, *others) | cluster)
        wait_for_alerts(prometheus, set())


def test_a_driver_that_is_down_stays_so_when_its_sidecar_restarts(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(compress(RULES.read_text(), LESS_FAST))
    look_back = f"{120 // LESS_FAST}s"
    down = 'alertname="CSIDriverDown", pod="down"'
    with ExitStack() as stack:
        pod = Pod("down", tmp_path, stack)
        pod.is_well()
        prometheus = stack.enter_context(
            Prometheus(
                tmp_path / "prometheus",
                rules=[rules],
                relabelings=monitors.relabelings("podmonitor.yaml"),
                metric_relabelings=monitors.metric_relabelings("podmonitor.yaml"),
                interval=30 / LESS_FAST,
            )
        )
        prometheus.scrape(targets(pod))
        prometheus.wait_for(f'livenessprobe_up{{driver_name="{DRIVER_NAME}"}} == 1')
        pod.driver.signal(SIGKILL)
        (began,) = prometheus.wait_for(f"ALERTS_FOR_STATE{{{down}}}")

        # Once while it is pending, and once while it is firing.
        for state in "pending", "firing":
            prometheus.wait_for(f'ALERTS{{{down}, alertstate="{state}"}}')
            pod.sidecar.stop()
            pod.start_sidecar()
            prometheus.wait_for(
                f'absent_over_time(livenessprobe_up{{driver_name="{DRIVER_NAME}"}}[{look_back}])'
            )
        prometheus.wait_for('livenessprobe_up{driver_name="unknown-driver"} == 0')
        (alert,) = prometheus.alerts()
        assert (alert.name, alert.state) == ("CSIDriverDown", "firing")
        assert_names_what_it_is_about(alert)
        (lasts,) = prometheus.query(f"ALERTS_FOR_STATE{{{down}}}")
        assert lasts.value == began.value

        pod.start_driver()
        prometheus.wait_for_none(f"ALERTS{{{down}}}")
