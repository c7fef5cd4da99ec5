"""The page of a real process in a real browser, while driver, process and reader come and go."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import Tab
from tests.csi_driver import DRIVER_NAME, CsiDriver, error, named
from tests.e2e.harness import DriverProcess, Sidecar, free_port, wait_until

SILENT = "livenessprobe itself does not answer"

# Milliseconds on the page from one question to the next, with the time of the answer.
ROUND = 1100


class Site:
    """Where a sidecar's page is: the same address for one that follows it."""

    def __init__(self, csi_socket: Path, tmp_path: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._flags = (f"--csi-address={csi_socket}", f"--http-endpoint=127.0.0.1:{self.port}")
        self._log = tmp_path / "sidecar.log"
        self._stack = stack

    def start(self, *flags: str) -> Sidecar:
        # Long enough for a busy driver to tell its name, before the next Probe cancels that call.
        fast = ("--probe-interval=500ms", "--probe-timeout=500ms")
        sidecar = Sidecar(*self._flags, *fast, *flags, log=self._log)
        self._stack.enter_context(sidecar).wait_for_listeners(1)
        return sidecar


@pytest.fixture
def site(csi_socket: Path, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(csi_socket, tmp_path, stack)


@pytest.fixture
def driver(csi_socket: Path) -> Iterator[DriverProcess]:
    with DriverProcess(csi_socket) as driver:
        yield driver


def open_healthy(tab: Tab, site: Site) -> None:
    """Open the page, and wait until it shows a healthy driver and its name."""
    tab.open(site.url)
    expect(tab.state).to_have_text("Healthy")
    expect(tab.driver_name).to_have_text(DRIVER_NAME)


def expect_state(tab: Tab, state: str, title: str) -> None:
    """Expect what readers see of the state: words, the tab's title, the newest of the changes."""
    word = "Healthy" if state == "ready" else f"Not healthy: {state}"
    expect(tab.state).to_have_text(word)
    expect(tab.page).to_have_title(f"{title}{DRIVER_NAME} — livenessprobe")
    expect(tab.changes.first).to_contain_text(state)
    expect(tab.changes.first).to_contain_text("so far")


def test_the_page_follows_the_driver_through_its_life(
    site: Site, tab: Tab, csi_socket: Path, driver: DriverProcess
) -> None:
    site.start()
    tab.open(site.url)
    tab.page.evaluate("window.mark = 'the same document'")
    health = tab.region(DRIVER_NAME)

    expect_state(tab, "ready", "✓ ")
    expect(health).to_contain_text(str(csi_socket))
    expect(health).to_contain_text(re.compile(r"Healthy for \d.* since \d\d:\d\d:\d\d\."))
    expect(health).to_contain_text(re.compile(r"The last Probe took \d.* ended \d.* ago\."))

    driver.tell("hang")
    expect_state(tab, "timed out", "✗ timed out: ")
    expect(health).to_contain_text("context deadline exceeded")
    expect(tab.history).to_contain_text(re.compile(r"the slowest took [5-9]\d\d\sms"))

    driver.tell("not-ready")
    expect_state(tab, "not ready", "✗ not ready: ")
    expect(health).to_contain_text("driver responded but is not ready")

    driver.tell("error 9 the storage backend is on fire")
    expect_state(tab, "failed", "✗ failed: ")
    reason = "rpc error: code = FailedPrecondition desc = the storage backend is on fire"
    expect(health).to_contain_text(reason)
    expect(tab.changes.first).to_contain_text(reason)

    # The first Probe may reach the process while it dies, and fail too: that is no change.
    driver.signal(SIGKILL)
    expect_state(tab, "unreachable", "✗ unreachable: ")
    expect(health).to_contain_text(f"{csi_socket}: connection refused")
    expect(tab.region("Totals")).to_contain_text(re.compile(r"Failing in a row[1-9]"))

    with DriverProcess(csi_socket):
        expect_state(tab, "ready", "✓ ")
        expect(health).not_to_contain_text("connection refused")

    states = ["ready", "timed out", "not ready", "failed", "unreachable", "ready"]
    expect(tab.changes).to_contain_text(states[::-1])
    assert tab.page.evaluate("window.mark") == "the same document"
    assert set(tab.requests) == {site.url, f"{site.url}status.json"}


def test_what_is_shown_before_there_is_a_driver(site: Site, tab: Tab, csi_socket: Path) -> None:
    site.start()
    tab.open(site.url)
    expect(tab.state).to_have_text("Not healthy: unreachable")
    expect(tab.driver_name).to_have_text("CSI driver, name unknown")
    expect(tab.region("CSI driver, name unknown")).to_contain_text("no such file")
    expect(tab.page).to_have_title("✗ unreachable: CSI driver, name unknown — livenessprobe")
    with DriverProcess(csi_socket):
        expect(tab.driver_name).to_have_text(DRIVER_NAME)
        expect(tab.state).to_have_text("Healthy")


def test_a_process_that_is_gone_leaves_no_verdict_behind_and_one_that_follows_is_shown(
    site: Site, tab: Tab, driver: DriverProcess
) -> None:
    sidecar = site.start()
    open_healthy(tab, site)

    sidecar.stop()
    expect(tab.state).to_have_text(SILENT)
    expect(tab.page).to_have_title(f"! no answer: {DRIVER_NAME} — livenessprobe")
    health = tab.region(DRIVER_NAME)
    expect(health).to_contain_text(re.compile(r"Since \d\d:\d\d:\d\d, for [1-9]"))
    expect(health).to_contain_text(re.compile(r'at \d\d:\d\d:\d\d, was "Healthy"'))
    expect(tab.page.get_by_role("banner")).to_contain_text("old: as of")

    site.start()
    expect(tab.state).to_have_text("Healthy")
    expect(health).not_to_contain_text("Its last word")
    expect(tab.page.get_by_role("banner")).not_to_contain_text("old")
    # The browser's own words; what else it says is a defect.
    refused = "Failed to load resource: net::ERR_CONNECTION_REFUSED"
    assert set(tab.complaints) == {refused}
    tab.complaints.clear()


def test_a_process_that_is_halted_leaves_no_verdict_behind(
    site: Site, tab: Tab, driver: DriverProcess
) -> None:
    sidecar = site.start()
    open_healthy(tab, site)
    sidecar.send_signal(SIGSTOP)
    try:
        expect(tab.state).to_have_text(SILENT)
    finally:
        sidecar.send_signal(SIGCONT)
    expect(tab.state).to_have_text("Healthy")


def test_an_answer_that_is_no_status_is_told_as_such(
    site: Site, tab: Tab, driver: DriverProcess
) -> None:
    site.start()
    open_healthy(tab, site)
    tab.page.route("**/status.json", lambda route: route.fulfill(status=502, body="a proxy's"))
    expect(tab.state).to_have_text(SILENT)
    expect(tab.region(DRIVER_NAME)).to_contain_text("HTTP status 502")
    tab.page.unroute_all()
    expect(tab.state).to_have_text("Healthy")
    assert all("502" in complaint for complaint in tab.complaints)
    tab.complaints.clear()


def test_an_answer_that_the_page_cannot_show_leaves_no_verdict_behind(
    site: Site, tab: Tab, driver: DriverProcess
) -> None:
    site.start()
    open_healthy(tab, site)
    tab.page.route("**/status.json", lambda route: route.fulfill(json={}))
    expect(tab.state).to_have_text("This page has a bug")
    expect(tab.page).to_have_title("! bug — livenessprobe")
    expect(tab.region(DRIVER_NAME)).to_contain_text("TypeError")
    (complaint,) = tab.complaints  # the browser tells its console
    assert complaint in tab.region(DRIVER_NAME).inner_text()
    tab.complaints.clear()


# Headless Chromium hides no tab, so the document is told that it is hidden.
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_page_asks_nobody_and_says_that_it_is_old(
    site: Site, tab: Tab, driver: DriverProcess
) -> None:
    site.start()
    open_healthy(tab, site)
    tab.page.evaluate(HIDE, arg=True)
    expect(tab.page).to_have_title(f"⏸ ✓ {DRIVER_NAME} — livenessprobe")
    expect(tab.page.get_by_role("banner")).to_contain_text("paused: as of")
    asked = len(tab.requests)
    driver.tell("error 13 broken meanwhile")
    tab.page.wait_for_timeout(3 * ROUND)  # that nothing happens takes time to see
    assert len(tab.requests) == asked
    tab.page.evaluate(HIDE, arg=False)
    expect(tab.state).to_have_text("Not healthy: failed")
    expect(tab.page.get_by_role("banner")).not_to_contain_text("paused")


COUNT_ANNOUNCEMENTS = """() => {
    window.announcements = [];
    new MutationObserver(() => window.announcements.push(status.textContent)).observe(
        document.querySelector("[role=status]"),
        { childList: true, characterData: true, subtree: true },
    );
    const status = document.querySelector("[role=status]");
}"""


def test_a_screen_reader_hears_of_changes_only(site: Site, tab: Tab, driver: DriverProcess) -> None:
    site.start()
    open_healthy(tab, site)
    tab.page.evaluate(COUNT_ANNOUNCEMENTS)
    tab.wait_for_requests(3)
    assert tab.page.evaluate("window.announcements") == []
    driver.tell("error 13 broken")
    expect(tab.state).to_have_text("Not healthy: failed")
    tab.wait_for_requests(2)
    assert tab.page.evaluate("window.announcements") == ["Not healthy: failed"]


def test_who_asks_is_shown_and_the_page_is_none_of_them(
    site: Site, tab: Tab, driver: DriverProcess
) -> None:
    sidecar = site.start("--probe-interval=auto")
    tab.open(site.url)
    schedule = tab.region("Schedule")
    expect(schedule).to_contain_text("auto, follows the callers")
    tab.wait_for_requests(4)
    expect(schedule).to_contain_text("none known")
    for _ in range(4):
        assert sidecar.ask().status == 200
        time.sleep(1.0)  # a kubelet's period
    expect(schedule).to_contain_text(re.compile(r"every 1\ss, next (in \d|now)"))


# Names and messages as nobody should choose them; the name has room for 127 bytes.
NAME = "<img src=x onerror=\"document.title='owned'\">\u202egnp\n</h1>"
NAME_SHOWN = "<img src=x onerror=\"document.title='owned'\">\\u{202e}gnp\\u{a}</h1>"
MESSAGE = "</p><script>document.title='owned'</script>\u0007\u2028&lt;b&gt;" + "x" * 900
MESSAGE_SHOWN = "</p><script>document.title='owned'</script>\\u{7}\\u{2028}&lt;b&gt;" + "x" * 900


def test_a_drivers_words_stay_text(site: Site, tab: Tab, csi_driver: CsiDriver) -> None:
    csi_driver.plugin_info = named(NAME)
    csi_driver.probe = error(9, MESSAGE)
    sidecar = site.start()
    tab.open(site.url)
    expect(tab.driver_name).to_have_text(NAME_SHOWN)
    expect(tab.region(NAME_SHOWN)).to_contain_text(MESSAGE_SHOWN)
    expect(tab.changes.first).to_contain_text(MESSAGE_SHOWN[:100])  # it shows the beginning
    expect(tab.page).to_have_title(f"✗ failed: {NAME_SHOWN} — livenessprobe")
    assert tab.page.locator("img").count() == 0
    assert tab.page.locator("script").count() == 1
    wait_until(lambda: "FailedPrecondition" in sidecar.log)
    assert set(tab.requests) == {site.url, f"{site.url}status.json"}
