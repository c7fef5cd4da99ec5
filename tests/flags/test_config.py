from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.flags import Config, ConfigError, HelpRequested, UsageError, parse
from livenessprobe.flags.table import FLAGS, Group

DEFAULTS = Config(
    socket_path="/run/csi/socket",
    health_address=":9808",
    metrics_address=None,
    metrics_path="/metrics",
    probe_timeout=3.0,
    probe_interval=None,
    logging_format="text",
    verbosity=0,
    vmodule=(),
    warnings=(),
    texts={name: flag.default for name, flag in FLAGS.items() if flag.group is not Group.IGNORED},
)


def differing(config: Config) -> dict[str, Any]:
    """Return the fields of a Config that differ from the defaults."""
    defaults = dataclasses.asdict(DEFAULTS)
    return {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if value != defaults[name] and name != "texts"
    }


def test_without_arguments_everything_has_its_default() -> None:
    assert parse([]) == DEFAULTS


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--csi-address=unix:///csi/csi.sock"], {"socket_path": "/csi/csi.sock"}),
        (["--csi-address", "--v=5"], {"socket_path": "--v=5"}),
        (["--probe-timeout=10s"], {"probe_timeout": 10.0}),
        (["-probe-timeout", "100ms"], {"probe_timeout": 0.1}),
        (["--probe-interval=500ms"], {"probe_interval": 0.5}),
        (["--probe-interval=1s", "--probe-interval", "auto"], {}),
        (["-v=5"], {"verbosity": 5}),
        (["--v=1", "--csi-address=/a", "--v=2"], {"verbosity": 2, "socket_path": "/a"}),
        (["--vmodule=main=2,driver*=5"], {"vmodule": (("main", 2), ("driver*", 5))}),
        (["--vmodule=a=1", "--vmodule", "b=2,c=3"], {"vmodule": (("a", 1), ("b", 2), ("c", 3))}),
        (["--vmodule=,a=1,b=0,", "--vmodule="], {"vmodule": (("a", 1),)}),
        (["--logging-format=json"], {"logging_format": "json"}),
        (["--logging-format", "text"], {}),
        (["--log-flush-frequency=1m"], {}),
        (["--log-text-split-stream=false", "--log-json-info-buffer-size=0.0Ki"], {}),
        (["--health-port=9809"], {"health_address": ":9809"}),
        (["--health-port=http"], {"health_address": ":http"}),
        (
            ["--http-endpoint=[::1]:9808"],
            {"health_address": "[::1]:9808", "metrics_address": "[::1]:9808"},
        ),
        (
            ["--health-port=9808", "--http-endpoint=:8080"],
            {"health_address": ":8080", "metrics_address": ":8080"},
        ),
        (
            ["--health-port=1", "--metrics-address=0.0.0.0:3305"],
            {"health_address": ":1", "metrics_address": "0.0.0.0:3305"},
        ),
        (["--metrics-address=", "--http-endpoint="], {}),
        (
            ["--metrics-address=:1", "--metrics-path=/healthz"],
            {"metrics_address": ":1", "metrics_path": "/healthz"},
        ),
    ],
)
def test_the_config_has_the_values_of_the_arguments(
    argv: list[str], expected: dict[str, Any]
) -> None:
    assert differing(parse(argv)) == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--probe-timeout=3"], 'invalid value "3" for flag -probe-timeout: parse error'),
        (
            ["--probe-interval", "Auto"],
            (
                'invalid value "Auto" for flag -probe-interval: give auto, or a duration such as '
                "500ms or 10s"
            ),
        ),
        (
            ["--log-flush-frequency=x"],
            'invalid value "x" for flag -log-flush-frequency: parse error',
        ),
        (
            ["--v=abc"],
            'invalid value "abc" for flag -v: strconv.ParseUint: parsing "abc": invalid syntax',
        ),
        (
            ["-v", "-1"],
            'invalid value "-1" for flag -v: strconv.ParseUint: parsing "-1": invalid syntax',
        ),
        (
            ["--v=2147483648"],
            (
                'invalid value "2147483648" for flag -v: '
                'strconv.ParseUint: parsing "2147483648": value out of range'
            ),
        ),
        (
            ["--vmodule=abc"],
            'invalid value "abc" for flag -vmodule: "abc" does not have the pattern=N format',
        ),
        (
            ["--vmodule=a=1", "--vmodule=b=1,a=-1"],
            (
                'invalid value "b=1,a=-1" for flag -vmodule: parsing verbosity in "a=-1": '
                'strconv.ParseUint: parsing "-1": invalid syntax'
            ),
        ),
        (
            ["--automaxprocs=maybe"],
            (
                'invalid boolean value "maybe" for -automaxprocs: '
                'strconv.ParseBool: parsing "maybe": invalid syntax'
            ),
        ),
        (["--logtostderr=yes"], 'invalid boolean value "yes" for -logtostderr: parse error'),
        (
            ["--log-json-split-stream="],
            'invalid boolean value "" for -log-json-split-stream: parse error',
        ),
        (
            ["--log-json-info-buffer-size=big"],
            (
                'invalid value "big" for flag -log-json-info-buffer-size: '
                "not a quantity such as 512, 1k or 4Ki"
            ),
        ),
    ],
)
def test_a_value_that_cannot_be_parsed_has_the_references_error(
    argv: list[str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv)
    assert str(caught.value) == message


SHARED_PATH = (
    '--metrics-path="/healthz" is already served for something else at this address: '
    "choose another path, such as /metrics"
)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--health-port=9999", "--http-endpoint=:8080"],
            "Only one of `--health-port` and `--http-endpoint` can be explicitly set",
        ),
        (
            ["--metrics-address=:1", "--http-endpoint=:8080"],
            "Only one of `--metrics-address` and `--http-endpoint` can be explicitly set",
        ),
        (
            ["--health-port=localhost:29613"],
            (
                '--health-port="localhost:29613" is not a port: give a number or a service name, '
                "such as 9808 or http, or give host:port to --http-endpoint instead"
            ),
        ),
        (
            ["--http-endpoint=:1", "--metrics-path=metrics"],
            '--metrics-path="metrics" must begin with a slash: try /metrics',
        ),
        (
            ["--metrics-address=:1", "--metrics-path="],
            '--metrics-path="" must begin with a slash: try /metrics',
        ),
        (
            ["--metrics-address=:1", "--metrics-path=/m?x=1"],
            (
                '--metrics-path="/m?x=1" has a ?, # or %, which no request\'s path has: give it '
                "decoded and without a query, such as /metrics"
            ),
        ),
        (["--metrics-path=/healthz", "--http-endpoint=:8080"], SHARED_PATH),
        (["--metrics-path=/healthz", "--metrics-address=:9808"], SHARED_PATH),
        (
            ["--probe-timeout=50ms"],
            '--probe-timeout="50ms" is too short: give at least 100ms, or leave it out for 3s',
        ),
        (
            ["--probe-interval=0"],
            '--probe-interval="0" is too short: give at least 100ms, or leave it out for auto',
        ),
        (
            ["--probe-interval", "-1h"],
            '--probe-interval="-1h" is too short: give at least 100ms, or leave it out for auto',
        ),
        (
            ["--probe-interval=99.999999ms"],
            (
                '--probe-interval="99.999999ms" is too short: give at least 100ms, '
                "or leave it out for auto"
            ),
        ),
        (
            ["--csi-address=unix://csi.sock"],
            (
                '--csi-address="unix://csi.sock" has no slash after unix://: '
                "write unix:///path or unix:relative/path"
            ),
        ),
    ],
)
def test_an_impossible_value_is_an_error_that_names_the_flag(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(argv)
    assert (str(caught.value), caught.value.err) == (message, None)


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["--logging-format=xml"], 'format: Invalid value: "xml": Unsupported log format'),
        (
            ["--log-flush-frequency=0"],
            'flushFrequency: Invalid value: "0": Must be greater than zero',
        ),
        (
            ["--log-json-split-stream"],
            "options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
        # The reference checks the logging flags first, too.
        (
            ["--logging-format=xml", "--csi-address=", "--health-port=1", "--http-endpoint=:2"],
            'format: Invalid value: "xml": Unsupported log format',
        ),
    ],
)
def test_an_invalid_logging_configuration_has_kubernetes_error(argv: list[str], err: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(argv)
    assert (str(caught.value), caught.value.err) == ("LoggingConfiguration is invalid", err)


STDERR_ONLY = "Log lines go to stderr only, each with its header."
WITHIN_THE_TIMEOUT = (
    "--connection-timeout has no effect. The time for connecting is part of --probe-timeout."
)
NO_GO_PROGRAM = (
    "--automaxprocs has no effect. This is no Go program: there is no GOMAXPROCS to set."
)


@pytest.mark.parametrize(
    ("argv", "warning"),
    [
        (["--logtostderr"], f"--logtostderr has no effect. {STDERR_ONLY}"),
        (["--logtostderr=false"], f"--logtostderr has no effect. {STDERR_ONLY}"),
        (["-stderrthreshold", "x"], f"--stderrthreshold has no effect. {STDERR_ONLY}"),
        (["--connection-timeout=3s", "--connection-timeout=4s"], WITHIN_THE_TIMEOUT),
        (["--automaxprocs"], NO_GO_PROGRAM),
        (["--automaxprocs=false"], NO_GO_PROGRAM),
        (["--automaxprocs="], NO_GO_PROGRAM),
    ],
)
def test_an_ignored_flag_changes_nothing_but_the_warnings(argv: list[str], warning: str) -> None:
    assert differing(parse([*argv, "--v=2"])) == {"verbosity": 2, "warnings": (warning,)}


NO_METRICS = (
    "--metrics-path has no effect. No metrics are served without --http-endpoint or "
    "--metrics-address."
)


@pytest.mark.parametrize("path", ["/m", "/healthz", "metrics", ""])
def test_the_metrics_path_is_not_checked_without_metrics(path: str) -> None:
    assert differing(parse([f"--metrics-path={path}"])) == {
        "metrics_path": path,
        "warnings": (NO_METRICS,),
    }


def test_arguments_after_the_last_flag_are_ignored_with_a_warning() -> None:
    assert differing(parse(["--v=5", "true", "--nope"])) == {
        "verbosity": 5,
        "warnings": (
            (
                'Everything from "true" on is ignored: flags end at -- or at the first argument '
                "that is not a flag."
            ),
        ),
    }


def test_two_dashes_at_the_end_cause_no_warning() -> None:
    assert parse(["--v=5", "--"]).warnings == ()


def test_everything_without_effect_has_one_warning_in_order() -> None:
    ignored = ["--one_output", "--automaxprocs", "--log_dir=/tmp", "--one_output=false"]
    warnings = parse(["--metrics-path=/m", *ignored, "x", "y"]).warnings
    assert [warning.split()[0] for warning in warnings] == [
        *("--one_output", "--automaxprocs", "--log_dir", "--metrics-path", "Everything")
    ]


def outcome(argv: list[str]) -> Config | Exception:
    """Return the config or the error; any other exception than the three documented ones fails."""
    try:
        return parse(argv)
    except (UsageError, ConfigError, HelpRequested) as error:
        return error


VALUES = st.text() | st.sampled_from(
    [
        *("", "-", "--", "0", "1", "true", "3s", "1m1.5s", ":8080", "/p", "unix:///p", "a=1"),
        *("json", "4Ki"),
    ]
)
NAMES = st.sampled_from([*FLAGS, "h", "help", "nope"])
ARGUMENTS = (
    VALUES
    | st.builds("{}{}".format, st.sampled_from(["-", "--", "---"]), NAMES | st.text())
    | st.builds("{}{}={}".format, st.sampled_from(["-", "--"]), NAMES, VALUES)
)


@given(st.lists(ARGUMENTS, max_size=8))
def test_any_command_line_gives_a_config_or_one_of_three_errors(argv: list[str]) -> None:
    match outcome(argv):
        case Config() as config:
            assert 0 < len(config.socket_path.encode()) <= 107
            assert config.probe_timeout >= 0.1
            assert config.probe_interval is None or config.probe_interval >= 0.1
            assert config.verbosity >= 0
            assert config.metrics_address is None or config.metrics_path.startswith("/")
            assert len(set(config.warnings)) == len(config.warnings)
        case HelpRequested():
            assert {"-h", "--h", "-help", "--help"} & {text.split("=")[0] for text in argv}
        case error:
            assert str(error)


SAID_AT_MOST = 1_000


@pytest.mark.parametrize("text", ["x", "1", "0", "-", "/", "a=1,", "a=1,b=", "1s", "=", '"', "\n"])
@pytest.mark.parametrize("name", FLAGS)
def test_messages_show_only_the_beginning_of_a_long_value(name: str, text: str) -> None:
    long = text * (200_000 // len(text))
    served = [] if name == "http-endpoint" else ["--metrics-address=:1"]
    for argv in ([*served, f"--{name}={long}"], [f"--{name}{long}"], [f"-{long}"], [long]):
        match outcome(argv):
            case Config() as config:
                assert sum(map(len, config.warnings)) < SAID_AT_MOST
            case ConfigError() as error:
                assert len(f"{error} {error.err}") < SAID_AT_MOST
            case error:
                assert len(str(error)) < SAID_AT_MOST


def test_every_ignored_flag_has_a_warning() -> None:
    ignored = [flag.name for flag in FLAGS.values() if flag.group is Group.IGNORED]
    warnings = parse([f"--{name}=1" for name in ignored]).warnings
    assert [warning.split()[0] for warning in warnings] == [f"--{name}" for name in ignored]


def test_texts_has_every_flag_that_has_an_effect_or_was_given() -> None:
    texts = parse(["--v=5", "--logtostderr", "--probe-interval", "1m0s"]).texts
    given = {"v": "5", "logtostderr": "true", "probe-interval": "1m0s"}
    assert texts == {**DEFAULTS.texts, **given}
