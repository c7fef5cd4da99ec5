from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livenessprobe.flags import Config, ConfigError, HelpRequested, UsageError, parse, usage

DEFAULTS = Config(
    socket_path="/run/csi/socket",
    health_address=":9808",
    metrics_address=None,
    metrics_path="/metrics",
    probe_timeout=3.0,
    probe_interval=1.0,
    logging_format="text",
    verbosity=0,
    vmodule=(),
    warnings=(),
)


def differing(config: Config) -> dict[str, Any]:
    """What a Config says other than the defaults."""
    defaults = dataclasses.asdict(DEFAULTS)
    return {
        name: value for name, value in dataclasses.asdict(config).items() if value != defaults[name]
    }


def test_without_arguments_everything_has_its_default() -> None:
    assert parse([]) == DEFAULTS


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--probe-timeout=10s"], {"probe_timeout": 10.0}),
        (["-probe-timeout=10s"], {"probe_timeout": 10.0}),
        (["--probe-timeout", "10s"], {"probe_timeout": 10.0}),
        (["-probe-timeout", "10s"], {"probe_timeout": 10.0}),
        (["--probe-interval=500ms"], {"probe_interval": 0.5}),
        (["-v=5"], {"verbosity": 5}),
        (["--v", "5"], {"verbosity": 5}),
        (["-v=+5"], {"verbosity": 5}),
        (["-v=-1"], {"verbosity": -1}),
        (["-v", "-1"], {"verbosity": -1}),
        (["-v=007"], {"verbosity": 7}),
        (["-v=2147483647"], {"verbosity": 2**31 - 1}),
        (["-v=-2147483648"], {"verbosity": -(2**31)}),
        (["-v=" + "0" * 9999 + "4"], {"verbosity": 4}),
        (["--v=1", "--csi-address=/a", "--v=2"], {"verbosity": 2, "socket_path": "/a"}),
        (["--vmodule=main=2,driver*=5"], {"vmodule": (("main", 2), ("driver*", 5))}),
        (["--vmodule=,a=1,b=0,"], {"vmodule": (("a", 1),)}),
        (["--vmodule="], {}),
        (["--logging-format=json"], {"logging_format": "json"}),
        (["--logging-format", "text"], {}),
        (["--log-flush-frequency=1m"], {}),
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
        (["--log-text-split-stream=false", "--log-json-info-buffer-size=0.0Ki"], {}),
        (["--automaxprocs=false"], {}),
        (["--csi-address=a=b"], {"socket_path": "a=b"}),
        (["--csi-address", "--v=5"], {"socket_path": "--v=5"}),
    ],
)
def test_what_the_arguments_say_is_what_the_config_says(
    argv: list[str], expected: dict[str, Any]
) -> None:
    assert differing(parse(argv)) == expected


@pytest.mark.parametrize(
    ("argv", "ignored"),
    [
        (["--", "-v=5"], "-v=5"),
        (["-", "-v=5"], "-"),
        (["", "-v=5"], ""),
        (["true", "-v=5"], "true"),
        (["--automaxprocs=0", "false", "--nope", "--help"], "false"),
    ],
)
def test_what_follows_the_last_flag_is_ignored_and_said_so(argv: list[str], ignored: str) -> None:
    (warning,) = differing(parse(argv))["warnings"]
    assert warning.startswith(f'Everything from "{ignored}" on is ignored: ')


