import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.server import response


def test_an_answer_has_its_type_and_its_length() -> None:
    answer = response.make(200, "text/x; charset=utf-8", "é".encode())
    assert answer.status == 200
    assert answer.body == b"\xc3\xa9"
    assert answer.headers == (
        (b"content-type", b"text/x; charset=utf-8"),
        (b"content-length", b"2"),
    )


@pytest.mark.parametrize("answer", [response.text(200, "<b>"), response.json({"a": "<b>"})])
def test_no_browser_takes_text_for_html(answer: response.Response) -> None:
    assert dict(answer.headers)[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("ok", b"ok"),
        ("", b""),
        ("two\nlines\r\nand a NUL \0", b"two\nlines\r\nand a NUL \0"),
        ("a lone surrogate \udcff", b"a lone surrogate ?"),
        ("x" * 8192, b"x" * 8192),
        ("x" * 8193, b"x" * 8192),
        ("é" * 5000, "é".encode() * 4096),
        ("x" + "é" * 5000, b"x" + "é".encode() * 4095),  # 8191 bytes, since half an é is none
        ("✗" * 3000, "✗".encode() * 2730),
        ("𝄞" * 3000, "𝄞".encode() * 2048),
    ],
)
def test_text_is_cut_between_characters(words: str, body: bytes) -> None:
    answer = response.text(500, words)
    assert answer.body == body
    assert dict(answer.headers)[b"content-length"] == b"%d" % len(body)
    assert dict(answer.headers)[b"content-type"] == b"text/plain; charset=utf-8"


@given(st.text(st.characters()) | st.text(min_size=200).map(lambda words: words * 50))
def test_text_is_8_kib_of_utf_8_at_most_and_no_character_less(words: str) -> None:
    body = response.text(500, words).body
    whole = words.encode(errors="replace")
    assert len(body) <= 8192
    assert whole.startswith(body)
    assert body.decode() == whole.decode()[: len(body.decode())]
    assert len(body) == len(whole) or len(body) > 8192 - 4
