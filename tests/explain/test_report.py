from __future__ import annotations

import json
from typing import Any

import pytest

from tests.explain.pods import OURS, Pod
from tests.explain.test_mistakes import explained

REFERENCE = """\
DaemonSet kube-system/example-csi, container driver
  liveness   :9808/healthz every 10s, timeout 1s (default of Kubernetes), threshold 5, delay 10s
  sidecar    liveness-probe, kubernetes-csi/livenessprobe v2.19, asks /csi/csi.sock, --probe-timeout
             3s (default of v2.19)
  a driver that                         is restarted after      never if over within
  dies                                  46s (41s to 51s)        39s
  hangs                                 46s (41s to 51s)        41s
  answers an error                      45s (40s to 50s)        40s
  is not ready                          45s (40s to 50s)        40s
  starts                                has to be ready within 48s, after a restart 49s
  is healthy                            is asked 360 times an hour at most
  warning: timeoutSeconds is shorter than --probe-timeout: a slow answer counts as a failure
      set: timeoutSeconds: 3

workloads: 1, probed containers explained: 1, warnings: 1; not looked at: 2 Service
"""

SWAP = """\
Pod kube-system/example-csi, container driver
  liveness   :9808/healthz every 2s, timeout 3s, threshold 5, delay 10s
  sidecar    liveness-probe, kubernetes-csi/livenessprobe v2.16, asks /csi/csi.sock, --probe-timeout
             1s (default of v2.16)
  a driver that                         is restarted after      never if over within
  dies                                  10s (9s to 11s)         7s
    with this program                   9s (8s to 10s)          7s                    1s sooner
  hangs                                 10s (9s to 11s)         9s
    with this program                   12s (11s to 14s)        10s                   2s later
  answers an error                      9s (8s to 10s)          8s
    with this program                   10s (9s to 12s)         7s                    1s later
  is not ready                          9s (8s to 10s)          8s
    with this program                   10s (9s to 12s)         7s                    1s later
  starts                                has to be ready within 16s, after a restart 17s
    with this program                   has to be ready within 17s, after a restart 17s
  is healthy                            is asked 1800 times an hour at most
    with this program                   is asked 1800 times an hour at most
  warning: with this program, periodSeconds is shorter than --probe-timeout: look how soon a driver
           has to be ready
      set: periodSeconds: 4, or a higher failureThreshold

workloads: 1, probed containers explained: 1, warnings: 1
"""


def text(*objects: Any, reference: bool = False) -> str:
    return explained(*objects, reference=reference).text()


def lines(pod: Pod, *, reference: bool = False) -> list[str]:
    return text(pod.json, reference=reference).splitlines()


def test_a_person_reads_who_asks_whom_and_what_follows() -> None:
    pod = Pod()
    pod.probe.pop("timeoutSeconds")
    service = {"kind": "Service"}
    assert text(pod.in_template("DaemonSet"), service, service) == REFERENCE


def test_what_a_swap_changes_stands_below_what_is() -> None:
    pod = Pod()
    pod.sidecar["image"] = "registry.k8s.io/sig-storage/livenessprobe:v2.16.0"
    pod.probe["periodSeconds"] = 2
    assert text(pod.json, reference=True) == SWAP


def test_a_swap_can_be_looked_at_from_the_other_side() -> None:
    labels = [line.strip()[:26] for line in lines(Pod(ours=True), reference=True)]
    assert labels.count("with kubernetes-csi/livene") == 6


def test_a_driver_that_only_is_not_ready_is_never_restarted_by_livez() -> None:
    pod = Pod(ours=True)
    pod.probe["httpGet"]["path"] = "/livez"
    assert "  is not ready                          never" in lines(pod)


def test_a_program_that_never_answers_well_is_not_compared() -> None:
    pod = Pod(ours=True)
    pod.probe["httpGet"]["path"] = "/livez"
    labels = [line for line in lines(pod, reference=True) if line.startswith("    with")]
    assert labels == []


def without_liveness(pod: Pod) -> None:
    pod.driver["readinessProbe"] = pod.driver.pop("livenessProbe")


def with_args(*args: str) -> Any:
    return lambda pod: pod.sidecar.update(args=[*args], image=OURS)


def on_the_sidecar(pod: Pod) -> None:
    pod.sidecar["livenessProbe"] = pod.driver.pop("livenessProbe")
    pod.sidecar["ports"] = pod.driver["ports"]


UNDECIDED = [
    (
        with_args("--csi-address=/csi/csi.sock", "--probe-interval=0s"),
        'the sidecar ends at its start, so no probe succeeds: --probe-interval="0s" is',
    ),
    (
        with_args("--csi-address=/csi/csi.sock", "--probe-timeout=-1s"),
        'the sidecar ends at its start, so no probe succeeds: --probe-timeout="-1s" is',
    ),
    (without_liveness, "no liveness probe asks this sidecar: it restarts nothing"),
    (lambda pod: pod.driver.pop("ports"), "driver declares no port healthz: kubelet neither asks"),
    (lambda pod: pod.probe["httpGet"].pop("path"), "the sidecar never answers :9808/ with success"),
    (
        on_the_sidecar,
        "the liveness probe restarts its own container liveness-probe, not the driver",
    ),
]


