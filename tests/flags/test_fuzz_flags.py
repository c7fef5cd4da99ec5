"""Checks that any arguments give a config or a documented error, and each form of a flag."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from livenessprobe.flags import CheckConfig, HelpRequested, UsageError, parse_check
from livenessprobe.flags.csi_address import socket_path
from livenessprobe.flags.go import scan
from livenessprobe.flags.table import CHECK_FLAGS, FLAGS

# The text of any argument: UTF-8, other bytes, and NUL, which a real argument cannot have.
UTF_8 = st.characters(codec="utf-8")
ANYTHING = st.text(UTF_8 | st.just("\udcff"))

# Addresses


@given(ANYTHING | st.text("unix:/@.\\\0C", max_size=12) | ANYTHING.map("unix://{}".format))
@example("unix:unix:")
@example("/x" * 54)
@example("unix:/\udcff")
@example("unix:")
def test_any_address_gives_a_path_or_an_error(address: str) -> None:
    try:
        path = socket_path(address)
    except ValueError as refusal:
        said = str(refusal)
        assert re.fullmatch(r"(names|is|has|holds) .+", said)
    else:
        assert address.endswith(path)
        assert 0 < len(path.encode(errors="surrogateescape")) <= 107
        assert "\0" not in path
        assert not path.startswith("@")


PATHS = st.text(UTF_8.filter("\0".__ne__), min_size=1, max_size=20)


@given(PATHS.map("/csi/{}".format))
def test_every_form_of_an_absolute_path_gives_the_path(path: str) -> None:
    forms = path, f"unix:{path}", f"unix://{path}", f"UNIX://{path}"
    assert {socket_path(form) for form in forms} == {path}


# `check`

VALUES = ANYTHING | st.sampled_from(
    ["0", "3s", "99ms", "1h1m", "-1s", "json", "text", "/p", "unix:///p", "@p", "C:\\p", "a=b"]
)
NAMES = st.sampled_from([*CHECK_FLAGS, "h", "help", "v"]) | ANYTHING
DASHES = st.sampled_from(["", "-", "--", "---"])
ARGUMENTS = (
    VALUES | st.builds("{}{}".format, DASHES, NAMES) | st.builds("--{}={}".format, NAMES, VALUES)
)


@given(st.lists(ARGUMENTS, max_size=6))
def test_any_arguments_of_check_give_a_config_or_one_of_two_errors(argv: list[str]) -> None:
    try:
        config = parse_check(argv)
    except UsageError:
        pass
    except HelpRequested:
        assert {"-h", "--h", "-help", "--help"} & {text.split("=")[0] for text in argv}
    else:
        assert isinstance(config, CheckConfig)
        assert config.socket_path
        assert config.probe_timeout >= 0.1
        assert config.output in {"text", "json"}


# Go's syntax

VALID = {
    "csi-address": ANYTHING,
    "probe-timeout": st.sampled_from(["3s", "1m0.5s", "-1h", "0"]),
    "http-endpoint": ANYTHING,
    "v": st.integers(0, 2**31 - 1).map(str),
}


@given(
    st.lists(
        st.sampled_from([*VALID]).flatmap(
            lambda name: st.tuples(st.just(name), VALID[name], st.integers(0, 3))
        )
    )
)
def test_every_form_of_a_flag_sets_its_value_and_the_last_one_counts(
    flags: list[tuple[str, str, int]],
) -> None:
    argv: list[str] = []
    for name, value, form in flags:
        forms = (
            [f"-{name}={value}"],
            [f"--{name}={value}"],
            [f"-{name}", value],
            [f"--{name}", value],
        )
        argv += forms[form]
    texts, rest = scan(argv, {name: flag.kind for name, flag in FLAGS.items()})
    assert texts == {name: value for name, value, _ in flags}
    assert list(rest) == []
