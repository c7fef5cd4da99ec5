"""A real Chromium, headless, and what it says of the status page.

    with open_chromium() as browser, browser.new_context() as context:
        tab = Tab(context)
        tab.open("http://127.0.0.1:9808/")
        expect(tab.state).to_have_text("Healthy")

A context is like a fresh profile. The page is looked at as its readers do, who see text and hear
of roles and names; no test knows its ids and classes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Route,
    expect,
    sync_playwright,
)

from livenessprobe.endpoints import status_page
from livenessprobe.server.request import Request
from tests.e2e.harness import TIMEOUT
from tests.world import World

CHROMIUM = Path("/usr/bin/chromium")

# No sandbox, as it needs privileges that a container has not; and no calls home.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

URL = "http://sidecar.test/"
"""Where a `World` is shown."""

FLAGS = {
    "csi-address": "/csi/csi.sock",
    "health-port": "9808",
    "http-endpoint": "",
    "metrics-path": "/metrics",
    "probe-interval": "auto",
    "probe-timeout": "3s",
    "v": "0",
}


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Start the browser; it ends with the block."""
    if not CHROMIUM.exists():
        raise RuntimeError(f"{CHROMIUM} is not there; it is in the Debian package chromium")
    expect.set_options(timeout=TIMEOUT * 1000)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) as browser,
    ):
        yield browser


def show(context: BrowserContext, world: World) -> None:
    """Let tabs of `context` find the page at `URL`, from the real endpoints, about this world."""
    endpoints = {
        "/": status_page.page,
        "/status.json": status_page.data(
            world, started_at=0.0, socket_path=FLAGS["csi-address"], flags=FLAGS
        ),
    }

    def answer(route: Route) -> None:
        path = urlsplit(route.request.url).path
        response = endpoints[path](Request(path=path))
        headers = {name.decode(): value.decode() for name, value in response.headers}
        route.fulfill(status=response.status, headers=headers, body=response.body)

    context.route(f"{URL}**", answer)


class Tab:
    """A tab that shows the page; it keeps what the browser fetched, and what it complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str = URL) -> None:
        """Open the page, and wait until it has something to show."""
        self.page.goto(url)
        expect(self.region("Schedule")).to_be_visible()

    def wait_for_requests(self, more: int) -> None:
        """Wait until so many more have been made."""
        target = len(self.requests) + more
        deadline = time.monotonic() + TIMEOUT
        while len(self.requests) < target:
            if time.monotonic() > deadline:
                raise TimeoutError(f"still {len(self.requests)} requests")
            self.page.wait_for_timeout(50)  # in which the browser's events come in

    @property
    def state(self) -> Locator:
        """The words that a screen reader speaks when they change."""
        return self.page.get_by_role("status")

    @property
    def driver_name(self) -> Locator:
        """The page's own heading."""
        return self.page.get_by_role("heading", level=1)

    @property
    def chart(self) -> Locator:
        """The hour as a picture."""
        return self.page.get_by_role("img", name="Latencies and states of the Probes over time")

    @property
    def history(self) -> Locator:
        """That picture with the words below it."""
        return self.page.get_by_role("figure")

    @property
    def changes(self) -> Locator:
        """The rows of the table of changes, the head not among them; the newest comes first."""
        return self.page.get_by_role("table").get_by_role("row").filter(has=self._cells)

    def region(self, name: str) -> Locator:
        """The part of the page under this heading."""
        return self.page.get_by_role("region", name=name, exact=True)

    @property
    def _cells(self) -> Locator:
        return self.page.get_by_role("cell")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)
