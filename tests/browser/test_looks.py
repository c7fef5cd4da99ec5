"""What the page looks like, and sounds like, for a history that would take an hour to live through.

The page and its data come from the program's own endpoints, the history from a script.
"""

import re
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from livenessprobe.health.result import ProbeStatus
from tests.browser.chromium import Tab, show
from tests.world import World

READY, NOT_READY, FAILED, TIMED_OUT, UNREACHABLE = ProbeStatus

PHONE: ViewportSize = {"width": 360, "height": 640}

# A whole name, and a sentence of a driver that goes on without a space.
LONG_NAME = "n" * 127
LONG_REASON = "rpc error: code = Internal desc = " + "/very/long/path" * 68


def world_that_is(
    state: ProbeStatus | None,
    *,
    name: str = "disks.csi.example.com",
    reason: str = "rpc error: code = Internal desc = no disk",
) -> World:
    """Return a world with an hour of all states behind it, in this one now; None is unknown."""
    world = World(driver_name=name)
    others = [READY, *ProbeStatus]
    for tick in range(360):
        status = others[min(tick // 60, 5)]
        message = "" if status is READY else reason
        latency = 3.0 if status is TIMED_OUT else 0.001 * (1 + tick % 400)
        world.observe(status, tick * 10.0, latency=latency, message=message)
    if state is None:
        world.now += 600
    else:
        message = "" if state is READY else reason
        world.observe(state, 3600.0, latency=0.1, message=message)
    return world


EVERY_STATE = [*ProbeStatus, None]
WORDS = {state: f"Not healthy: {state.value}" for state in ProbeStatus} | {
    READY: "Healthy",
    None: "Health unknown",
}


# Readable by everybody

# Every text that can be seen: its colour, or what it is filled with, and what it is on.
TEXTS = """() => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
        const style = getComputedStyle(node);
        let box = node;
        const isClear = () => getComputedStyle(box).backgroundColor === "rgba(0, 0, 0, 0)";
        while (isClear()) box = box.parentElement;
        found.push([
            walker.currentNode.data.slice(0, 40),
            node instanceof SVGElement ? style.fill : style.color,
            getComputedStyle(box).backgroundColor,
        ]);
    }
    return found;
}"""

# Every shape that stands for a state.
SHAPES = """() => [...document.querySelectorAll("svg [data-state], [data-state] > svg")]
    .filter((node) => node.checkVisibility())
    .map((node) => {
        const style = getComputedStyle(node.tagName === "svg" ? node.querySelector("path") : node);
        return [
            node.closest("[data-state]").dataset.state,
            style.fill === "none" ? style.stroke : style.fill,
            getComputedStyle(node.closest("section")).backgroundColor,
        ];
    })"""

# WCAG 2.2, AA: 1.4.3 for text, 1.4.11 for what else has to be seen.
TEXT_CONTRAST, SHAPE_CONTRAST = 4.5, 3.0


def luminance(colour: str) -> float:
    """Return the relative luminance, as WCAG defines it, of a colour as browsers compute it."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour)[:3]]
    if not colour.startswith("color(srgb"):
        numbers = [number / 255 for number in numbers]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in numbers]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_what_wcag_defines() -> None:
    assert contrast("rgb(0, 0, 0)", "color(srgb 1 1 1)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


def assert_contrast(found: list[list[str]], at_least: float) -> None:
    assert found
    weak = {
        (what, colour, ground, round(contrast(colour, ground), 2))
        for what, colour, ground in found
        if contrast(colour, ground) < at_least
    }
    assert weak == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", EVERY_STATE, ids=str)
def test_every_state_is_readable_in_light_and_dark(
    tab: Tab, scheme: Any, state: ProbeStatus | None
) -> None:
    show(tab.page.context, world_that_is(state))
    tab.page.emulate_media(color_scheme=scheme)
    tab.open()
    expect(tab.state).to_have_text(WORDS[state])
    tab.page.get_by_text("Flags in force").click()
    assert_contrast(tab.page.evaluate(TEXTS), TEXT_CONTRAST)
    assert_contrast(tab.page.evaluate(SHAPES), SHAPE_CONTRAST)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_so_is_a_page_without_an_answer(tab: Tab, scheme: Any) -> None:
    show(tab.page.context, world_that_is(READY))
    tab.page.emulate_media(color_scheme=scheme)
    tab.open()
    tab.page.route("**/status.json", lambda route: route.abort())
    expect(tab.state).to_have_text("livenessprobe itself does not answer")
    assert_contrast(tab.page.evaluate(TEXTS), TEXT_CONTRAST)
    tab.complaints.clear()  # the browser tells of the failures


def test_dark_is_dark(tab: Tab) -> None:
    show(tab.page.context, world_that_is(READY))
    tab.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = luminance(tab.page.evaluate(ground))
    tab.page.emulate_media(color_scheme="dark")
    assert luminance(tab.page.evaluate(ground)) < 0.05
    assert light > 0.8


# What needs more room than it has, sideways.
TOO_WIDE = """() => [...document.querySelectorAll("*")]
    .filter((node) => node.scrollWidth > node.clientWidth)
    .filter((node) => getComputedStyle(node).display !== "inline")
    .map((node) => node.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("state", [READY, FAILED, None], ids=str)
def test_a_phone_shows_all_without_scrolling_sideways(
    browser: Browser, state: ProbeStatus | None
) -> None:
    with browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:
        show(context, world_that_is(state, name=LONG_NAME, reason=LONG_REASON))
        tab = Tab(context)
        tab.open()
        expect(tab.state).to_have_text(WORDS[state])
        tab.page.get_by_text("Flags in force").click()
        expect(tab.page.get_by_text("--probe-timeout")).to_be_visible()
        assert tab.page.evaluate(TOO_WIDE) == []
        assert tab.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert tab.complaints == []


def test_nothing_moves(tab: Tab) -> None:
    """Whoever prefers reduced motion has it, like everybody."""
    show(tab.page.context, world_that_is(FAILED))
    tab.open()
    moving = """() => [...document.querySelectorAll("*")].map((node) => getComputedStyle(node))
        .filter((style) => style.animationName !== "none" || style.transitionDuration !== "0s")
        .length + document.getAnimations().length"""
    assert tab.page.evaluate(moving) == 0


# By ear and by keyboard

TREE = """
- banner: /livenessprobe \\d+\\.\\d+\\.\\d+ as of .+/
- main:
  - region "disks.csi.example.com":
    - heading "disks.csi.example.com" [level=1]
    - paragraph: /^.csi.csi.sock$/
    - status: "Not healthy: timed out"
    - paragraph: /does not answer in time/
    - paragraph: /Not healthy for .* since .*/
    - paragraph: /rpc error/
  - region "Last hour":
    - heading "Last hour" [level=2]
    - figure /360 Probes, 241 failing, the slowest took 3 s/:
      - img "Latencies and states of the Probes over time"
  - region "Schedule":
    - heading "Schedule" [level=2]
    - term: Mode
    - definition: auto, follows the callers
    - term: Interval now
    - definition: /\\d/
    - term: Next Probe
    - definition: /now|in/
    - term: Probe timeout
    - definition: 3 s
    - term: Callers
    - definition:
      - list:
        - listitem: none known
  - region "Totals":
    - heading "Totals" [level=2]
  - region "Changes of state":
    - heading "Changes of state" [level=2]
    - group "Changes of state":
      - table "Newest first":
        - caption: Newest first
        - rowgroup:
          - row "When State Lasted":
            - columnheader "When"
            - columnheader "State"
            - columnheader "Lasted"
        - rowgroup:
          - row:
            - cell /\\d+:\\d+:\\d+/
            - cell /timed out rpc error/
            - cell /so far/
  - group:
    - heading "Flags in force" [level=2]
- contentinfo: /Running for .* Times in .*/
"""


def test_a_screen_reader_finds_landmarks_headings_names_and_a_table(tab: Tab) -> None:
    show(tab.page.context, world_that_is(TIMED_OUT))
    tab.open()
    expect(tab.page.locator("body")).to_match_aria_snapshot(TREE)


def test_the_keyboard_reaches_what_scrolls_and_what_opens_and_shows_where_it_is(tab: Tab) -> None:
    show(tab.page.context, world_that_is(FAILED))
    tab.open()
    for reached in (
        tab.page.get_by_role("group", name="Changes of state"),
        tab.page.locator("summary"),
    ):
        tab.page.keyboard.press("Tab")
        expect(reached).to_be_focused()
        expect(reached).to_have_css("outline-style", "solid")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_text("--csi-address")).to_be_visible()


# The chart


def test_the_chart_tells_the_hour_in_words_and_each_mark_under_the_pointer(tab: Tab) -> None:
    show(tab.page.context, world_that_is(READY))
    tab.open()
    expect(tab.history).to_contain_text("360 Probes, 240 failing, the slowest took 3\u00a0s.")
    box = tab.chart.bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    expect(tab.history).to_contain_text(re.compile(r"\d\d:\d\d:\d\d to .*: 1 Probe, 1 failing"))
    expect(tab.history).to_contain_text("The worst: not ready.")
    tab.page.mouse.move(0, 0)
    expect(tab.history).to_contain_text("360 Probes")


def world_since(seconds: float) -> World:
    world = World(driver_name="young.csi.example.com")
    for tick in range(int(seconds // 10) + 1):
        world.observe(READY, tick * 10.0)
    return world


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (0, "Last 5 minutes"),
        (280, "Last 5 minutes"),
        (320, "Last 15 minutes"),
        (1000, "Last 30 minutes"),
        (2000, "Last hour"),
        (9000, "Last hour"),
    ],
)
def test_a_short_history_is_not_squeezed_into_an_hour(tab: Tab, seconds: int, span: str) -> None:
    show(tab.page.context, world_since(seconds))
    tab.open()
    expect(tab.region(span)).to_be_visible()
    expect(tab.history).to_contain_text("0 failing, the slowest took 2\u00a0ms.")


def test_without_any_probe_the_page_says_so(tab: Tab) -> None:
    show(tab.page.context, World())
    tab.open()
    expect(tab.state).to_have_text("Health unknown")
    expect(tab.region("CSI driver, name unknown")).to_contain_text("no Probe() has finished yet")
    expect(tab.page).to_have_title("? CSI driver, name unknown — livenessprobe")
    expect(tab.history).to_contain_text("No Probe has finished yet.")
    expect(tab.page.get_by_role("table", name="None yet")).to_be_visible()


# The lengths of the lines of each state's lane, in pixels; a line that is broken has several.
LANES = """() => Object.fromEntries([...document.querySelectorAll("svg svg + text")].map((text) => {
    const d = text.previousElementSibling.previousElementSibling.getAttribute("d");
    return [text.textContent, d.split("M").slice(1)
        .map((run) => [parseFloat(run), parseFloat(run.split("H").at(-1))])];
}))"""


def test_a_time_without_probes_is_a_gap_and_the_usual_pause_is_none(tab: Tab) -> None:
    world = World(driver_name="d")
    for start in (0, 30, 60, 90, 400, 430, 460, 490, 520, 550):
        world.observe(READY, start + 1.0)
    world.observe(FAILED, 581.0, message="no disk")
    show(tab.page.context, world)
    tab.open()
    lanes = tab.page.evaluate(LANES)
    assert list(lanes) == [state.value for state in ProbeStatus]
    assert {state: len(runs) for state, runs in lanes.items()} == {
        "ready": 2,
        "not ready": 0,
        "failed": 1,
        "timed out": 0,
        "unreachable": 0,
    }
    runs = [*lanes["ready"], *lanes["failed"]]
    assert all(left < right for left, right in runs)
    assert all(before[1] <= after[0] for before, after in pairwise(runs))


# What the browser lets the page do


ATTEMPTS = {
    "an inline script": """
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
    """,
    "a handler": "document.body.setAttribute('onclick', 'window.ran = true')",
    "a style": "document.body.setAttribute('style', 'color: red')",
    "an image": "const image = new Image(); image.src = 'image.png'",
    "another site": "fetch('http://127.0.0.1:1/').catch(() => null)",
    "code from text": "setTimeout('window.ran = true')",
    "another base": """
        const base = document.createElement("base");
        base.href = "http://127.0.0.1:1/";
        document.head.append(base);
    """,
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_nothing_but_the_pages_own_script_and_style_has_any_effect(tab: Tab, attempt: str) -> None:
    show(tab.page.context, world_that_is(READY))
    tab.open()
    tab.page.evaluate(f"() => {{ {attempt} }}")
    tab.wait_for_requests(2)
    assert tab.complaints
    assert all("Content Security Policy" in complaint for complaint in tab.complaints)
    tab.complaints.clear()
    assert tab.page.evaluate("window.ran") is None
