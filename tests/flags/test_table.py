from itertools import groupby

import pytest

from livenessprobe.flags.table import FLAGS, Flag, Group

ALL = list(FLAGS.values())
IN_USE = [flag for flag in ALL if flag.group is not Group.IGNORED]


def test_every_group_has_its_flags_together_and_in_order() -> None:
    assert [group for group, _ in groupby(ALL, key=lambda flag: flag.group)] == list(Group)


@pytest.mark.parametrize("flag", IN_USE, ids=lambda flag: flag.name)
def test_every_default_can_be_read(flag: Flag) -> None:
    flag.kind.read(flag.default)


@pytest.mark.parametrize("flag", ALL, ids=lambda flag: flag.name)
def test_every_flag_is_explained_in_sentences(flag: Flag) -> None:
    assert flag.help.endswith(".")


@pytest.mark.parametrize("flag", IN_USE, ids=lambda flag: flag.name)
def test_only_a_switch_has_no_word_for_its_value(flag: Flag) -> None:
    assert flag.kind.switch is (flag.word == "")


def test_these_are_the_flags() -> None:
    assert {flag.name for flag in IN_USE} == {
        *("csi-address", "probe-timeout", "probe-interval"),
        *("http-endpoint", "health-port", "metrics-address", "metrics-path"),
        *("v", "vmodule", "logging-format", "log-flush-frequency"),
        *("log-text-split-stream", "log-text-info-buffer-size"),
        *("log-json-split-stream", "log-json-info-buffer-size"),
    }
    assert set(FLAGS) - {flag.name for flag in IN_USE} == {
        "automaxprocs",
        # of older releases
        *("connection-timeout", "logtostderr", "alsologtostderr", "stderrthreshold"),
        *("skip_headers", "skip_log_headers", "add_dir_header", "one_output"),
        *("log_dir", "log_file", "log_file_max_size", "log_backtrace_at"),
    }