def test_two_dashes_with_nothing_behind_them_ignore_nothing() -> None:
    assert parse(["--v=5", "--"]).warnings == ()


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/csi/csi.sock", "/csi/csi.sock"),
        ("unix:///csi/csi.sock", "/csi/csi.sock"),
        ("unix:/csi/csi.sock", "/csi/csi.sock"),
        ("UNIX:///csi/csi.sock", "/csi/csi.sock"),
        ("csi.sock", "csi.sock"),
        ("./csi.sock", "./csi.sock"),
        ("unix:csi/csi.sock", "csi/csi.sock"),
        ("unix:./csi.sock", "./csi.sock"),
        ("/csi/a:b@c\\d.sock", "/csi/a:b@c\\d.sock"),
        ("./a:b", "./a:b"),
        ("//csi.sock", "//csi.sock"),
        ("unix:////csi.sock", "//csi.sock"),
        ("unix:///" + "x" * 106, "/" + "x" * 106),
        ("unix:" + "é" * 53 + "x", "é" * 53 + "x"),
        ("/csi/\udcff.sock", "/csi/\udcff.sock"),
    ],
)
def test_a_socket_address_is_reduced_to_its_path(address: str, path: str) -> None:
    assert parse([f"--csi-address={address}"]).socket_path == path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3s", 3.0),
        ("+3s", 3.0),
        ("1m1.5s", 61.5),
        ("300ms", 0.3),
        ("1h", 3600.0),
        ("200000us", 0.2),
        ("200000\N{MICRO SIGN}s", 0.2),
        ("200000\N{GREEK SMALL LETTER MU}s", 0.2),
        ("100000000ns", 0.1),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("1s1s1ms", 2.001),
        ("0h0.1s", 0.1),
        ("1.9999999999999999999999999ns100ms", 0.100000001),
        ("0" * 9999 + "1s", 1.0),
        ("1." + "0" * 9999 + "s", 1.0),
        ("2562047h47m16.854775807s", (2**63 - 1) / 10**9),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert parse([f"--probe-timeout={text}"]).probe_timeout == seconds


NO_DURATIONS = [
    *("", "3", "abc", "s", ".s", "1", "00", "+", "-", "++1s", "1 s", " 1s", "1s ", "1s\n"),
    *("1S", "1d", "1.5", "1.2.3s", "1e3s", "1s1", "0x1s", "1_0s", "\N{ARABIC-INDIC DIGIT ONE}s"),
    *(
        "9223372036854775808ns",
        "2562047h47m16.854775808s",
        "9" * 9999 + "h",
        "-9223372036854775809ns",
    ),
]


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_go_does_not_take_for_a_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(
        UsageError, match=r'^invalid value "[^"]*" for flag -probe-timeout: parse error$'
    ):
        parse([f"--probe-timeout={text}"])