@pytest.mark.parametrize(("change", "reason"), UNDECIDED)
def test_where_nothing_depends_on_the_driver_there_is_the_reason_and_no_table(
    change: Any, reason: str
) -> None:
    pod = Pod()
    change(pod)
    shown = lines(pod, reference=True)
    assert any(reason in line for line in shown)
    assert not any("a driver that" in line for line in shown)
    (explanation,) = json.loads(explained(pod.json).json())["explained"]
    assert explanation["cases"][0]["restarted_after"] == {}
    assert explanation["cases"][0]["ready_within"] is None


@pytest.mark.parametrize(
    ("startup", "line"),
    [
        # 30 failures a period apart, with a retry of the reference's in between; then the
        # liveness probe takes over.
        (
            {"httpGet": {"path": "/healthz", "port": "healthz"}, "failureThreshold": 30},
            "has to be ready within 4m48s, after a restart 4m49s",
        ),
        ({"tcpSocket": {"port": 1}}, "has until its startup probe fails"),
    ],
)
def test_a_startup_probe_decides_how_long_a_start_may_take(
    startup: dict[str, Any], line: str
) -> None:
    pod = Pod()
    pod.driver["startupProbe"] = startup
    assert f"  {'starts':38}{line}" in lines(pod)


def test_a_grpc_probe_is_shown_with_its_service() -> None:
    pod = Pod(ours=True)
    pod.driver["livenessProbe"] = {"grpc": {"port": 9808, "service": "liveness"}}
    assert lines(pod)[1].startswith(
        "  liveness   grpc :9808 liveness every 10s (default of Kubernetes)"
    )


def test_a_check_is_shown_with_its_command() -> None:
    pod = Pod(ours=True)
    command = ["/livenessprobe", "check", "--csi-address=/csi/csi.sock"]
    pod.sidecar["readinessProbe"] = {"exec": {"command": command}, "timeoutSeconds": 5}
    assert f"  readiness  {' '.join(command)} every" in text(pod.json)
    # A Probe for each check, and one for each request of the liveness probe.
    assert f"  {'is healthy':38}is asked 720 times an hour at most" in lines(pod)


def test_callers_in_other_containers_count() -> None:
    pod = Pod(ours=True)
    pod.sidecar["readinessProbe"] = {"httpGet": {"path": "/readyz", "port": 9808}}
    assert f"  {'is healthy':38}is asked 720 times an hour at most" in lines(pod)


def test_a_fixed_interval_counts_instead_of_the_callers() -> None:
    pod = Pod(ours=True)
    pod.sidecar["args"].append("--probe-interval=60s")
    shown = "\n".join(lines(pod))
    assert "is asked 60 times an hour" in shown
    # Up to 60 s until the Probe and 10 s until the request; on average half of that.
    assert f"  {'answers an error':38}1m15s (40s to 1m50s)" in shown


def test_what_an_object_says_cannot_command_the_terminal_nor_flood_it() -> None:
    pod = Pod().named("\033[2J\nforged: line")
    pod.driver["name"] = "x" * 10_000
    pod.sidecar["args"] = ["--csi-address=/csi/\u202e\u0000.sock"]
    shown = text(pod.json)
    assert "\\x1b[2J\\nforged" in shown
    assert shown.replace("\n", "").isprintable()
    assert max(map(len, shown.splitlines())) <= 100
    assert len(shown) < 20_000


def test_a_machine_reads_the_same_unrounded() -> None:
    pod = Pod()
    pod.probe.pop("timeoutSeconds")
    broken = {"name": "liveness-probe-2", "args": ["--health-port=1", "--nope"]}
    pod.spec["containers"].append(broken)
    printed = explained(pod.json, {"kind": "Service"}, reference=True).json()
    assert printed.isascii()
    found = json.loads(printed)
    (explanation,) = found.pop("explained")
    assert found == {
        "skipped": [
            (
                "Pod kube-system/example-csi, sidecar liveness-probe-2: it ends at its start: flag "
                "provided but not defined: -nope"
            ),
        ],
        "workloads": 1,
        "others": {"Service": 1},
    }
    reference, ours = explanation.pop("cases")
    assert explanation == {
        "workload": "Pod kube-system/example-csi",
        "container": "driver",
        "sidecar": "liveness-probe",
        "version": [2, 19],
        "socket": "/csi/csi.sock",
        "probes": {
            "liveness": {
                "type": "liveness",
                "handler": "httpGet",
                "port": 9808,
                "path": "/healthz",
                "asks": ":9808/healthz",
                "settings": {
                    "periodSeconds": 10,
                    "timeoutSeconds": 1,
                    "failureThreshold": 5,
                    "initialDelaySeconds": 10,
                },
                "defaults": ["timeoutSeconds"],
            }
        },
        "warnings": [
            {
                "name": "timeout",
                "reason": "timeoutSeconds is shorter than --probe-timeout: a slow answer "
                "counts as a failure",
                "remedy": "timeoutSeconds: 3",
            },
        ],
    }
    assert ours["program"] == "this program"
    assert reference["program"] == "kubernetes-csi/livenessprobe"
    assert reference["restarted_after"]["dies"] == pytest.approx(
        {"earliest": 41.0, "typical": 46.0, "latest": 51.0, "spared": 39.8}
    )
    assert reference["ready_within"] == pytest.approx([48.8, 49.8])
    assert reference["probe_timeout"] == 3.0
    assert reference["probe_timeout_from"] == "default of v2.19"
    assert reference["probes_an_hour"] == 360
