import pytest

from livenessprobe.flags import CheckConfig, HelpRequested, UsageError, parse_check

DEFAULTS = CheckConfig(socket_path="/run/csi/socket", probe_timeout=3.0, output="text")


@pytest.mark.parametrize(
    ("argv", "config"),
    [
        ([], DEFAULTS),
        (
            ["--csi-address=unix:///csi/csi.sock", "-probe-timeout", "1m1.5s", "--output=json"],
            CheckConfig(socket_path="/csi/csi.sock", probe_timeout=61.5, output="json"),
        ),
        (["--output", "json", "--output=text", "--probe-timeout=3s", "--"], DEFAULTS),
    ],
)
def test_the_config_has_the_values_of_the_arguments(argv: list[str], config: CheckConfig) -> None:
    assert parse_check(argv) == config


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--v=5"], "flag provided but not defined: -v"),
        (["--http-endpoint=:9808"], "flag provided but not defined: -http-endpoint"),
        (["--probe-timeout=3"], 'invalid value "3" for flag -probe-timeout: parse error'),
        (["--output=yaml"], 'invalid value "yaml" for flag -output: give text or json'),
        (["--output="], 'invalid value "" for flag -output: give text or json'),
        (["--output"], "flag needs an argument: -output"),
        (
            ["--probe-timeout=99ms"],
            '--probe-timeout="99ms" is too short: give at least 100ms, or leave it out for 3s',
        ),
        (
            ["--csi-address=C:\\csi.sock"],
            (
                '--csi-address="C:\\\\csi.sock" is a Windows path, and this is Linux: give the '
                "path of the CSI driver's socket, such as /csi/csi.sock"
            ),
        ),
        # The sidecar ignores such an argument; here that would probe the wrong driver.
        (["/csi/csi.sock"], 'check takes flags only, not "/csi/csi.sock"'),
        (["--", "-\n"], r'check takes flags only, not "-\n"'),
    ],
)
def test_invalid_arguments_are_usage_errors(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_check(argv)
    assert str(caught.value) == message


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_before_the_first_error_is_a_request_for_help(flag: str) -> None:
    with pytest.raises(HelpRequested):
        parse_check([flag, "--nope"])
