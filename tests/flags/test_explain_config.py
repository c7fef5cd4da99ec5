import pytest

from livenessprobe.flags import ExplainConfig, HelpRequested, UsageError, parse_explain


@pytest.mark.parametrize(
    ("argv", "config"),
    [
        ([], ExplainConfig(files=(), output="text", reference=False)),
        (["-"], ExplainConfig(files=("-",), output="text", reference=False)),
        (
            ["--output=json", "-reference", "a.json", "b.json"],
            ExplainConfig(files=("a.json", "b.json"), output="json", reference=True),
        ),
        (["--reference=false", "--"], ExplainConfig(files=(), output="text", reference=False)),
    ],
)
def test_what_the_arguments_say_is_what_the_config_says(
    argv: list[str], config: ExplainConfig
) -> None:
    assert parse_explain(argv) == config


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--v=5"], "flag provided but not defined: -v"),
        (["--output=yaml"], 'invalid value "yaml" for flag -output: give text or json'),
        (["--reference=maybe"], 'invalid boolean value "maybe" for -reference: parse error'),
        (["a.json", "--reference"], 'flags go before the files: "--reference" does not'),
    ],
)
def test_bad_usage_is_told_in_the_words_of_gos_flag_package(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_explain(argv)


def test_help_is_asked_for() -> None:
    with pytest.raises(HelpRequested):
        parse_explain(["--help"])
