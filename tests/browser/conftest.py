from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.chromium import Tab, open_chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.fixture
def tab(context: BrowserContext) -> Iterator[Tab]:
    """A tab; whatever the test does with it, the browser must have nothing to complain of."""
    tab = Tab(context)
    yield tab
    assert tab.complaints == []
