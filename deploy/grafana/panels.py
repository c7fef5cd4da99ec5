"""The kinds of panels that both dashboards are made of.

Each function here returns one panel, complete but for its place and its width. A table and a single
number or word ask Prometheus for one moment only; lines, areas, timelines and heat maps ask for all
the time that the dashboard shows.

Colours are those of Okabe and Ito, made to be told apart with any common kind of colour vision, and
none of them tells anything that no word says. Series whose names are not known beforehand get
Grafana's own colours.
"""

from __future__ import annotations

import string
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import statetimeline as timelines
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    TableSortByFieldState,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common, dashboard, units
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SKY = "#56B4E9"
BLUE = "#0072B2"
YELLOW = "#F0E442"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#999999"
NO_COLOUR = "transparent"

GOOD, WARNING, BAD = SKY, ORANGE, VERMILLION

NO_COLOURS: Mapping[str, str] = MappingProxyType({})

LABELS = ("driver_name", "node", "namespace", "pod", "instance", "job")
"""What tells a person where a driver is; a scrape configuration may lack some of them."""

DRIVER_UID = "csi-liveness-driver"

LINK_TO_DRIVER = {
    "title": "All about this driver",
    "url": f"/d/{DRIVER_UID}?${{datasource:queryparam}}"
    "&var-instance=${__data.fields.instance:percentencode}&${__url_time_range}",
}

DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = heatmaps.Panel | stats.Panel | tables.Panel | timelines.Panel | timeseries.Panel

P = TypeVar("P", heatmaps.Panel, stats.Panel, tables.Panel, timelines.Panel, timeseries.Panel)

Steps = tuple[str, *tuple[tuple[float, str], ...]]
"""A colour, then pairs of a value and the colour from there on."""


class State(NamedTuple):
    """A value of the label `state`; its place in `STATES` is its number in a timeline."""

    text: str
    colour: str


# By gravity, so that the greatest number of several is the worst state of them.
STATES = {
    "ready": State("ready", SKY),
    "unknown": State("unknown", GREY),
    "not_ready": State("not ready", YELLOW),
    "failed": State("failed", ORANGE),
    "timed_out": State("timed out", VERMILLION),
    "unreachable": State("unreachable", PURPLE),
}


def state_number(selector: str) -> str:
    """Return the query for the number of the state that each driver is in."""
    states = (
        f'{number} * livenessprobe_state{{{selector}, state="{label}"}}'
        for number, label in enumerate(STATES)
    )
    return f"sum without (state) ({' or '.join(states)})"


def unless_unknown(metric: str, selector: str) -> str:
    """Return the query for a metric of those drivers whose state is known."""
    return (
        f'{metric} unless ignoring (state) livenessprobe_state{{{selector}, state="unknown"}} == 1'
    )


STATE_NAMES: Sequence[dashboard.ValueMapping] = [
    dashboard.ValueMap(
        options={
            str(number): dashboard.ValueMappingResult(
                text=state.text, color=state.colour, index=number
            )
            for number, state in enumerate(STATES.values())
        }
    )
]

STATE_COLOURS = {label: state.colour for label, state in STATES.items()}


class Query(NamedTuple):
    """A PromQL query and the name of its series, `{{label}}` standing for a label's value."""

    legend: str
    expr: str


class Look(NamedTuple):
    """How values are shown: `names` maps a number to a word, `steps` gives it a colour."""

    unit: str = units.Short
    decimals: int | None = None
    steps: Steps = (NO_COLOUR,)
    names: Sequence[dashboard.ValueMapping] = ()


COUNT = Look(decimals=0)
RATE = Look(unit=units.CountsPerSecond)
SECONDS = Look(unit=units.Seconds)
DURATION = Look(unit=units.DurationSeconds)
BYTES = Look(unit=units.BytesIEC)
SHARE = Look(unit=units.PercentUnit)
STATE = Look(names=STATE_NAMES)


class Column(NamedTuple):
    """A column of a table: its heading, the query for its values, and how they look."""

    heading: str
    expr: str
    look: Look = COUNT


def stat(title: str, description: str, expr: str, look: Look = COUNT) -> stats.Panel:
    """Show one number, large, in its colour."""
    return _single(title, description, Query("", expr), look)


def word(title: str, description: str, query: Query) -> stats.Panel:
    """Show labels of one series, as the query's legend puts them."""
    return _single(title, description, query, COUNT).text_mode(common.BigValueTextMode.NAME)


