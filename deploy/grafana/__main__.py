"""`python -m deploy.grafana DIRECTORY` writes each dashboard there, ready to be imported."""

import json
import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import driver, fleet

DASHBOARDS = {"fleet.json": fleet.dashboard, "driver.json": driver.dashboard}


def main(directory: Path) -> None:
    """Write every dashboard into `directory`, which exists."""
    for name, dashboard in DASHBOARDS.items():
        board = json.loads(json.dumps(dashboard(), cls=JSONEncoder))
        drop_what_is_gone(board)
        (directory / name).write_text(f"{json.dumps(board, indent=2)}\n")


def drop_what_is_gone(board: dict[str, Any]) -> None:
    """Leave out what newer releases of Grafana than the builders' do not know.

    All of it is what Grafana would take by default.
    """
    del board["style"]
    for variable in board["templating"]["list"]:
        for name in "id", "auto", "auto_min", "auto_count":
            del variable[name]
    for panel in board["panels"]:
        gone = {"heatmap": "tooltip", "table": "footer"}.get(panel["type"])
        if gone:
            del panel["options"][gone]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
