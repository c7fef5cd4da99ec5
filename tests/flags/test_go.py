import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.flags.go import HelpRequested, Kind, UsageError, quote, scan


def read_number(text: str) -> None:
    if not text.isdigit():
        raise ValueError("no number")


KINDS = {
    "text": Kind(read=str),
    "t": Kind(read=str),
    "number": Kind(read=read_number),
    "switch": Kind(read=read_number, switch=True),  # its value "true" would be an error of `read`
    "loud": Kind(read=str, switch=True),
    "list": Kind(read=read_number, adds_up=True),
}


@pytest.mark.parametrize(
    ("argv", "given"),
    [
        ([], {}),
        (["-text=a"], {"text": "a"}),
        (["--text=a"], {"text": "a"}),
        (["-text", "a"], {"text": "a"}),
        (["--text", "a"], {"text": "a"}),
        (["-t=a"], {"t": "a"}),
        (["--text="], {"text": ""}),
        (["--text", ""], {"text": ""}),
        (["--text=a=b"], {"text": "a=b"}),
        (["--text=a\nb"], {"text": "a\nb"}),
        (["--text", "--text=a"], {"text": "--text=a"}),
        (["--text", "--"], {"text": "--"}),
        (["--loud"], {"loud": "true"}),
        (["--loud=off"], {"loud": "off"}),
        (["--loud="], {"loud": ""}),
        (["--number=1", "--text=a", "--number=2"], {"number": "2", "text": "a"}),
        (["--list=1", "--text=a", "--list", "2", "--list=3"], {"list": "1,2,3", "text": "a"}),
    ],
)
def test_flags_are_parsed_in_go_syntax(argv: list[str], given: dict[str, str]) -> None:
    texts, rest = scan(argv, KINDS)
    # The order is that of first appearance.
    assert (list(texts.items()), list(rest)) == (list(given.items()), [])


@pytest.mark.parametrize(
    ("argv", "rest"),
    [
        (["--", "-t=b"], ["-t=b"]),
        (["--"], []),
        (["-", "-t=b"], ["-", "-t=b"]),
        (["", "-t=b"], ["", "-t=b"]),
        (["a", "-t=b"], ["a", "-t=b"]),
        (["--loud", "false", "--nope", "--help"], ["false", "--nope", "--help"]),
    ],
)
def test_two_dashes_or_an_argument_that_is_not_a_flag_end_the_flags(
    argv: list[str], rest: list[str]
) -> None:
    texts, left = scan(["-t=a", *argv], KINDS)
    assert (texts["t"], list(left)) == ("a", rest)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nope"], "flag provided but not defined: -nope"),
        (["-nope=1"], "flag provided but not defined: -nope"),
        (["--TEXT=1"], "flag provided but not defined: -TEXT"),
        (["-ta"], "flag provided but not defined: -ta"),
        (["---text=a"], "bad flag syntax: ---text=a"),
        (["-=a"], "bad flag syntax: -=a"),
        (["--=a"], "bad flag syntax: --=a"),
        (["--text"], "flag needs an argument: -text"),
        (["--text=a", "-t"], "flag needs an argument: -t"),
        (["--number=a"], 'invalid value "a" for flag -number: no number'),
        (["--number", "-1"], 'invalid value "-1" for flag -number: no number'),
        (["--list=1", "--list=a"], 'invalid value "a" for flag -list: no number'),
        (["--switch=a"], 'invalid boolean value "a" for -switch: no number'),
        (["--switch="], 'invalid boolean value "" for -switch: no number'),
        # Control characters in an argument are escaped.
        (["---a\nb"], r'bad flag syntax: "---a\nb"'),
        (["--a\x9bb"], r'flag provided but not defined: -"a\u009bb"'),
        (["--number=\n"], r'invalid value "\n" for flag -number: no number'),
    ],
)
def test_errors_have_the_text_of_go(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        scan(argv, KINDS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "argv", [["-h"], ["--h"], ["-help"], ["--help"], ["--help=no"], ["-t=a", "-h", "--nope"]]
)
def test_help_before_the_first_error_is_a_request_for_help(argv: list[str]) -> None:
    with pytest.raises(HelpRequested):
        scan(argv, KINDS)


def test_an_error_before_help_is_raised() -> None:
    with pytest.raises(UsageError, match="-nope"):
        scan(["--nope", "--help"], KINDS)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("/csi/csi.sock", '"/csi/csi.sock"'),
        ('a "b" \\', r'"a \"b\" \\"'),
        ("Größe 日本", '"Größe 日本"'),
        ("\r\n\t", r'"\r\n\t"'),
        ("\0", r'"\x00"'),
        ("é\x1b[2J", r'"é\x1b[2J"'),
        ("\u202e", r'"\u202e"'),
        ("\udcff", r'"\xff"'),
        ("x" * 100, '"' + "x" * 100 + '"'),
        ("x" * 101, '"' + "x" * 100 + '"...'),
        ("\0" * 200_000, '"' + r"\x00" * 100 + '"...'),
    ],
)
def test_a_quoted_text_is_short_and_escaped(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@given(st.text(st.characters()))
def test_any_quoted_text_is_one_line(text: str) -> None:
    quoted = quote(text)
    assert quoted.isprintable()
    assert quoted.encode()
