"""`python -m tests.benchmarks`, as short as it can be: with ourselves as the peer, and compared."""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.programs import OURS
from tests.benchmarks.readings import Results

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> list[str]:
    return subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", "tests.benchmarks", *arguments],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.splitlines()


def test_a_run_has_a_table_a_file_and_a_picture(tmp_path: Path) -> None:
    file, svg = tmp_path / "results.json", tmp_path / "ratios.svg"
    lines = run(
        *(f"--peer=twin={OURS.command[0]}", "--only=at once: keep-alive, one"),
        "--only=gRPC",
        *("--seconds=0.1", "--rounds=2", "--json", file, "--svg", svg),
    )
    results = Results.load(file)
    assert results.programs == ["here", "twin", "floor"]
    assert len(results.readings) == 3 * 2 + 2 * 2
    assert not any(reading.checks.get("wrong answers") for reading in results.readings)
    assert "|  | here | twin | floor | here : twin |" in lines
    assert any(line.startswith("| at once: keep-alive, one | ") for line in lines)
    assert any(line.startswith("| Check on a new connection, ") for line in lines)
    assert str(OURS.command[0]) not in file.read_text()
    assert svg.read_text().startswith("<svg")

    compared = run("compare", file, file)
    assert compared[0] == "|  | program | before | after | after : before |"
    assert len([line for line in compared if line.startswith("| at once")]) == 3
