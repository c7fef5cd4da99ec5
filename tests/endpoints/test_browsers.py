import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe.endpoints import browsers
from livenessprobe.server import response
from livenessprobe.server.request import Request

PAGE, OTHERWISE = response.text(200, "page"), response.text(404, "otherwise")


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PAGE),
        (b"text/html", PAGE),
        (b"*/*", OTHERWISE),  # a kubelet's, and curl's
        (b"", OTHERWISE),
        (b"application/json", OTHERWISE),
        (b"text/*", OTHERWISE),
        (b"text/html;q=0, */*", OTHERWISE),
        (b"text/plain, text/html;q=0.1", OTHERWISE),
        (b"text/html;q=0.1, text/plain;q=0.1", PAGE),
    ],
)
def test_a_page_is_for_whoever_asks_for_html(accept: bytes, answer: response.Response) -> None:
    endpoint = browsers.html_for_browsers(lambda _: PAGE, lambda _: OTHERWISE)
    assert endpoint(Request(path="/", headers=[(b"accept", accept)])) is answer


def ask_under(host: bytes) -> response.Response:
    endpoint = browsers.own_names_only(lambda _: PAGE)
    return endpoint(Request(path="/", headers=[(b"host", host)]))


@pytest.mark.parametrize(
    "host",
    [
        *(b"localhost", b"localhost:9808", b"LocalHost:9808"),
        *(b"10.1.2.3", b"10.1.2.3:9808", b"[::1]", b"[::1]:9808", b""),
    ],
)
def test_an_address_and_localhost_are_own_names(host: bytes) -> None:
    assert ask_under(host) is PAGE


@pytest.mark.parametrize(
    "host",
    [
        *(
            b"evil.example",
            b"evil.example:9808",
            b"localhost.evil.example",
            b"10.1.evil.example",
        ),
        *(
            b"[127.0.0.1]",
            b"127.0.0.1]",
            b"[fe80::1%evil.example]",
            b"fe80::1%evil.example",
            b"::1",
        ),
        *(b"evil", b"user@10.1.2.3", b"10.1.2.3,evil.example", b"[::1].evil.example", b"\xff"),
    ],
)
def test_any_other_name_may_be_a_foreign_sites(host: bytes) -> None:
    answer = ask_under(host)
    assert answer.status == 403
    assert b"kubectl port-forward" in answer.body


def test_no_browser_leaves_the_host_out() -> None:
    assert browsers.own_names_only(lambda _: PAGE)(Request(path="/")) is PAGE


@given(st.binary())
def test_any_host_is_one_or_the_other(host: bytes) -> None:
    assert ask_under(host).status in {200, 403}


def test_what_is_long_is_not_shown_over_http_2() -> None:
    endpoint = browsers.over_http_1(lambda _: PAGE)
    assert endpoint(Request(path="/")) is PAGE
    assert endpoint(Request(path="/", http_version="2")).status == 505
