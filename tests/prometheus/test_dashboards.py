"""Every query of the dashboards in deploy/grafana/, asked of a real Prometheus.

It scrapes two sidecars with the rules loaded, and drops the samples that the monitors in
deploy/prometheus/ drop. The driver of one turns healthy, failing, healthy, hung, healthy, gone, and
slow in the end, while a caller asks once a second; the other's hangs all the time, and a third
sidecar is not there, so that nothing that tells of trouble has none to tell of. Then
each query is put as Grafana would put it, for the time of this story and with the variables in
place of their names. There is no Grafana here: how a panel looks is not tested, only
that it has something to show.
"""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from pathlib import Path
from signal import SIGKILL
from typing import Any, NamedTuple

import pytest
import yaml

from tests.csi_driver import DRIVER_NAME
from tests.e2e.harness import Address, DriverProcess, Sidecar, free_port
from tests.prometheus import monitors
from tests.prometheus.harness import JOB, ROOT, RULES, Prometheus, compress, promtool

BOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "deploy" / "grafana").glob("*.json"))
}

Json = Mapping[str, Any]

BUSY, SICK, SILENT = "node-busy", "node-sick", "node-silent"
"""Nodes: the driver goes through its states, hangs, has a sidecar that does not answer."""

# Seconds. A Probe that is slow, but keeps its timeout on a busy machine, too.
PROBE_TIMEOUT = 3
SLOW = 2

# Seconds. The step is short enough for a state that one scrape has seen; $__rate_interval is of
# four scrapes at least.
SCRAPE_INTERVAL = 0.5
STEP = 0.2
RATE_INTERVAL = "4s"

# Of the rules, so that an alert fires soon: one minute in them is a second here.
FASTER = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of one panel."""

    board: str
    panel: str
    expr: str
    instant: bool
    legend: str


def panels(board: Json) -> list[Json]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Query(
                    board=name,
                    panel=panel["title"],
                    expr=target["expr"],
                    instant=target["instant"],
                    legend=target.get("legendFormat", ""),
                )


QUERIES = list(queries())


def first_query(board: str, panel: str) -> Query:
    """The panel's only query, or the one that orders its rows."""
    return next(query for query in QUERIES if (query.board, query.panel) == (board, panel))


@contextmanager
def a_caller(sidecar: Sidecar) -> Iterator[None]:
    """Ask for /healthz once a second, as kubelet would, until the block ends."""
    enough = threading.Event()

    def work() -> None:
        while not enough.wait(1.0):
            sidecar.ask("/healthz")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@contextmanager
def a_sick_driver(folder: Path) -> Iterator[None]:
    """Run one with a name of its own that hangs in every Probe."""
    with DriverProcess(folder / "csi.sock") as driver:
        driver.tell("info name sick.csi.example.com")
        driver.tell("hang")
        yield


@contextmanager
def a_sidecar(folder: Path, *flags: str) -> Iterator[Sidecar]:
    """Start one on the folder's socket, which a driver may listen on."""
    address = f"--csi-address={folder / 'csi.sock'}"
    command = (address, "--http-endpoint=127.0.0.1:0", *flags)
    with Sidecar(*command, log=folder / "sidecar.log") as sidecar:
        sidecar.wait_for_listeners(1)
        yield sidecar


