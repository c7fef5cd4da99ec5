"""What the two dashboards share beside the kinds of their panels: variables, rows, links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.panels import DATASOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.grafana.panels import Panel

WIDTH = 24
"""Columns that Grafana divides a dashboard into."""

TAG = "csi-liveness"

FLEET_UID = "csi-liveness-fleet"

WINDOW = "[$__rate_interval]"
"""Of a rate that is drawn: at least four scrapes, and as long as there is between two points."""

PROBES = 'method_name="/csi.v1.Identity/Probe"'


class Row(NamedTuple):
    """A heading and, below it, lines of panels that share the width evenly."""

    title: str
    lines: Sequence[Sequence[Panel]]


def row(title: str, *lines: Sequence[Panel]) -> Row:
    """Return a row of these lines."""
    return Row(title, lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard; it shows the time from `since` on and reads the values anew each `refresh`."""

    uid: str
    title: str
    description: str
    since: str
    refresh: str
    variables: Sequence[builders.QueryVariable]
    link: tuple[str, str]
    rows: Sequence[Row]

    def build(self) -> dashboard.Dashboard:
        """Return it as Grafana's own model."""
        board = (
            builders.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .time(self.since, "now")
            .refresh(self.refresh)
            .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
            .with_variable(_DATASOURCE_VARIABLE)
            .link(_link(*self.link))
        )
        for variable in self.variables:
            board.with_variable(variable)
        for title, lines in self.rows:
            board.with_row(builders.Row(title))
            for line in lines:
                for panel in line:
                    board.with_panel(panel.span(WIDTH // len(line)))
        return board.build()


# A choice of its own, so that the dashboard can be imported into any Grafana as it is.
_DATASOURCE_VARIABLE = (
    builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
)


def choice(
    name: str, label: str, query: str, *, all_value: str | None = None
) -> builders.QueryVariable:
    """Let people narrow the dashboard down; at first everything is chosen.

    "All" stands for every value that the query finds, or for `all_value`, a pattern.
    """
    variable = one(name, label, query).multi(multi=True).include_all(include_all=True).current(_ALL)
    return variable if all_value is None else variable.all_value(all_value)


def one(name: str, label: str, query: str) -> builders.QueryVariable:
    """Let people choose one of the values that the query finds."""
    return (
        builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(DATASOURCE)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )


def unseen(variable: builders.QueryVariable) -> builders.QueryVariable:
    """Hide a variable that is no choice, but a list which is short before a panel asks for it."""
    return variable.hide(dashboard.VariableHide.HIDE_VARIABLE)


_ALL = dashboard.VariableOption(selected=True, text="All", value="$__all")


def _link(title: str, uid: str) -> builders.DashboardLink:
    return (
        builders.DashboardLink(title)
        .type(dashboard.DashboardLinkType.LINK)
        .url(f"/d/{uid}?${{datasource:queryparam}}")
        .icon("dashboard")
        .keep_time(keep_time=True)
    )


# The jobs in which sidecars are scraped, whatever their names: other programs have metrics such as
# process_open_fds, too.
JOB = unseen(choice("job", "Job", "label_values(livenessprobe_build_info, job)"))