@pytest.mark.parametrize(
    "text", ["0", "+0", "-0", "0s", "-1h", "99.999999ms", "1ns", "-9223372036854775808ns"]
)
@pytest.mark.parametrize("name", ["probe-timeout", "probe-interval"])
def test_a_duration_below_100ms_is_refused_with_its_bound(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse([f"--{name}={text}"])
    assert str(caught.value).startswith(f"--{name}={text} is too short: give at least 100ms,")


def in_one_unit(nanoseconds: int, unit: str, size: int) -> str:
    whole, fraction = divmod(nanoseconds, size)
    digits = f"{fraction * 10**9 // size:09}".rstrip("0")
    return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"


def in_mixed_units(nanoseconds: int) -> str:
    hours, rest = divmod(nanoseconds, 3_600_000_000_000)
    minutes, rest = divmod(rest, 60_000_000_000)
    return f"{hours}h{minutes}m{in_one_unit(rest, 's', 1_000_000_000)}"


@given(st.integers(min_value=100_000_000, max_value=2**63 - 1))
@example(100_000_000)
@example(2**63 - 1)
def test_every_duration_survives_being_written_and_read(nanoseconds: int) -> None:
    for text in (
        in_mixed_units(nanoseconds),
        in_one_unit(nanoseconds, "ns", 1),
        in_one_unit(nanoseconds, "us", 1_000),
        in_one_unit(nanoseconds, "ms", 1_000_000),
        in_one_unit(nanoseconds, "s", 1_000_000_000),
    ):
        assert parse(["--probe-timeout", text]).probe_timeout == nanoseconds / 10**9


def outcome(argv: list[str]) -> Config | Exception:
    """Return what parse returns or raises; any other exception than its three fails the test."""
    try:
        return parse(argv)
    except (UsageError, ConfigError, HelpRequested) as error:
        return error


@given(st.text() | st.text("0123456789.+-nu\N{MICRO SIGN}msh"))
def test_any_text_for_a_duration_ends_in_a_value_or_in_a_refusal(text: str) -> None:
    match outcome(["--probe-timeout", text]):
        case Config(probe_timeout=seconds):
            assert 0.1 <= seconds <= 2**63 / 10**9
        case ConfigError() as error:
            assert str(error).startswith(f"--probe-timeout={text} is too short")
        case error:
            assert isinstance(error, UsageError)
            assert str(error).endswith(" for flag -probe-timeout: parse error")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nope"], "flag provided but not defined: -nope"),
        (["-nope=1"], "flag provided but not defined: -nope"),
        (["--V=1"], "flag provided but not defined: -V"),
        (["-v5"], "flag provided but not defined: -v5"),
        (["---v=3"], "bad flag syntax: ---v=3"),
        (["-=3"], "bad flag syntax: -=3"),
        (["--=3"], "bad flag syntax: --=3"),
        (["--csi-address"], "flag needs an argument: -csi-address"),
        (["--v=1", "-v"], "flag needs an argument: -v"),
        (["--probe-timeout=3"], 'invalid value "3" for flag -probe-timeout: parse error'),
        (["--probe-timeout", "abc"], 'invalid value "abc" for flag -probe-timeout: parse error'),
        (
            ["--log-flush-frequency=x"],
            'invalid value "x" for flag -log-flush-frequency: parse error',
        ),
        (["--automaxprocs=maybe"], 'invalid boolean value "maybe" for -automaxprocs: parse error'),
        (["--automaxprocs="], 'invalid boolean value "" for -automaxprocs: parse error'),
        (["--automaxprocs=tRUE"], 'invalid boolean value "tRUE" for -automaxprocs: parse error'),
        (["--logtostderr=yes"], 'invalid boolean value "yes" for -logtostderr: parse error'),
        (
            ["--v=abc"],
            'invalid value "abc" for flag -v: strconv.ParseInt: parsing "abc": invalid syntax',
        ),
        (
            ['--v="\n\\'],
            (
                r'invalid value "\"\n\\" for flag -v: '
                r'strconv.ParseInt: parsing "\"\n\\": invalid syntax'
            ),
        ),
        (["--v="], 'invalid value "" for flag -v: strconv.ParseInt: parsing "": invalid syntax'),
        (["--v=+"], 'invalid value "+" for flag -v: strconv.ParseInt: parsing "+": invalid syntax'),
        (
            ["--v=0x1"],
            'invalid value "0x1" for flag -v: strconv.ParseInt: parsing "0x1": invalid syntax',
        ),
        (
            ["--v=2147483648"],
            (
                'invalid value "2147483648" for flag -v: '
                'strconv.ParseInt: parsing "2147483648": value out of range'
            ),
        ),
        (
            ["--v=-2147483649"],
            (
                'invalid value "-2147483649" for flag -v: '
                'strconv.ParseInt: parsing "-2147483649": value out of range'
            ),
        ),
        (
            ["--v=99999999999"],
            (
                'invalid value "99999999999" for flag -v: '
                'strconv.ParseInt: parsing "99999999999": value out of range'
            ),
        ),
        (
            ["--vmodule=a=-1"],
            'invalid value "a=-1" for flag -vmodule: negative value for vmodule level',
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
def test_what_go_refuses_is_refused_in_its_words(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=b", "a=1=2", "a=1,b", "a=99999999999"])
def test_vmodule_is_a_list_of_patterns_with_levels(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(["--vmodule", text])
    assert str(caught.value) == (
        f'invalid value "{text}" for flag -vmodule: '
        "syntax error: expect comma-separated list of filename=N"
    )


@pytest.mark.parametrize(
    "argv", [["-h"], ["--h"], ["-help"], ["--help"], ["--help=no"], ["--v=1", "-h", "--nope"]]
)
def test_help_is_given_where_it_is_asked_for(argv: list[str]) -> None:
    with pytest.raises(HelpRequested):
        parse(argv)


def test_an_error_before_the_request_for_help_is_told_first() -> None:
    with pytest.raises(UsageError, match="-nope"):
        parse(["--nope", "--help"])


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
            ["--metrics-path=metrics"],
            '--metrics-path="metrics" must begin with a slash: try /metrics',
        ),
        (["--metrics-path="], '--metrics-path="" must begin with a slash: try /metrics'),
        (
            ["--metrics-path=/healthz", "--http-endpoint=:8080"],
            (
                '--metrics-path="/healthz" is where --http-endpoint answers health checks: '
                "choose another path, such as /metrics"
            ),
        ),
        (
            ["--probe-timeout=50ms"],
            "--probe-timeout=50ms is too short: give at least 100ms, or leave it out for 3s",
        ),
        (
            ["--probe-interval=0"],
            "--probe-interval=0 is too short: give at least 100ms, or leave it out for 1s",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(argv)
    assert (str(caught.value), caught.value.err) == (message, None)


HINT = "give the path of the CSI driver's socket, such as /csi/csi.sock"
WINDOWS = f"is a Windows path, and this is Linux: {HINT}"
NO_UNIX = f"is not the address of a UNIX socket: {HINT}"
HOST = "has no slash after unix://: write unix:///path or unix:relative/path"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", f"names no socket: {HINT}"),
        ("/", f"names no socket: {HINT}"),
        ("unix:", f"names no socket: {HINT}"),
        ("unix://", f"names no socket: {HINT}"),
        ("unix:///", f"names no socket: {HINT}"),
        (r"unix://C:\csi\csi.sock", WINDOWS),
        (r"unix://C:\\csi\\csi.sock", WINDOWS),
        (r"unix:///C:\csi\csi.sock", WINDOWS),
        ("unix://c:/csi/csi.sock", WINDOWS),
        (r"C:\csi\csi.sock", WINDOWS),
        ("tcp://10.0.0.1:10000", NO_UNIX),
        ("http://localhost/", NO_UNIX),
        ("dns:localhost:10000", NO_UNIX),
        ("dns:///localhost:10000", NO_UNIX),
        ("unix-abstract:csi", NO_UNIX),
        ("127.0.0.1:10000", NO_UNIX),
        (":10000", NO_UNIX),
        ("npipe://./pipe/csi", NO_UNIX),
        ("unix://csi.sock", HOST),
        ("unix://./csi.sock", HOST),
        ("unix://csi/csi.sock", HOST),
        ("@csi", f"is an abstract socket, which has no file: {HINT}"),
        ("unix:@csi", f"is an abstract socket, which has no file: {HINT}"),
    ],
)
def test_an_address_that_is_no_unix_socket_is_refused_with_what_to_do(
    address: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(["--csi-address", address])
    quoted = address.replace("\\", "\\\\")
    assert (str(caught.value), caught.value.err) == (f'--csi-address="{quoted}" {reason}', None)


def test_a_nul_byte_in_the_socket_path_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'^--csi-address="/csi\\u0000.sock" holds a NUL byte'):
        parse(["--csi-address=/csi\0.sock"])


@pytest.mark.parametrize("path", ["/" + "x" * 107, "é" * 54])
def test_a_socket_path_has_at_most_107_bytes(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse([f"--csi-address=unix:{path}"])
    assert str(caught.value) == (
        f'--csi-address="unix:{path}" is a path of 108 bytes, and a UNIX socket\'s has at most '
        "107: mount the socket's folder at a shorter path"
    )


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["--logging-format=xml"], 'format: Invalid value: "xml": Unsupported log format'),
        (["--logging-format="], 'format: Invalid value: "": Unsupported log format'),
        (
            ["--logging-format=json", "--vmodule=a=1"],
            "vmodule: Forbidden: Only supported for text log format",
        ),
        (
            ["--log-json-split-stream"],
            "options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
        (
            ["--log-json-info-buffer-size=1Ki"],
            "options.json.infoBufferSize: Forbidden: Feature LoggingAlphaOptions is disabled",
        ),
        (
            ["--log-text-split-stream=t", "--log-text-info-buffer-size", ".5"],
            (
                "[options.text.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled, "
                "options.text.infoBufferSize: Forbidden: Feature LoggingAlphaOptions is disabled]"
            ),
        ),
        # The reference looks at its logging first, too.
        (
            ["--logging-format=xml", "--csi-address=", "--health-port=1", "--http-endpoint=:2"],
            'format: Invalid value: "xml": Unsupported log format',
        ),
    ],
)
def test_a_logging_configuration_is_refused_as_kubernetes_does(argv: list[str], err: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(argv)
    assert (str(caught.value), caught.value.err) == ("LoggingConfiguration is invalid", err)


REMOVED_SWITCHES = [
    *("logtostderr", "alsologtostderr", "skip_headers", "skip_log_headers"),
    *("add_dir_header", "one_output"),
]
REMOVED_WITH_VALUE = [
    *("connection-timeout", "stderrthreshold", "log_dir", "log_file"),
    *("log_file_max_size", "log_backtrace_at"),
]


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        *((name, [f"--{name}", "--v=2"]) for name in REMOVED_SWITCHES),
        *((name, [f"--{name}=false", "--v=2"]) for name in REMOVED_SWITCHES),
        *((name, [f"--{name}=x", "--v=2"]) for name in REMOVED_WITH_VALUE),
        *((name, [f"-{name}", "x", "--v=2"]) for name in REMOVED_WITH_VALUE),
    ],
)
def test_a_flag_of_older_releases_changes_nothing_but_the_warnings(
    name: str, argv: list[str]
) -> None:
    config = parse(argv)
    assert config.verbosity == 2
    (warning,) = config.warnings
    assert re.fullmatch(rf"--{name} has no effect: .+\.", warning)