def live(prometheus: Prometheus, folder: Path) -> None:
    """Let the busy node's driver go through its states, each one seen by Prometheus."""

    def wait_for(state: str) -> None:
        here = f'node="{BUSY}", driver_name="{DRIVER_NAME}", state="{state}"'
        prometheus.wait_for(f"livenessprobe_state{{{here}}} == 1")

    socket = folder / "csi.sock"
    with DriverProcess(socket) as driver:
        wait_for("ready")
        for command, state in {"error 9 no backend": "failed", "hang": "timed_out"}.items():
            driver.tell(command)
            wait_for(state)
            driver.tell("ready")
            wait_for("ready")
        driver.signal(SIGKILL)
        socket.unlink()
        wait_for("unreachable")
    with DriverProcess(socket) as driver:
        driver.tell(f"delay {SLOW}")
        wait_for("ready")
        prometheus.wait_for(f'livenessprobe_caller_period_seconds{{node="{BUSY}"}}')
        prometheus.wait_for('ALERTS{alertstate="firing"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The server after it has seen it all, and the times of beginning and end."""

    prometheus: Prometheus
    start: float
    end: float
    kept: frozenset[str]
    """Names of the sidecar's samples that were not dropped."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    busy, sick, server = map(tmp_path_factory.mktemp, ("busy", "sick", "prometheus"))
    rules = server / "rules.yaml"
    rules.write_text(compress(RULES.read_text(), FASTER))
    with (
        Prometheus(
            server,
            rules=[rules],
            metric_relabelings=monitors.metric_relabelings("podmonitor.yaml"),
            interval=SCRAPE_INTERVAL,
        ) as prometheus,
        a_sick_driver(sick),
        a_sidecar(sick, "--probe-interval=100ms", "--probe-timeout=500ms") as sick_sidecar,
        a_sidecar(busy, f"--probe-timeout={PROBE_TIMEOUT}s") as sidecar,
        a_caller(sidecar),
    ):
        start = time.time()
        prometheus.scrape(
            target(sidecar.address, BUSY)
            | target(sick_sidecar.address, SICK)
            | target(Address("127.0.0.1", free_port()), SILENT)
        )
        prometheus.wait_for("count(livenessprobe_up) == 2 and count(up) == 3")
        live(prometheus, busy)
        yield Story(
            prometheus=prometheus,
            start=start,
            end=time.time(),
            kept=served(sidecar).intersection(
                sample.labels["__name__"] for sample in prometheus.query(f'{{job="{JOB}"}}')
            ),
        )


def served(sidecar: Sidecar) -> frozenset[str]:
    """Return the names of all that a sidecar has samples of."""
    return frozenset(sample.name for family in sidecar.metrics() for sample in family.samples)


def target(address: Address, node: str) -> dict[str, dict[str, str]]:
    """Label a sidecar's metrics as relabelling in a cluster does."""
    labels = {"node": node, "namespace": "storage", "pod": f"csi-{node}"}
    return {f"{address.host}:{address.port}": labels}


# What a person has chosen; the other variables are left at "All".
CHOSEN = {"node": BUSY}


@pytest.fixture(scope="module")
def variables(story: Story) -> dict[str, dict[str, str]]:
    """What Grafana puts in place of the variables' names, by dashboard."""
    return {name: chosen(story, board) for name, board in BOARDS.items()}


def chosen(story: Story, board: Json) -> dict[str, str]:
    result = {
        "__rate_interval": RATE_INTERVAL,
        "__range": f"{story.end - story.start:.0f}s",
    }
    for variable in choices(board):
        name = variable["name"]
        values = values_of(story, variable, result)
        if name in CHOSEN:
            assert CHOSEN[name] in values
            result[name] = CHOSEN[name]
        elif not variable["includeAll"]:
            (result[name],) = values
        else:
            result[name] = variable.get("allValue") or one_of(values)
    return result


def choices(board: Json) -> list[Json]:
    """The variables but the one for the data source, which is this test's server."""
    return [one for one in board["templating"]["list"] if one["type"] != "datasource"]


def values_of(story: Story, variable: Json, known: Mapping[str, str]) -> list[str]:
    """Ask for a variable's values in the time of the story, as Grafana does."""
    query = substitute(variable["query"], known)
    if found := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
        selector, label = found.groups()
        span = {"match[]": selector, "start": story.start, "end": story.end}
        values: list[str] = story.prometheus.get(f"label/{label}/values", span)
        return values
    found = re.fullmatch(r"query_result\((.*)\)", query)
    assert found, query
    lines = [
        "{" + ",".join(f'{name}="{value}"' for name, value in sample.labels.items()) + "}"
        for sample in story.prometheus.query(found[1], story.end)
    ]
    return [match[1] for line in lines if (match := re.search(variable["regex"].strip("/"), line))]


def one_of(values: Sequence[str]) -> str:
    """Return a pattern for these values, escaped for a PromQL string."""
    return "(" + "|".join(re.escape(value).replace("\\", r"\\") for value in values) + ")"


def substitute(expr: str, values: Mapping[str, str]) -> str:
    """Put in the variables; one that is not known is an error."""
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], expr)


def test_every_variable_finds_something_to_choose_from(
    story: Story, variables: Mapping[str, Mapping[str, str]]
) -> None:
    empty = [
        (name, variable["name"])
        for name, board in BOARDS.items()
        for variable in choices(board)
        if not values_of(story, variable, variables[name])
    ]
    assert not empty


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.board}: {query.panel}")
def test_every_query_has_an_answer(
    story: Story, variables: Mapping[str, Mapping[str, str]], query: Query
) -> None:
    answer = ask(story, variables, query, query.expr.removesuffix(" or vector(0)"))
    assert any(isfinite(value) for series in answer for value in series.values)
    labels = set[str]().union(*(series.labels for series in answer))
    assert set(re.findall(r"{{(\w+)}}", query.legend)) <= labels


class Answer(NamedTuple):
    """One series of an answer."""

    labels: Mapping[str, str]
    values: Sequence[float]


