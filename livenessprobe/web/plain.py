"""The plain request: all of HTTP/1 that a kubelet speaks, answered in one function call.

It has no body and came whole, in one piece. h11 reads it, and no task has to wait for anything.
Whatever is not that plain is for hypercorn, from its first byte on: a body, an upgrade, HTTP/2,
half a request, and what is no HTTP at all.

h11 could write the answer, too. It would check each header field, which are our own, and that
takes longer than all the rest.
"""

from __future__ import annotations

from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote
from wsgiref.handlers import format_date_time

import h11

from livenessprobe.web.pieces import MANY_BLANKS
from livenessprobe.web.request import Request, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.web.response import Response

_VERSIONS = {b"1.0", b"1.1"}

_CLOSE = ((b"connection", b"close"),)

_HAS_ASKED = {h11.DONE, h11.MUST_CLOSE}
"""What h11 says of a client whose request is over, and that waits for nothing but the answer."""


class Answered(NamedTuple):
    """What comes of a plain request."""

    path: str
    """What was asked."""
    status: int
    data: bytes
    """To be sent."""
    unread: bytes
    """What the client has said beyond this request."""
    is_last: bool
    """Whether the connection has to be closed after it."""


def answer(said: bytes, respond: Callable[[Request], Response]) -> Answered | None:
    """Answer the request that the client's words begin with; None if it is not a plain one."""
    if MANY_BLANKS.search(said):
        return None
    http = h11.Connection(h11.SERVER)
    http.receive_data(said)
    try:
        head, end = http.next_event(), http.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(head, h11.Request) or not isinstance(end, h11.EndOfMessage):
        return None
    if http.their_state not in _HAS_ASKED or head.http_version not in _VERSIONS:
        return None
    request = _request(head)
    response = respond(request)
    is_last = http.their_state is h11.MUST_CLOSE
    unread, _ = http.trailing_data
    return Answered(
        path=request.path,
        status=response.status,
        data=_written(response, without_body=request.method == "HEAD", is_last=is_last),
        unread=unread,
        is_last=is_last,
    )


def _request(head: h11.Request) -> Request:
    target, _, query = head.target.partition(b"?")
    return Request(
        path=path_of(unquote(target.decode("ascii"))),
        query=query,
        headers=head.headers,
        method=head.method.decode("ascii"),
        http_version=head.http_version.decode("ascii"),
    )


def _written(response: Response, *, without_body: bool, is_last: bool) -> bytes:
    date = format_date_time(time()).encode("ascii")
    fields = [*response.headers, (b"date", date), *(_CLOSE if is_last else ())]
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (
        response.status,
        HTTPStatus(response.status).phrase.encode("ascii"),
        b"".join(b"%s: %s\r\n" % field for field in fields),
        b"" if without_body else response.body,
    )
