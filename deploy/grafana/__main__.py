"""`python -m deploy.grafana DIRECTORY` writes each dashboard there, ready to be imported."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import driver, fleet

DASHBOARDS = {"fleet.json": fleet.dashboard, "driver.json": driver.dashboard}


def main(directory: Path) -> None:
    """Write every dashboard into `directory`, which exists."""
    for name, dashboard in DASHBOARDS.items():
        text = json.dumps(dashboard(), cls=JSONEncoder, indent=2)
        (directory / name).write_text(f"{text}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