def test_each_thing_without_effect_is_told_once_and_in_order() -> None:
    removed = ["--connection-timeout=3s", "--logtostderr", "--connection-timeout=4s"]
    assert parse([*removed, "--metrics-path=/m", "--automaxprocs", "x", "y"]).warnings == (
        "--connection-timeout has no effect: --probe-timeout bounds connecting too.",
        "--logtostderr has no effect: log lines go to stderr only, each with its header.",
        "--automaxprocs has no effect: there is nothing to set, this is no Go program.",
        (
            "--metrics-path has no effect: no metrics are served without --http-endpoint or "
            "--metrics-address."
        ),
        (
            'Everything from "x" on is ignored: flags end at -- or at the first argument that is '
            "not a flag."
        ),
    )


@pytest.mark.parametrize("value", ["1", "t", "T", "true", "TRUE", "True"])
def test_every_spelling_of_true_sets_automaxprocs(value: str) -> None:
    assert len(parse([f"--automaxprocs={value}"]).warnings) == 1


@pytest.mark.parametrize("value", ["0", "f", "F", "false", "FALSE", "False"])
def test_every_spelling_of_false_leaves_automaxprocs(value: str) -> None:
    assert parse([f"--automaxprocs={value}"]) == DEFAULTS


OUR_FLAGS = [
    *("csi-address", "probe-timeout", "probe-interval", "http-endpoint", "health-port"),
    *("metrics-address", "metrics-path", "v", "vmodule", "logging-format", "log-flush-frequency"),
    "automaxprocs",
]
ALPHA_FLAGS = [
    *("log-text-split-stream", "log-text-info-buffer-size"),
    *("log-json-split-stream", "log-json-info-buffer-size"),
]


