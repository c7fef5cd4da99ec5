import re

from livenessprobe.flags.table import FLAGS, Group
from livenessprobe.flags.usage import usage

LINES = usage().splitlines()
HEADS = re.findall(r"(?m)^  (--.*)$", usage())


def test_it_fits_a_terminal_and_says_whose_usage_it_is() -> None:
    assert LINES[0] == "Usage of livenessprobe:"
    assert max(map(len, LINES)) <= 80
    assert usage().endswith(".\n")


def test_every_group_has_its_chapter_once_and_in_order() -> None:
    assert [line for line in LINES[1:] if re.fullmatch(r"\S.*:", line)] == [
        f"{group}:" for group in Group
    ]


def test_every_flag_heads_one_entry() -> None:
    assert re.findall(r"--([\w-]+)", "\n".join(HEADS)) == list(FLAGS)


def test_a_flag_is_shown_with_its_value_and_its_default() -> None:
    for head in [
        "--probe-timeout duration (default 3s)",
        "--http-endpoint address (default none)",
        "--log-text-split-stream, --log-json-split-stream (default false)",
        "--automaxprocs",
    ]:
        assert head in HEADS


def test_an_entry_explains_its_flags() -> None:
    start = LINES.index("  --v level (default 0)")
    assert LINES[start + 1 : start + 3] == [
        "      How much is logged: 0 tells changes of the driver's health, 5 every",
        "      Probe() too.",
    ]
