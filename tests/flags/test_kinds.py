from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livenessprobe.flags import kinds

TRUE = ["1", "t", "T", "true", "TRUE", "True"]
FALSE = ["0", "f", "F", "false", "FALSE", "False"]


def refusal(read: Callable[[str], object], text: str) -> str | None:
    """Return the error for the text, or None."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("read", [kinds.boolean, kinds.automaxprocs])
def test_booleans_have_go_spellings(read: Callable[[str], bool]) -> None:
    assert [read(text) for text in TRUE] == [True] * 6
    assert [read(text) for text in FALSE] == [False] * 6


@pytest.mark.parametrize("text", ["", "maybe", "yes", "tRUE", " true", "2"])
def test_the_error_of_a_boolean_has_no_reason(text: str) -> None:
    assert refusal(kinds.boolean, text) == "parse error"


@pytest.mark.parametrize("text", ["maybe", "yes", "tRUE", " true", "2"])
def test_the_error_of_automaxprocs_has_a_reason(text: str) -> None:
    assert refusal(kinds.automaxprocs, text) == (
        f'strconv.ParseBool: parsing "{text}": invalid syntax'
    )


def test_an_empty_text_sets_automaxprocs() -> None:
    assert kinds.automaxprocs("") is True


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3s", 3.0),
        ("+3s", 3.0),
        ("-3s", -3.0),
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
        ("0", 0.0),
        ("+0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("1.9999999999999999999999999ns100ms", 0.100000001),
        ("0" * 200_000 + "1s", 1.0),
        ("1." + "0" * 200_000 + "s", 1.0),
        ("2562047h47m16.854775807s", (2**63 - 1) / 10**9),
        ("-9223372036854775808ns", -(2**63) / 10**9),
    ],
)
def test_durations_are_parsed_as_in_go(text: str, seconds: float) -> None:
    assert kinds.duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "abc", "s", ".s", "1", "00", "+", "-", "++1s", "1 s", " 1s", "1s ", "1s\n"),
        *("1S", "1d", "1.5", "1.2.3s", "1e3s", "1s1", "0x1s", "1_0s"),
        "\N{ARABIC-INDIC DIGIT ONE}s",
        "9223372036854775808ns",
        "2562047h47m16.854775808s",
        "-9223372036854775809ns",
        "9" * 200_000 + "h",
        "9" * 200_000,
        "1s" * 100_000 + "x",
        "1." + "0" * 200_000,
    ],
)
def test_a_text_that_is_no_duration_in_go_is_an_error(text: str) -> None:
    assert refusal(kinds.duration, text) == "parse error"


def in_one_unit(nanoseconds: int, unit: str, size: int) -> str:
    whole, fraction = divmod(nanoseconds, size)
    digits = f"{fraction * 10**9 // size:09}".rstrip("0")
    return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"


def in_mixed_units(nanoseconds: int) -> str:
    hours, rest = divmod(nanoseconds, 3_600_000_000_000)
    minutes, rest = divmod(rest, 60_000_000_000)
    return f"{hours}h{minutes}m{in_one_unit(rest, 's', 1_000_000_000)}"


@given(st.integers(min_value=0, max_value=2**63 - 1))
@example(2**63 - 1)
def test_every_duration_is_parsed_back(nanoseconds: int) -> None:
    for text in (
        in_mixed_units(nanoseconds),
        in_one_unit(nanoseconds, "ns", 1),
        in_one_unit(nanoseconds, "us", 1_000),
        in_one_unit(nanoseconds, "ms", 1_000_000),
        in_one_unit(nanoseconds, "s", 1_000_000_000),
    ):
        assert kinds.duration(text) == nanoseconds / 10**9


@given(st.text() | st.text("0123456789.+-nu\N{MICRO SIGN}msh"))
def test_any_text_is_a_duration_or_an_error(text: str) -> None:
    assert refusal(kinds.duration, text) in {None, "parse error"}


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("0", 0),
        ("5", 5),
        ("007", 7),
        ("2147483647", 2**31 - 1),
        ("0" * 200_000 + "4", 4),
    ],
)
def test_a_level_is_a_number_of_31_bits(text: str, level: int) -> None:
    assert kinds.level(text) == level


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "invalid syntax"),
        ("abc", "invalid syntax"),
        ("-1", "invalid syntax"),
        ("+1", "invalid syntax"),
        ("0x1", "invalid syntax"),
        ("1_0", "invalid syntax"),
        ("5 ", "invalid syntax"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "invalid syntax"),
        ("2147483648", "value out of range"),
        ("4294967296", "value out of range"),
        # Go stops at the first digit that is out of range.
        ("99999999999x", "value out of range"),
    ],
)
def test_the_errors_of_a_level_are_those_of_strconv(text: str, problem: str) -> None:
    assert refusal(kinds.level, text) == f'strconv.ParseUint: parsing "{text}": {problem}'


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", ()),
        (",", ()),
        ("main=2", (("main", 2),)),
        ("main=2,driver*=5", (("main", 2), ("driver*", 5))),
        (",a=1,,b=0,", (("a", 1), ("b", 0))),
        ("a=1,a=2", (("a", 1), ("a", 2))),
    ],
)
def test_vmodule_is_a_list_of_patterns_with_levels(
    text: str, pairs: tuple[tuple[str, int], ...]
) -> None:
    assert kinds.vmodule(text) == pairs


@pytest.mark.parametrize("item", ["abc", "=1", "a=", "=", "a=1=2", "a==1"])
def test_an_item_of_vmodule_has_the_pattern_n_format(item: str) -> None:
    assert refusal(kinds.vmodule, f"a=1,{item}") == f'"{item}" does not have the pattern=N format'


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("a=b", 'strconv.ParseUint: parsing "b": invalid syntax'),
        ("a=-1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        ("a=99999999999", 'strconv.ParseUint: parsing "99999999999": value out of range'),
    ],
)
def test_an_item_of_vmodule_has_a_level(item: str, problem: str) -> None:
    assert refusal(kinds.vmodule, f"a=1,{item}") == f'parsing verbosity in "{item}": {problem}'


@pytest.mark.parametrize("text", ["0", "+0", "-0", "00.00", ".0", "0.", "0Ki", "0e3", "0m"])
def test_a_quantity_may_be_zero(text: str) -> None:
    assert kinds.nonzero(text) is False


@pytest.mark.parametrize("text", ["1", "-1", "+.5", "4Ki", "1k", "1M", "2e3", "2E-3", "10n"])
def test_a_quantity_may_be_nonzero(text: str) -> None:
    assert kinds.nonzero(text) is True


@pytest.mark.parametrize("text", ["", "big", ".", "1K", "1kB", "4ki", "1 k", "e3", "1e", "1\n"])
def test_a_malformed_quantity_is_an_error(text: str) -> None:
    assert refusal(kinds.nonzero, text) == "not a quantity such as 512, 1k or 4Ki"


READERS = [
    kinds.boolean,
    kinds.automaxprocs,
    kinds.duration,
    kinds.level,
    kinds.vmodule,
    kinds.nonzero,
]


@pytest.mark.parametrize("read", READERS)
@given(st.text(max_size=5), st.integers(min_value=2_000, max_value=5_000))
def test_a_long_text_is_parsed_or_has_a_short_error(
    read: Callable[[str], object], text: str, times: int
) -> None:
    # Two quotes of 100 characters, each escaped to at most a dozen.
    assert len(refusal(read, text * times) or "") < 2_600


def test_an_output_format_is_text_or_json() -> None:
    assert [kinds.output(text) for text in ("text", "json")] == ["text", "json"]
    assert {refusal(kinds.output, text) for text in ("", "JSON", "yaml", "text ")} == {
        "give text or json"
    }