def ask(
    story: Story, variables: Mapping[str, Mapping[str, str]], query: Query, expr: str
) -> list[Answer]:
    """Put a query as its panel does: for the end of the story, or for all of it."""
    expr = substitute(expr, variables[query.board])
    if query.instant:
        samples = story.prometheus.query(expr, story.end)
        return [Answer(sample.labels, [sample.value]) for sample in samples]
    series = story.prometheus.query_range(expr, story.start, story.end, STEP)
    return [Answer(one.labels, [value for _, value in one.values]) for one in series]


@pytest.mark.parametrize(
    ("panel", "number"),
    {
        "Healthy": 1,
        "Not healthy": 1,
        "Health": 0.5,
        "Flapping": 1,
        "Slow": 1,
        "Stale": 0,
        "Sidecars silent": 1,
    }.items(),
)
def test_the_fleet_is_counted(
    story: Story, variables: Mapping[str, Mapping[str, str]], panel: str, number: float
) -> None:
    query = first_query("fleet", panel)
    (answer,) = ask(story, variables, query, query.expr)
    assert answer.values == [number]


@pytest.mark.parametrize(
    ("panel", "node"), {"Not healthy now": SICK, "Slowest": SICK, "Flapping most": BUSY}.items()
)
def test_the_worst_is_known_by_its_node(
    story: Story, variables: Mapping[str, Mapping[str, str]], panel: str, node: str
) -> None:
    query = first_query("fleet", panel)
    worst = max(ask(story, variables, query, query.expr), key=lambda answer: answer.values[0])
    assert worst.labels["node"] == node


def test_the_timeline_names_every_state_that_there_was(
    story: Story, variables: Mapping[str, Mapping[str, str]]
) -> None:
    (panel,) = (one for one in panels(BOARDS["driver"]) if one["title"] == "State over time")
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    query = first_query("driver", "State over time")
    (answer,) = ask(story, variables, query, query.expr)
    names = {mapping["options"][f"{value:.0f}"]["text"] for value in answer.values}
    assert names >= {"ready", "failed", "timed out", "unreachable"}


@pytest.mark.parametrize(
    ("board", "panel", "labels"),
    [("driver", "For", ""), ("fleet", "Not healthy now", 'driver_name="d", instance="a", job="j"')],
)
@pytest.mark.parametrize("unknown", [False, True], ids=["state is known", "state is unknown"])
def test_a_state_has_a_time_if_it_is_known(
    board: str, panel: str, labels: str, *, unknown: bool, tmp_path: Path
) -> None:
    (expr,) = (
        one.expr
        for one in QUERIES
        if (one.board, one.panel) == (board, panel) and "last_change" in one.expr
    )
    where = 'driver_name="d", instance="a", job="j"'
    series = {
        f"livenessprobe_up{{{where}}}": 0,
        f"livenessprobe_consecutive_failures{{{where}}}": 3,
        f"livenessprobe_last_change_timestamp_seconds{{{where}}}": 60,
        f'livenessprobe_state{{{where}, state="unknown"}}': int(unknown),
        f'livenessprobe_state{{{where}, state="failed"}}': int(not unknown),
    }
    question = {
        "expr": substitute(expr, {"driver_name": "d", "node": ".*", "instance": "a"}),
        "eval_time": "5m",
        "exp_samples": [] if unknown else [{"labels": f"{{{labels}}}", "value": 240}],
    }
    test = {
        "interval": "30s",
        "input_series": [{"series": s, "values": f"{v}x20"} for s, v in series.items()],
        "promql_expr_test": [question],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"tests": [test]}))
    promtool("test", "rules", path)


def test_what_the_monitors_keep_is_in_a_panel_or_a_rule(story: Story) -> None:
    asked = {name for query in QUERIES for name in re.findall(r"\w+", query.expr)}
    asked |= set(re.findall(r"\w+", RULES.read_text()))
    assert "livenessprobe_up" in story.kept
    assert story.kept <= asked


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_panel_tells_what_it_shows_and_reads_the_chosen_data_source(board: Json) -> None:
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith(".")
        references = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {reference["uid"] for reference in references} == {"${datasource}"}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_no_two_panels_have_one_title(board: Json) -> None:
    titles = [panel["title"] for panel in board["panels"]]
    assert sorted(titles) == sorted(set(titles))


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_no_panel_lies_on_another(board: Json) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_every_link_leads_to_a_dashboard_that_is_there_and_sets_a_variable_of_it() -> None:
    by_uid = {board["uid"]: board for board in BOARDS.values()}
    links = set(re.findall(r"/d/([\w-]+)\?([^\"]*)", json.dumps(list(BOARDS.values()))))
    assert {uid for uid, _ in links} == set(by_uid)
    for uid, parameters in links:
        known = {variable["name"] for variable in by_uid[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", parameters)) <= known