def test_the_usage_has_an_entry_or_a_mention_for_every_flag() -> None:
    entries, refused, removed = re.split("Refused unless|Flags of older releases", usage())
    assert sorted(re.findall(r"(?m)^  --([\w-]+)", entries)) == sorted(OUR_FLAGS)
    assert sorted(re.findall(r"--([\w-]+)", refused)) == sorted(ALPHA_FLAGS)
    assert sorted(re.findall(r"--([\w-]+)", removed)) == sorted(
        REMOVED_SWITCHES + REMOVED_WITH_VALUE
    )


def test_the_usage_can_be_read() -> None:
    lines = usage().splitlines()
    assert lines[0] == "Usage of livenessprobe:"
    assert max(map(len, lines)) <= 80
    titles = [line for line in lines[1:] if re.fullmatch(r"\S.*:", line)]
    # A group that stood in two places would print its title twice.
    assert len(titles) == len(set(titles)) == 5
    assert "  --probe-timeout duration (default 3s)" in lines
    assert usage().endswith("log_backtrace_at\n")


VALUES = st.text() | st.sampled_from(
    [
        "",
        "-",
        "--",
        "0",
        "1",
        "true",
        "3s",
        "1m1.5s",
        ":8080",
        "/p",
        "unix:///p",
        "a=1",
        "json",
        "4Ki",
    ]
)
NAMES = st.sampled_from(
    [*OUR_FLAGS, *ALPHA_FLAGS, *REMOVED_SWITCHES, *REMOVED_WITH_VALUE, "h", "help", "nope"]
)
ARGUMENTS = (
    VALUES
    | st.builds("{}{}".format, st.sampled_from(["-", "--", "---"]), NAMES | st.text())
    | st.builds("{}{}={}".format, st.sampled_from(["-", "--"]), NAMES, VALUES)
)


@given(st.lists(ARGUMENTS, max_size=8))
def test_any_command_line_ends_in_a_config_or_in_one_of_three_errors(argv: list[str]) -> None:
    match outcome(argv):
        case Config() as config:
            assert 0 < len(config.socket_path.encode()) <= 107
            assert min(config.probe_timeout, config.probe_interval) >= 0.1
            assert config.metrics_path.startswith("/")
            assert len(set(config.warnings)) == len(config.warnings)
        case HelpRequested():
            assert {"-h", "--h", "-help", "--help"} & {text.split("=")[0] for text in argv}
        case error:
            assert str(error)
