from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from livenessprobe import exposition

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats() | st.integers(-(10**18), 10**18).map(float)

Samples = list[tuple[str, dict[str, str], str]]


def samples(text: bytes) -> tuple[list[tuple[str, str, str]], Samples]:
    """What Prometheus' own parser reads: the families, and the samples of all of them."""
    families = list(text_string_to_metric_families(text.decode()))
    return (
        [(family.name, family.type, family.documentation) for family in families],
        [(s.name, _bounds(s.labels), repr(s.value + 0.0)) for f in families for s in f.samples],
    )


def _bounds(labels: dict[str, str]) -> dict[str, str]:
    return {k: repr(float(v)) if k == "le" else v for k, v in labels.items()}


@given(WORDS, WORDS, NUMBERS, st.floats(0, 1e300))
def test_the_text_says_what_the_librarys_own_says(
    documentation: str, label: str, gauge: float, count: float
) -> None:
    registry = CollectorRegistry()
    Gauge("a", documentation, registry=registry).set(gauge)
    Gauge("b", "two labels", ["x", "y"], registry=registry).labels(label, "1").set(1)
    Counter("c", documentation, ["x"], registry=registry).labels(label).inc(count)
    histogram = Histogram("d", "buckets", ["x"], buckets=[0.0025, 1, 600], registry=registry)
    histogram.labels(label).observe(2.5)
    assert samples(exposition.text(registry)) == samples(generate_latest(registry))


def test_it_is_as_the_reference_writes_it() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("a", 'one\n"two" \\', ["x"], buckets=[0.0025, 1, 600], registry=registry)
    histogram.labels('"\\\n').observe(0.5)
    assert exposition.text(registry).decode().splitlines() == [
        r'# HELP a one\n"two" \\',
        "# TYPE a histogram",
        r'a_bucket{x="\"\\\n",le="0.0025"} 0',
        r'a_bucket{x="\"\\\n",le="1"} 1',
        r'a_bucket{x="\"\\\n",le="600"} 1',
        r'a_bucket{x="\"\\\n",le="+Inf"} 1',
        r'a_count{x="\"\\\n"} 1',
        r'a_sum{x="\"\\\n"} 0.5',
    ]


def test_the_content_types() -> None:
    assert exposition.TEXT_CONTENT_TYPE == (
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    )
    assert exposition.OPENMETRICS_CONTENT_TYPE == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )


def test_openmetrics_names_its_buckets_as_it_should() -> None:
    registry = CollectorRegistry()
    Histogram("a", "buckets", buckets=[1], registry=registry)
    assert b'le="1.0"' in exposition.openmetrics(registry)
    assert exposition.openmetrics(registry).endswith(b"# EOF\n")
