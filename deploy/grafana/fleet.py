"""Every driver on every node: how many are well, and which are not.

Made for 15,000 nodes. What counts drivers over time comes from the recording rules in
`deploy/prometheus/`: a few series, however large the fleet. What reads a series of every sidecar
over time does so at few points. What lists single drivers asks for one moment, or for a few drivers
that were found before, and shows the worst of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.models import units

from deploy.grafana import panels as p
from deploy.grafana.boards import FLEET_UID, JOB, PROBES, WINDOW, Board, choice, row, unseen
from deploy.grafana.panels import BAD, DRIVER_UID, GOOD, WARNING, Column, Look, Query

if TYPE_CHECKING:
    from grafana_foundation_sdk.models import dashboard as models

DRIVER = 'driver_name=~"$driver_name"'
SIDECAR = 'job=~"$job"'

WHERE = ", ".join(p.LABELS)

SAME = "on (job, instance)"

UP = f"livenessprobe_up{{{DRIVER}}}"
LATENCY = f"livenessprobe_probe_latency_seconds{{{DRIVER}}}"
TIMEOUT = f"livenessprobe_probe_timeout_seconds{{{DRIVER}}}"
CHANGED = p.unless_unknown(f"livenessprobe_last_change_timestamp_seconds{{{DRIVER}}}", DRIVER)
FAILURES_IN_A_ROW = f"livenessprobe_consecutive_failures{{{DRIVER}}}"
AGE = f"livenessprobe_result_age_seconds{{{DRIVER}}}"
MISSED = f"livenessprobe_missed_deadlines_total{{{DRIVER}}}"
LIMIT = f"(livenessprobe_probe_interval_seconds{{{DRIVER}}} + {TIMEOUT})"
RESIDENT = f"process_resident_memory_bytes{{{SIDECAR}}}"

# A variable has found these instances before, see `dashboard`.
FAILING = f'{DRIVER}, instance=~"$failing"'

FIRING = 'alertname=~"(CSIDriver|Livenessprobe).+", alertstate="firing"'

# Over an hour, since kubelet takes minutes to restart a driver.
FAILURES = f"increase(livenessprobe_failures_total{{{DRIVER}}}[1h])"
FLAPS = f'increase(livenessprobe_transitions_total{{{DRIVER}, to="unhealthy"}}[1h])'

# As many changes in an hour as make an alert; a half, since increase() extrapolates.
FLAPPING = 2.5

# Where every sidecar's series is read. The lists of a few take as many points as fit.
POINTS = 100


def number(expr: str) -> str:
    """Return how many series there are, also if there is none."""
    return f"count({expr}) or vector(0)"


def named(metric: str) -> str:
    """Return a metric of the program with the name of its driver."""
    return f"{metric} * {SAME} group_left (driver_name) ({UP} >= bool 0)"


def ranked(most: int, expr: str) -> str:
    """Return the highest values, by what a person needs to find the driver."""
    return f"max by ({WHERE}) (topk({most}, {expr}))"


def of_same(expr: str, others: str) -> str:
    """Return the values of those sidecars that are also in `others`."""
    return f"max by ({WHERE}) ({expr} and {SAME} {others})"


UNHEALTHY = ranked(100, f"{FAILURES_IN_A_ROW} and {SAME} {UP} == 0")
FAILING_MOST = f"topk(20, sum by (instance) ({FAILURES}))"
SLOWEST = ranked(20, f"{LATENCY} / {TIMEOUT}")
FLAPPING_MOST = ranked(20, f"{FLAPS} > {FLAPPING}")
OLDEST = ranked(20, f"{AGE} / {LIMIT}")
LARGEST = ranked(10, named(RESIDENT))

HALF_AND_ALL: p.Steps = (GOOD, (0.5, WARNING), (1, BAD))

WORRYING = Look(decimals=0, steps=(GOOD, (1, WARNING)))
ALARMING = Look(decimals=0, steps=(GOOD, (1, BAD)))

NOW = row(
    "Now",
    [
        p.stat(
            "Healthy",
            "Drivers that /healthz answers 200 for.",
            f"sum({UP})",
            Look(decimals=0, steps=(GOOD,)),
        ),
        p.stat(
            "Not healthy",
            "Drivers that /healthz answers 500 for: kubelet restarts them if this lasts. Below is"
            " which.",
            number(f"{UP} == 0"),
            ALARMING,
        ),
        p.stat(
            "Health",
            "Share of the drivers that are healthy.",
            f"avg({UP})",
            Look(unit=units.PercentUnit, decimals=2, steps=(BAD, (0.99, WARNING), (1, GOOD))),
        ),
        p.stat(
            "Flapping",
            "Drivers that turned unhealthy three times or more in the last hour.",
            number(f"{FLAPS} > {FLAPPING}"),
            WORRYING,
        ),
        p.stat(
            "Slow",
            "Drivers whose last Probe took more than half of --probe-timeout and did not fail.",
            number(f"{LATENCY} > {TIMEOUT} / 2 and {SAME} {UP} == 1"),
            WORRYING,
        ),
        p.stat(
            "Stale",
            "Drivers about which nothing is known: their sidecar has no result yet, or none that"
            " is recent enough.",
            f'sum(livenessprobe_state{{{DRIVER}, state="unknown"}})',
            ALARMING,
        ),
        p.stat(
            "Sidecars silent",
            "Sidecars that Prometheus knows of and cannot read: how their drivers are is unknown.",
            number(f"up{{{SIDECAR}}} == 0"),
            ALARMING,
        ),
        p.stat(
            "Probes",
            "Probes a second, of all drivers together.",
            f"sum(rate(csi_sidecar_operations_seconds_count{{{SIDECAR}, {DRIVER}, {PROBES}}}[5m]))",
            p.RATE,
        ),
    ],
)

HEALTH = row(
    "Which drivers, and where",
    [
        p.table(
            "Not healthy now",
            "At most 100, by failing Probes since the last healthy one. An unknown state has no"
            " time. An instance leads to all that is known of its driver.",
            [
                Column("failures", UNHEALTHY),
                Column("state", of_same(p.state_number(DRIVER), UNHEALTHY), p.STATE),
                Column("for", of_same(f"time() - ({CHANGED})", UNHEALTHY), p.DURATION),
            ],
            empty="Every driver is healthy",
        )
    ],
    [
        p.table(
            "Alerts firing",
            "How many of each. What to do about them is in deploy/runbook.md.",
            [Column("alerts", f"count by (alertname, severity) (ALERTS{{{FIRING}}})", ALARMING)],
            empty="No alert is firing",
        ),
        p.by_state(
            "States by driver",
            "Nodes by the state of each driver. unknown-driver: it has not told its name yet. From"
            " the recording rules.",
            f"driver_name_state:livenessprobe_state:sum{{{DRIVER}}}",
            row="driver_name",
            column="state",
        ),
        p.areas(
            "Not healthy over time",
            "Drivers by state; those that are ready are left out. From the recording rules.",
            [
                Query(
                    "{{state}}",
                    "sum by (state)"
                    f' (driver_name_state:livenessprobe_state:sum{{{DRIVER}, state!="ready"}})',
                )
            ],
            p.COUNT,
            p.STATE_COLOURS,
        ),
    ],
    [
        p.timeline(
            "States of the drivers that fail most",
            "The 20 drivers with the most failing Probes in the last hour. Many at the same time:"
            " look for what they share. One alone: look at its node.",
            Query(
                "{{driver_name}} {{node}} {{instance}}",
                f"max by (driver_name, node, instance) ({p.state_number(FAILING)})",
            ),
            p.STATE,
        ).height(12)
    ],
)

TROUBLE = row(
    "Failures, latency, flapping, age",
    [
        p.by_state(
            "Failing Probes by driver",
            "In the last hour, by reason. Not ready and failed: the driver answered so. Timed out:"
            " no answer within --probe-timeout. Unreachable: nobody listens on its socket.",
            f"sum by (driver_name, reason) ({FAILURES})",
            row="driver_name",
            column="reason",
        ),
        p.lines(
            "Latency by driver",
            "What 99 in 100 nodes' last Probes stayed below. From the recording rules.",
            [
                Query(
                    "{{driver_name}}",
                    f"driver_name:livenessprobe_probe_latency_seconds:p99{{{DRIVER}}}",
                )
            ],
            p.SECONDS,
        ),
    ],
    [
        p.table(
            "Slowest",
            "At most 20, by what the last Probe took as a share of --probe-timeout. At 100 % a"
            " Probe has failed.",
            [
                Column("of its timeout", SLOWEST, Look(p.SHARE.unit, steps=HALF_AND_ALL)),
                Column("latency", of_same(LATENCY, SLOWEST), p.SECONDS),
                Column("timeout", of_same(TIMEOUT, SLOWEST), p.SECONDS),
            ],
        )
    ],
    [
        p.table(
            "Flapping most",
            "At most 20 drivers that turned unhealthy three times or more in the last hour, most"
            " first. One of the next times may last long enough for a restart.",
            [Column("times unhealthy", FLAPPING_MOST)],
            empty="No driver flaps",
        )
    ],
    [
        p.table(
            "Oldest results",
            "At most 20, by age as a share of interval and timeout together. Above 100 % the next"
            " result is overdue: the sidecar is stuck or starved of CPU.",
            [
                Column("of the limit", OLDEST, Look(p.SHARE.unit, steps=(GOOD, (1, BAD)))),
                Column("age", of_same(AGE, OLDEST), p.SECONDS),
                Column("missed since start", of_same(MISSED, OLDEST), WORRYING),
            ],
        )
    ],
)

COST = row(
    "The sidecars",
    [
        p.lines(
            "CPU",
            "Cores that all sidecars together keep busy.",
            [Query("all", f"sum(rate(process_cpu_seconds_total{{{SIDECAR}}}{WINDOW}))")],
            Look(),
            {"all": p.BLUE},
        ).max_data_points(POINTS),
        p.lines(
            "Memory of a sidecar",
            "Resident memory; the container's limit is per sidecar.",
            [Query("largest", f"max({RESIDENT})"), Query("mean", f"avg({RESIDENT})")],
            p.BYTES,
            {"largest": p.ORANGE, "mean": p.BLUE},
        ).max_data_points(POINTS),
    ],
    [
        p.lines(
            "Event-loop lag",
            "How late the last Probe began, where it was latest. Nodes that lack CPU show here"
            " first.",
            [Query("latest", f"max(livenessprobe_event_loop_lag_seconds{{{SIDECAR}}})")],
            p.SECONDS,
            {"latest": p.ORANGE},
        ).max_data_points(POINTS),
        p.table(
            "Versions",
            "Sidecars by version; more than one while an update is being rolled out.",
            [
                Column(
                    "sidecars",
                    f"count by (version, python_version) (livenessprobe_build_info{{{SIDECAR}}})",
                )
            ],
        ),
    ],
    [
        p.table(
            "Largest sidecars",
            "The ten that take the most memory, and what else they take.",
            [
                Column("memory", LARGEST, p.BYTES),
                Column(
                    "CPU",
                    of_same(named(f"rate(process_cpu_seconds_total{{{SIDECAR}}}[5m])"), LARGEST),
                    p.SHARE,
                ),
                Column("descriptors", of_same(named(f"process_open_fds{{{SIDECAR}}}"), LARGEST)),
                Column("threads", of_same(named(f"process_threads{{{SIDECAR}}}"), LARGEST)),
            ],
        )
    ],
)


def dashboard() -> models.Dashboard:
    """Return the dashboard of the fleet."""
    return Board(
        uid=FLEET_UID,
        title="CSI liveness: fleet",
        description="How all CSI drivers are, as their livenessprobe sidecars see them.",
        since="now-6h",
        refresh="1m",
        variables=[
            JOB,
            choice("driver_name", "Driver", "label_values(livenessprobe_up, driver_name)"),
            unseen(
                choice("failing", "Failing most", f"query_result({FAILING_MOST})").regex(
                    r'/instance="([^"]+)"/'
                )
            ),
        ],
        link=("One driver", DRIVER_UID),
        rows=[NOW, HEALTH, TROUBLE, COST],
    ).build()
