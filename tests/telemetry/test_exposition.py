import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from livenessprobe.telemetry.exposition import CONTENT_TYPE, family, number, series

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats(allow_nan=False) | st.integers(-(10**18), 10**18)


@given(TEXTS, TEXTS, NUMBERS)
def test_prometheus_own_parser_reads_what_was_written(
    documentation: str, label: str, value: float
) -> None:
    documentation = f"({documentation})"  # the parser strips blanks at its ends
    text = family("a", "gauge", documentation, [(series("a", x=label, y="1"), value)])
    (read,) = text_string_to_metric_families(text)
    assert (read.name, read.type, read.documentation) == ("a", "gauge", documentation)
    (sample,) = read.samples
    assert (sample.name, sample.labels, sample.value) == ("a", {"x": label, "y": "1"}, value)


def test_texts_are_escaped_as_in_go() -> None:
    text = family("a", "gauge", 'one\n"two" \\', [(series("a", x='"\\\n'), 1)])
    assert text.splitlines() == [
        r'# HELP a one\n"two" \\',
        "# TYPE a gauge",
        r'a{x="\"\\\n"} 1',
    ]


def test_a_series_without_labels_is_its_name() -> None:
    assert series("a") == "a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), (True, "1"), (0.25, "0.25"), (1e300, "1e+300"), (-0.0, "-0")],
)
def test_a_whole_number_has_no_point(value: float, text: str) -> None:
    assert number(value) == text


def test_the_content_type_is_the_references() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
