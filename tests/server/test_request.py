import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.server.request import Request


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"verbose", True),
        (b"verbose=", True),
        (b"verbose=0", True),  # as the Kubernetes API server has it
        (b"a=1&verbose&b", True),
        (b"", False),
        (b"Verbose", False),
        (b"a=verbose", False),
        (b"verbosely=1", False),
        (b"%ff=&;&&=\xff\x00", False),
    ],
)
def test_a_parameter_is_there_or_not(query: bytes, *, found: bool) -> None:
    assert Request(path="/", query=query).asks_for(b"verbose") is found


def test_the_first_header_field_of_a_name_counts() -> None:
    request = Request(path="/", headers=[(b"a", b"1"), (b"b", b"2"), (b"b", b"3")])
    assert [request.header(name) for name in (b"a", b"b", b"c")] == [b"1", b"2", b""]


@given(st.binary())
def test_whatever_the_query_is_it_has_the_parameter_or_not(query: bytes) -> None:
    assert not Request(path="/", query=query.replace(b"e", b"")).asks_for(b"verbose")
    assert Request(path="/", query=query + b"&verbose&" + query).asks_for(b"verbose")
