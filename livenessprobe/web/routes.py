"""The table of what is answered where."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from livenessprobe.health import Question
from livenessprobe.web import browsers, endpoints, grpc_health, status_page, zpages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livenessprobe.flags import Config
    from livenessprobe.health import Verdict
    from livenessprobe.status import Status


def routes(
    config: Config,
    ask: Callable[[Question], Verdict],
    status: Callable[[], Status],
    metrics: endpoints.Endpoint,
    *,
    started_at: float,
) -> Mapping[str, endpoints.Routes]:
    """Return the endpoints by listen address and path.

    `ask` answers a caller, `status` tells what is known to whoever only looks on. `started_at` is
    on the clock of `Status.now`.
    """
    table: dict[str, dict[str, endpoints.Endpoint]] = defaultdict(dict)
    own = table[config.health_address]
    for question in Question:
        own[f"/{question.value}"] = endpoints.health(
            question.value, partial(ask, question), lambda: status().driver_name
        )
    own |= grpc_health.routes(ask)
    statusz = zpages.statusz(status, started_at=started_at, paths=own)
    pages = {
        "/": browsers.html_for_browsers(status_page.page, endpoints.not_found),
        "/status.json": status_page.data(
            status, started_at=started_at, socket_path=config.socket_path, flags=config.texts
        ),
        "/statusz": browsers.html_for_browsers(status_page.page, statusz),
        "/flagz": zpages.flagz(config.texts),
    }
    own |= {
        path: endpoints.over_http_1(browsers.own_names_only(page)) for path, page in pages.items()
    }
    if config.metrics_address is not None:
        table[config.metrics_address][config.metrics_path] = endpoints.over_http_1(metrics)
    return table
