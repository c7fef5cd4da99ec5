"""One driver on one node: what it does, when it is asked, who asks, and what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.models import units

from deploy.grafana import panels as p
from deploy.grafana.boards import FLEET_UID, JOB, PROBES, WINDOW, Board, choice, one, row
from deploy.grafana.panels import BAD, DRIVER_UID, GOOD, WARNING, Look, Query

if TYPE_CHECKING:
    from grafana_foundation_sdk.models import dashboard as models

# A sidecar that has started before its driver has no name for it yet, which is when someone looks.
OF_DRIVER = 'driver_name=~"$driver_name|unknown-driver", node=~"$node"'

INSTANCE = 'instance="$instance"'
DRIVER = f"{OF_DRIVER}, {INSTANCE}"
SIDECAR = f'job=~"$job", {INSTANCE}'

# Other sidecars of a driver have this metric, too.
CALLS = f'{DRIVER}, job=~"$job"'

LATENCY = f"max(livenessprobe_probe_latency_seconds{{{DRIVER}}})"
TIMEOUT = f"max(livenessprobe_probe_timeout_seconds{{{DRIVER}}})"
INTERVAL = f"max(livenessprobe_probe_interval_seconds{{{DRIVER}}})"
AGE = f"max(livenessprobe_result_age_seconds{{{DRIVER}}})"

# The colours of lines that mean the same in several panels.
LIMIT = {"limit": BAD}
QUANTILES = {"median": p.SKY, "90 %": p.BLUE, "99 %": p.ORANGE}


def quantiles(buckets: str) -> list[Query]:
    """Return the quantiles of a histogram's observations in each interval."""
    shares = {"median": 0.5, "90 %": 0.9, "99 %": 0.99}
    return [
        Query(name, f"histogram_quantile({share}, sum by (le) (rate({buckets}{WINDOW})))")
        for name, share in shares.items()
    ]


def mean(summary: str, selector: str) -> str:
    """Return the mean of a summary's observations in each interval."""
    total, number = (
        f"sum(rate({summary}_{end}{{{selector}}}{WINDOW}))" for end in ("sum", "count")
    )
    return f"{total} / {number}"


def since(metric: str) -> str:
    """Return the seconds that have passed since the time that a metric tells."""
    return f"time() - max({metric})"


NOW = row(
    "Now",
    [
        p.stat(
            "State",
            "How the last Probe ended. Unknown: none has ended yet, or too long ago to rely on.",
            f"max({p.state_number(DRIVER)})",
            p.STATE,
        ),
        p.stat(
            "For",
            "Time since the driver last turned healthy or not healthy. Nothing while the state is"
            " unknown.",
            since(
                p.unless_unknown(f"livenessprobe_last_change_timestamp_seconds{{{DRIVER}}}", DRIVER)
            ),
            p.DURATION,
        ),
        p.stat(
            "Failures in a row",
            "Probes since the last one that found the driver healthy.",
            f"max(livenessprobe_consecutive_failures{{{DRIVER}}})",
            Look(decimals=0, steps=(GOOD, (1, WARNING), (3, BAD))),
        ),
        p.stat(
            "Last success",
            "Time since a Probe last found the driver healthy.",
            since(f"livenessprobe_last_success_timestamp_seconds{{{DRIVER}}}"),
            p.DURATION,
        ),
        p.stat(
            "Last latency",
            "What the last Probe took, as a share of --probe-timeout. At 100 % it is given up.",
            f"{LATENCY} / {TIMEOUT}",
            Look(unit=units.PercentUnit, decimals=0, steps=(GOOD, (0.5, WARNING), (1, BAD))),
        ),
        p.stat(
            "Changes of health",
            "Times that the driver turned healthy or not healthy in the time shown.",
            f"sum(increase(livenessprobe_transitions_total{{{DRIVER}}}[$__range]))",
            Look(decimals=0, steps=(GOOD, (2, WARNING), (6, BAD))),
        ),
        p.stat(
            "Age",
            "Time since the last Probe ended. What kubelet is told rests on its result.",
            AGE,
            p.SECONDS,
        ),
        p.word(
            "Driver",
            "The name that the driver gives itself; unknown-driver until it has told it.",
            Query("{{driver_name}}", f"livenessprobe_up{{{DRIVER}}}"),
        ),
    ],
)

