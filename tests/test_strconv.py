import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe import strconv


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("/csi/csi.sock", '"/csi/csi.sock"'),
        ('a "b" \\', r'"a \"b\" \\"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("Größe 日本", '"Größe 日本"'),
        ("\0\x1b[2J\x7f", r'"\x00\x1b[2J\x7f"'),
        ("\x85\u2028\u202e", r'"\u0085\u2028\u202e"'),
        ("\U000e0001", r'"\U000e0001"'),
        ("\udcff", r'"\xff"'),
        ("\ud800", r'"\ud800"'),
    ],
)
def test_strings_are_quoted_as_in_go(text: str, quoted: str) -> None:
    assert strconv.quote(text) == quoted


def test_characters_to_keep_are_not_escaped() -> None:
    assert strconv.escape("a\tb\nc", keep="\t") == "a\tb\\nc"


@given(st.text())
def test_any_quoted_text_is_one_printable_line(text: str) -> None:
    assert strconv.quote(text).isprintable()


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["C", "Z"]) | st.just(" ")))
def test_printable_text_is_quoted_as_in_json(text: str) -> None:
    assert strconv.quote(text) == json.dumps(text, ensure_ascii=False)


@given(st.text(st.characters() | st.sampled_from("\ud800\udcff")))
def test_without_surrogates_replaces_only_surrogates(text: str) -> None:
    assert strconv.without_surrogates(text) == "".join(
        "\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text
    )
