import re

import pytest

from livenessprobe.flags.table import CHECK_FLAGS, EXPLAIN_FLAGS, FLAGS, Flag
from livenessprobe.flags.usage import check_usage, explain_usage, usage

LINES = usage().splitlines()
HEADS = re.findall(r"(?m)^  (--.*)$", usage())

of_each_command = pytest.mark.parametrize(
    ("text", "command", "table"),
    [
        pytest.param(usage(), "livenessprobe", FLAGS, id="sidecar"),
        pytest.param(check_usage(), "livenessprobe check", CHECK_FLAGS, id="check"),
        pytest.param(explain_usage(), "livenessprobe explain", EXPLAIN_FLAGS, id="explain"),
    ],
)


@of_each_command
def test_the_usage_fits_a_terminal_and_names_its_command(
    text: str, command: str, table: dict[str, Flag]
) -> None:
    lines = text.splitlines()
    assert lines[0] == f"Usage of {command}:"
    assert lines[1].startswith(f"  {command} [flags]")
    assert max(map(len, lines)) <= 80
    assert text.endswith(".\n")


@of_each_command
def test_every_group_has_one_section_in_order(
    text: str, command: str, table: dict[str, Flag]
) -> None:
    groups = dict.fromkeys(flag.group for flag in table.values())
    assert re.findall(r"(?m)^(\S.*):$", text)[1:] == list(groups)


@of_each_command
def test_every_flag_heads_one_entry(text: str, command: str, table: dict[str, Flag]) -> None:
    heads = re.findall(r"(?m)^  (--.*)$", text)
    assert re.findall(r"--([\w-]+)", "\n".join(heads)) == list(table)


@pytest.mark.parametrize("command", ["check", "explain"])
def test_the_usage_of_the_sidecar_mentions_the_other_commands(command: str) -> None:
    (line,) = (line for line in LINES if line.startswith(f"  livenessprobe {command} [flags]"))
    assert line.endswith(f": livenessprobe {command} --help")


def test_an_entry_has_the_placeholder_and_the_default() -> None:
    for head in [
        "--probe-timeout duration (default 3s)",
        "--http-endpoint address (default none)",
        "--log-text-split-stream, --log-json-split-stream (default false)",
        "--automaxprocs",
    ]:
        assert head in HEADS


def test_an_entry_has_the_help_of_its_flags() -> None:
    start = LINES.index("  --v level (default 0)")
    assert LINES[start + 1 : start + 3] == [
        "      How much is logged: at 0 changes of the driver's health, at 5 every",
        "      Probe() too.",
    ]
