"""The table of routes: endpoints by listen address and path."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from livenessprobe.endpoints import browsers, grpc_health, status_page, zpages
from livenessprobe.endpoints.health import health
from livenessprobe.endpoints.not_found import NOT_FOUND
from livenessprobe.health.verdict import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livenessprobe.flags import Config
    from livenessprobe.health.verdict import Verdict
    from livenessprobe.server.asgi import Endpoint, Routes
    from livenessprobe.telemetry.status import Status


def routes(
    config: Config,
    ask: Callable[[Question], Verdict],
    status: Callable[[], Status],
    metrics: Endpoint,
    *,
    started_at: float,
) -> Mapping[str, Routes]:
    """Return the endpoints by listen address and path.

    `ask` answers health questions and counts each as a caller's request; `status` is for everything
    that only shows the state. `started_at` is in seconds on the clock of `Status.now`.
    """
    table: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    own = table[config.health_address]
    for question in Question:
        own[f"/{question.value}"] = health(
            question.value, partial(ask, question), lambda: status().driver_name
        )
    own |= grpc_health.routes(ask)
    statusz = zpages.statusz(status, started_at=started_at, paths=own)
    pages = {
        "/": browsers.html_for_browsers(status_page.page, lambda _: NOT_FOUND),
        "/status.json": status_page.data(
            status, started_at=started_at, socket_path=config.socket_path, flags=config.texts
        ),
        "/statusz": browsers.html_for_browsers(status_page.page, statusz),
        "/flagz": zpages.flagz(config.texts),
    }
    own |= {
        path: browsers.over_http_1(browsers.own_names_only(page)) for path, page in pages.items()
    }
    if config.metrics_address is not None:
        table[config.metrics_address][config.metrics_path] = browsers.over_http_1(metrics)
    return table
