"""Wrappers that limit an endpoint to browsers, to HTTP/1, or to the host's own names."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from livenessprobe.server import response

if TYPE_CHECKING:
    from livenessprobe.server.asgi import Endpoint
    from livenessprobe.server.request import Request
    from livenessprobe.server.response import Response

_NOT_OVER_HTTP_2 = response.text(505, "this is answered over HTTP/1.1 only\n")

_FOREIGN_HOST = response.text(
    403,
    "This is shown under an IP address or as localhost only: under another name, it could be a "
    "foreign site's script that asks. Try kubectl port-forward.\n",
)


def html_for_browsers(page: Endpoint, otherwise: Endpoint) -> Endpoint:
    """Return the endpoint that is `page` for requests that accept HTML by name, as browsers do.

    A kubelet does not. One whose manifest names no path asks for "/", and would take any page with
    status 200 for a healthy driver.
    """

    def endpoint(request: Request) -> Response:
        wants_html = request.accepts(b"text/html", rather_than=b"text/plain")
        return (page if wants_html else otherwise)(request)

    return endpoint


def over_http_1(endpoint: Endpoint) -> Endpoint:
    """Return `endpoint` with 505 for HTTP/2, which browsers and Prometheus speak with TLS only.

    Each stream of a client that does not read holds a response in memory, and these are large.
    """

    def guarded(request: Request) -> Response:
        return _NOT_OVER_HTTP_2 if request.http_version == "2" else endpoint(request)

    return guarded


def own_names_only(endpoint: Endpoint) -> Endpoint:
    """Return `endpoint` with 403 for requests whose Host may be the name of a foreign site.

    This prevents DNS rebinding: a site can let its name resolve to this address, and its visitors'
    browsers then let its scripts read the response.
    """

    def guarded(request: Request) -> Response:
        host = request.header(b"host").decode("latin-1")
        return endpoint(request) if _is_own_name(host) else _FOREIGN_HOST

    return guarded


def _is_own_name(host: str) -> bool:
    name = re.sub(r":\d*$", "", host).lower()
    if name in {"", "localhost"}:  # a browser always sends Host
        return True
    try:
        if in_brackets := re.fullmatch(r"\[([^%]*)\]", name):
            IPv6Address(in_brackets[1])
        else:
            IPv4Address(name)
    except ValueError:
        return False
    return True
