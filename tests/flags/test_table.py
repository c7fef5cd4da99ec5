from itertools import groupby

import pytest

from livenessprobe.flags.table import CHECK_FLAGS, FLAGS, Flag, Group

ALL = list({**FLAGS, **CHECK_FLAGS}.values())
IN_USE = [flag for flag in ALL if flag.group is not Group.IGNORED]


@pytest.mark.parametrize(
    ("table", "groups"),
    [
        (FLAGS, [group for group in Group if group is not Group.OUTPUT]),
        (CHECK_FLAGS, [Group.DRIVER, Group.SCHEDULE, Group.OUTPUT]),
    ],
    ids=["sidecar", "check"],
)
def test_every_group_has_its_flags_together_and_in_order(
    table: dict[str, Flag], groups: list[Group]
) -> None:
    assert [group for group, _ in groupby(table.values(), key=lambda flag: flag.group)] == groups


@pytest.mark.parametrize("flag", IN_USE, ids=lambda flag: flag.name)
def test_every_default_can_be_parsed(flag: Flag) -> None:
    flag.kind.read(flag.default)


@pytest.mark.parametrize("flag", ALL, ids=lambda flag: flag.name)
def test_the_help_of_every_flag_is_whole_sentences(flag: Flag) -> None:
    assert flag.help.endswith(".")


@pytest.mark.parametrize("flag", IN_USE, ids=lambda flag: flag.name)
def test_only_a_switch_has_no_placeholder(flag: Flag) -> None:
    assert flag.kind.switch is (flag.placeholder == "")


def test_check_has_two_of_the_sidecars_flags_and_one_of_its_own() -> None:
    assert set(CHECK_FLAGS) == {"csi-address", "probe-timeout", "output"}
    assert set(CHECK_FLAGS) - set(FLAGS) == {"output"}
    assert all(FLAGS.get(name, flag) is flag for name, flag in CHECK_FLAGS.items())


def test_the_names_of_all_flags() -> None:
    in_use = {name for name, flag in FLAGS.items() if flag in IN_USE}
    assert in_use == {
        *("csi-address", "probe-timeout", "probe-interval"),
        *("http-endpoint", "health-port", "metrics-address", "metrics-path"),
        *("v", "vmodule", "logging-format", "log-flush-frequency"),
        *("log-text-split-stream", "log-text-info-buffer-size"),
        *("log-json-split-stream", "log-json-info-buffer-size"),
    }
    assert set(FLAGS) - in_use == {
        "automaxprocs",
        # of older releases
        *("connection-timeout", "logtostderr", "alsologtostderr", "stderrthreshold"),
        *("skip_headers", "skip_log_headers", "add_dir_header", "one_output"),
        *("log_dir", "log_file", "log_file_max_size", "log_backtrace_at"),
    }