def _single(title: str, description: str, query: Query, look: Look) -> stats.Panel:
    return (
        _panel(stats.Panel(), title, description, look)
        .height(4)
        .with_target(_target(0, query).instant())
        .color_scheme(_by_threshold())
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    )


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    look: Look,
    colours: Mapping[str, str] = NO_COLOURS,
) -> timeseries.Panel:
    """Draw series over time; `colours` are by a series' name, else in Grafana's order."""
    panel = _over_time(timeseries.Panel(), title, description, queries, look)
    for name, colour in colours.items():
        panel.override_by_name(name, [_fixed(colour)])
    return (
        panel.min(0)
        .line_width(2)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(
            VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )


def areas(
    title: str,
    description: str,
    queries: Sequence[Query],
    look: Look,
    colours: Mapping[str, str] = NO_COLOURS,
) -> timeseries.Panel:
    """Draw series over time on top of each other, so that their height is the sum."""
    return (
        lines(title, description, queries, look, colours)
        .line_width(1)
        .fill_opacity(60)
        .stacking(StackingConfig().mode(common.StackingMode.NORMAL))
    )


def timeline(title: str, description: str, query: Query, look: Look) -> timelines.Panel:
    """Draw one bar per series, coloured by its value at each time."""
    return (
        _over_time(timelines.Panel(), title, description, [query], look)
        .color_scheme(_by_threshold())
        .merge_values(merge_values=True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.85)
        .legend(_legend())
    )


def heatmap(title: str, description: str, expr: str, look: Look) -> heatmaps.Panel:
    """Draw a histogram over time; the query's series are its buckets, by `le`."""
    target = _target(0, Query("{{le}}", expr)).range().format(PromQueryFormat.HEATMAP)
    return (
        _panel(heatmaps.Panel(), title, description, look)
        .with_target(target)
        .y_axis(heatmaps.YAxisConfig().unit(look.unit))
        .color(
            heatmaps.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Cividis")  # made for every kind of colour vision
            .steps(64)
        )
        .show_legend()
    )


def table(
    title: str, description: str, columns: Sequence[Column], *, empty: str = "None"
) -> tables.Panel:
    """List the series of the columns' queries, those with the same labels in one row.

    The first column orders the rows. `empty` is told in place of a list without rows.
    """
    panel = _panel(tables.Panel(), title, description, Look())
    values = [_values(number, columns) for number in range(len(columns))]
    for number, (name, column) in enumerate(zip(values, columns, strict=True)):
        panel.with_target(_table_target(number, column.expr))
        panel.override_by_name(name, _cells(column.heading, column.look))
    panel.override_by_name("instance", [_property("links", [LINK_TO_DRIVER])])
    places = {name: place for place, name in enumerate((*values, *LABELS))}
    order = TableSortByFieldState().display_name(columns[0].heading).desc(desc=True)
    return (
        panel.with_transformation(_transformation("merge"))
        .with_transformation(
            _transformation("organize", excludeByName={"Time": True}, indexByName=places)
        )
        .sort_by([order])
        .no_value(empty)
        .show_header(show_header=True)
    )


def by_state(title: str, description: str, expr: str, *, row: str, column: str) -> tables.Panel:
    """Count by two labels, one down and, for the states or reasons, one across."""
    panel = _panel(tables.Panel(), title, description, Look())
    for name, state in STATES.items():
        look = Look(decimals=0, steps=(NO_COLOUR, (1, state.colour)))
        panel.override_by_name(name, _cells(state.text, look))
    across = _transformation(
        "groupingToMatrix", rowField=row, columnField=column, valueField="Value"
    )
    return (
        panel.with_target(_table_target(0, expr))
        .with_transformation(across)
        .show_header(show_header=True)
    )


def _panel(panel: P, title: str, description: str, look: Look) -> P:
    panel.title(title).description(description).datasource(DATASOURCE)
    panel.height(8)
    panel.unit(look.unit).mappings(list(look.names))
    panel.thresholds(_thresholds(look.steps))
    if look.decimals is not None:
        panel.decimals(look.decimals)
    return panel


def _over_time(panel: P, title: str, description: str, queries: Sequence[Query], look: Look) -> P:
    _panel(panel, title, description, look)
    for number, query in enumerate(queries):
        panel.with_target(_target(number, query).range())
    return panel


def _target(number: int, query: Query) -> Dataquery:
    target = Dataquery().expr(query.expr).ref_id(_ref_id(number)).datasource(DATASOURCE)
    return target.legend_format(query.legend) if query.legend else target


def _table_target(number: int, expr: str) -> Dataquery:
    return _target(number, Query("", expr)).instant().format(PromQueryFormat.TABLE)


def _ref_id(number: int) -> str:
    return string.ascii_uppercase[number]


def _values(number: int, columns: Sequence[Column]) -> str:
    """Return what Grafana calls the values of one of these columns."""
    return f"Value #{_ref_id(number)}" if len(columns) > 1 else "Value"


def _thresholds(steps: Steps) -> ThresholdsConfig:
    first, *others = steps
    absolute = ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE)
    return absolute.steps(
        [
            dashboard.Threshold(value=None, color=first),
            *(dashboard.Threshold(value=value, color=colour) for value, colour in others),
        ]
    )


def _by_threshold() -> FieldColor:
    return FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS)


def _legend() -> VizLegendOptions:
    return (
        VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )


def _fixed(colour: str) -> dashboard.DynamicConfigValue:
    return _property("color", {"mode": "fixed", "fixedColor": colour})


def _cells(heading: str, look: Look) -> list[dashboard.DynamicConfigValue]:
    properties = {
        "displayName": heading,
        "unit": look.unit,
        "decimals": look.decimals,
        "mappings": look.names or None,
        "thresholds": _thresholds(look.steps).build(),
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
    }
    return [_property(name, value) for name, value in properties.items() if value is not None]


def _property(name: str, value: object) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)


def _transformation(name: str, **options: object) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val=name, options=options)