PROBING = row(
    "The driver",
    [
        p.timeline(
            "State over time",
            "How the last Probe had ended at each time; a gap is a sidecar that was not there.",
            Query("state", f"max({p.state_number(DRIVER)})"),
            p.STATE,
        ).height(5)
    ],
    [
        p.lines(
            "Last Probe against its timeout",
            "What the last Probe took. Where it touches the limit, --probe-timeout, the driver"
            " hangs, or the timeout is too short for it.",
            [Query("last Probe", LATENCY), Query("limit", TIMEOUT)],
            p.SECONDS,
            {"last Probe": p.BLUE} | LIMIT,
        ),
        p.areas(
            "Failing Probes by reason",
            "In the interval before each point. Not ready and failed: the driver answered so. Timed"
            " out: no answer within --probe-timeout. Unreachable: nobody listens on its socket.",
            [
                Query(
                    "{{reason}}",
                    f"sum by (reason) (increase(livenessprobe_failures_total{{{DRIVER}}}{WINDOW}))",
                )
            ],
            p.COUNT,
            p.STATE_COLOURS,
        ),
    ],
    [
        p.lines(
            "Latency of all Probes",
            "Half, nine in ten and 99 in 100 of the Probes took at most this long. Between the"
            " histogram's bounds it is an estimate.",
            quantiles(f"csi_sidecar_operations_seconds_bucket{{{CALLS}, {PROBES}}}"),
            p.SECONDS,
            QUANTILES,
        ),
        p.heatmap(
            "Probes by latency",
            "How many Probes took how long. Two bands are two kinds of answers, such as a"
            " cached one and one that asks the storage.",
            "sum by (le) (increase("
            f"csi_sidecar_operations_seconds_bucket{{{CALLS}, {PROBES}}}{WINDOW}))",
            p.SECONDS,
        ),
    ],
    [
        p.areas(
            "Calls by gRPC status",
            "Calls to the driver. unknown-non-grpc: it could not be reached.",
            [
                Query(
                    "{{method_name}} {{grpc_status_code}}",
                    "sum by (method_name, grpc_status_code)"
                    f" (rate(csi_sidecar_operations_seconds_count{{{CALLS}}}{WINDOW}))",
                )
            ],
            p.RATE,
        ),
        p.areas(
            "Changes of health over time",
            "In the interval before each point. A driver that stays unhealthy for long enough is"
            " restarted by kubelet.",
            [
                Query(
                    "{{to}}",
                    f"sum by (to) (increase(livenessprobe_transitions_total{{{DRIVER}}}{WINDOW}))",
                )
            ],
            p.COUNT,
            {"healthy": GOOD, "unhealthy": BAD},
        ),
    ],
    [
        p.lines(
            "Failures in a row over time",
            "Probes since the last healthy one. kubelet counts for itself, by its own requests.",
            [Query("failures", f"max(livenessprobe_consecutive_failures{{{DRIVER}}})")],
            p.COUNT,
            {"failures": BAD},
        ),
        p.lines(
            "Age of the result",
            "How long ago the last Probe ended. It grows until the next one ends; far above"
            " interval and timeout together, the sidecar is stuck or starved.",
            [Query("age", AGE), Query("limit", f"{INTERVAL} + {TIMEOUT}")],
            p.SECONDS,
            {"age": p.BLUE} | LIMIT,
        ),
    ],
)

