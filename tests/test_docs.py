"""Checks links, flags, paths and metric names in the documents against the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from livenessprobe.flags.config import OWN_PATHS
from livenessprobe.flags.table import CHECK_FLAGS, EXPLAIN_FLAGS, FLAGS
from livenessprobe.health.result import ProbeStatus
from livenessprobe.telemetry.metrics import GET_PLUGIN_INFO, PROBE, Metrics
from tests.world import World

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "deploy").rglob("*.md")]


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", document.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_has_a_target(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)|\bsrc(?:set)?=\"([^\"]+)\"", text)
    for link in (markdown or html for markdown, html in links):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_document_is_linked_from_the_readme() -> None:
    linked = re.findall(r"\(docs/([^)#]+)\)", (ROOT / "README.md").read_text())
    assert set(linked) == {path.name for path in DOCS.glob("*.md")}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_flags_and_their_defaults() -> None:
    rows = [
        row.split(" | ") for row in (DOCS / "flags.md").read_text().splitlines() if "`-" in row[:4]
    ]
    documented = {
        name: row[1].strip("`") if len(row) == 3 else None
        for row in rows
        for name in re.findall(r"`-+([\w-]+)`", row[0])
    }
    assert set(documented) == set(FLAGS)
    for name, default in documented.items():
        assert default in {None, FLAGS[name].default}
    for command, flags in (("check", CHECK_FLAGS), ("explain", EXPLAIN_FLAGS)):
        last = (DOCS / "flags.md").read_text().rpartition(f"`livenessprobe {command}` takes")[2]
        assert set(re.findall(r"`--([\w-]+)`", last.partition("\n\n")[0])) == set(flags)


def test_paths() -> None:
    text = (DOCS / "endpoints.md").read_text()
    own = {path for path in OWN_PATHS if not path.startswith("/grpc.")}
    assert set(re.findall(r"`(/[a-z.]*)`", text)) == own


def test_metrics() -> None:
    world = World(driver_name="fake.csi")
    metrics = Metrics(world)
    metrics.observe_call(PROBE, "OK", 0.002)
    metrics.observe_call(GET_PLUGIN_INFO, "OK", 0.002)
    metrics.observe_answer("/healthz", 200, 0.0004)
    world.observe(ProbeStatus.READY, 10.0)
    exported = set(re.findall(r"(?m)^# TYPE (\S+)", metrics.text().decode()))
    rows = (DOCS / "metrics.md").read_text().splitlines()
    documented = {
        name if name.startswith("csi_") else f"livenessprobe_{name}"
        for row in rows
        if row.startswith("| `")
        for name in re.findall(r"`([a-z_]+)(?:\{[\w,]+\})?`", row.split(" | ")[0])
    }
    of_known_callers = {"livenessprobe_caller_period_seconds"}
    of_the_process = {name for name in exported if name.startswith("process_")}
    assert (exported - of_the_process) | of_known_callers == documented
