"""Who answers, whatever way a request came: asks the endpoint, and loses no bug of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from livenessprobe.web.endpoints import Routes, answer
from livenessprobe.web.response import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from livenessprobe.web.request import Request
    from livenessprobe.web.response import Response

    Observe = Callable[[str, int, float], None]
    """Is told of an answer: the path that was asked, the status, and the seconds it took."""

_BUG = text(500, "livenessprobe has a bug, see its log\n")

OTHER = "other"
"""Stands for all paths at which there is nothing; there may be any number of them."""


class Responder:
    """Answers from `routes`, and tells `observe` of each answer.

    An endpoint that fails has a bug, which `report` is told; it ends the program.
    """

    def __init__(
        self, routes: Routes, observe: Observe, report: Callable[[Exception], None]
    ) -> None:
        self._routes = routes
        self._observe = observe
        self._report = report

    def respond(self, request: Request) -> Response:
        """Return the answer."""
        try:
            return answer(self._routes, request)
        except Exception as bug:  # noqa: BLE001 - it is reported
            self._report(bug)
            return _BUG

    def sent(self, path: str, status: int, *, started_at: float) -> None:
        """Note that an answer was handed over, to a request read at that time of trio's clock."""
        endpoint = path if path in self._routes else OTHER
        self._observe(endpoint, status, trio.current_time() - started_at)