ASKING = row(
    "Schedule and callers",
    [
        p.stat(
            "Callers",
            "Callers whose period is learned, such as kubelet's probes. None: nobody asks"
            " regularly. A fixed schedule learns them too, and does not follow them.",
            f"max(livenessprobe_callers{{{DRIVER}}})",
        ),
        p.stat(
            "Missed deadlines",
            "Times in the time shown that a result was due and not there, because the sidecar was"
            " halted or starved of CPU.",
            f"sum(increase(livenessprobe_missed_deadlines_total{{{DRIVER}}}[$__range]))",
            Look(decimals=0, steps=(GOOD, (1, WARNING))),
        ),
    ],
    [
        p.lines(
            "When the driver is asked",
            "From one Probe to the next, and the shortest period that a caller asks with, which"
            " an auto schedule follows. Nothing before the first result.",
            [
                Query("Probes", INTERVAL),
                Query("callers", f"max(livenessprobe_caller_period_seconds{{{DRIVER}}})"),
            ],
            p.SECONDS,
            {"Probes": p.BLUE, "callers": p.ORANGE},
        ),
        p.areas(
            "HTTP answers by endpoint and code",
            "What callers asked and were told. /healthz 500: kubelet was told that the driver is"
            " not healthy.",
            [
                Query(
                    "{{endpoint}} {{code}}",
                    "sum by (endpoint, code)"
                    f" (rate(livenessprobe_http_responses_total{{{SIDECAR}}}{WINDOW}))",
                )
            ],
            Look(unit=units.RequestsPerSecond),
        ),
        p.lines(
            "Time to answer",
            "From a request to its answer, on average. Answers come from memory: more than some"
            " milliseconds is a lack of CPU.",
            [Query("mean", mean("livenessprobe_http_response_seconds", SIDECAR))],
            p.SECONDS,
            {"mean": p.BLUE},
        ),
    ],
)

COST = row(
    "The sidecar",
    [
        p.word(
            "Version",
            "Of the sidecar, and the Python it runs on.",
            Query(
                "{{version}}, Python {{python_version}}",
                f"livenessprobe_build_info{{{SIDECAR}}}",
            ),
        ),
        p.stat(
            "Running for",
            "Time since the sidecar started.",
            since(f"process_start_time_seconds{{{SIDECAR}}}"),
            p.DURATION,
        ),
        p.stat(
            "Restarts",
            "Times that the sidecar started anew in the time shown, under the same address.",
            f"sum(changes(process_start_time_seconds{{{SIDECAR}}}[$__range]))",
            Look(decimals=0, steps=(GOOD, (1, WARNING), (3, BAD))),
        ),
    ],
    [
        p.lines(
            "CPU",
            "Share of one core.",
            [Query("CPU", f"sum(rate(process_cpu_seconds_total{{{SIDECAR}}}{WINDOW}))")],
            p.SHARE,
            {"CPU": p.BLUE},
        ),
        p.lines(
            "Memory",
            "Resident memory: what counts against the container's limit.",
            [Query("resident", f"max(process_resident_memory_bytes{{{SIDECAR}}})")],
            p.BYTES,
            {"resident": p.BLUE},
        ),
        p.lines(
            "Descriptors",
            "Open files and connections. Steady growth is a leak.",
            [Query("open", f"max(process_open_fds{{{SIDECAR}}})")],
            p.COUNT,
            {"open": p.BLUE},
        ),
    ],
    [
        p.lines(
            "Threads",
            "A Probe runs in a thread of its own; one that grows steadily is a leak.",
            [Query("threads", f"max(process_threads{{{SIDECAR}}})")],
            p.COUNT,
            {"threads": p.BLUE},
        ),
        p.lines(
            "Event-loop lag",
            "How late the last Probe began. More than some milliseconds is a lack of CPU.",
            [Query("lag", f"max(livenessprobe_event_loop_lag_seconds{{{SIDECAR}}})")],
            p.SECONDS,
            {"lag": p.BLUE},
        ),
    ],
)


def dashboard() -> models.Dashboard:
    """Return the dashboard of one driver."""
    return Board(
        uid=DRIVER_UID,
        title="CSI liveness: one driver",
        description="What one livenessprobe sidecar sees of its CSI driver, and what it costs.",
        since="now-3h",
        refresh="30s",
        variables=[
            JOB,
            choice("driver_name", "Driver", "label_values(livenessprobe_up, driver_name)"),
            # A scrape configuration without this label is one where every node is chosen.
            choice("node", "Node", "label_values(livenessprobe_up, node)", all_value=".*"),
            one("instance", "Instance", f"label_values(livenessprobe_up{{{OF_DRIVER}}}, instance)"),
        ],
        link=("All drivers", FLEET_UID),
        rows=[NOW, PROBING, ASKING, COST],
    ).build()
