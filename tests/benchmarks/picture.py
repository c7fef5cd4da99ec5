"""The ratios to each peer as a picture: bars on a logarithmic axis, in an SVG.

A bar to the left of the line is for the better: less time, CPU, memory, fewer Probes. Requests
per second are turned round, into the time for as many of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import ceil, floor, log10
from typing import NamedTuple
from xml.sax.saxutils import escape

from tests.benchmarks import answers, memory, start, traffic
from tests.benchmarks.programs import OURS
from tests.benchmarks.readings import Results, middle
from tests.benchmarks.table import digits, peers_of
from tests.simulation.picture import BAR, GAP, STYLE, WIDTH

LEFT, MARGIN = 250, 60
"""Room for the names of rows, and at both ends of the axis for the numbers beside the bars."""

COLOURS = ("#2f81f7", "#d29922", "#a371f7", "#3fb950")
"""Of the peers, in turns; of middling lightness, to stand out from white and from black."""

LEAST = 1e-4
"""Where the axis ends at the latest."""

RATE = "requests/s"


class Figure(NamedTuple):
    """One row of the picture: its name there, and which values it shows."""

    name: str
    group: str
    row: str
    value: str


FIGURES = (
    Figure("answer, median", answers.GROUP, "at once: one at a time", "p50 ms"),
    Figure("99th percentile", answers.GROUP, "at once: one at a time", "p99 ms"),
    Figure("driver needs 100 ms", answers.GROUP, "after 100 ms: one at a time", "p99 ms"),
    Figure("driver hangs", answers.GROUP, "hung: one at a time", "p99 ms"),
    Figure("driver is gone", answers.GROUP, "gone: one at a time", "p99 ms"),
    Figure("16 at a time, time for as many", answers.GROUP, "at once: 16 at a time", RATE),
    Figure("the same, keep-alive", answers.GROUP, "at once: keep-alive, 16", RATE),
    Figure("Probes, 16 at a time", answers.GROUP, "at once: 16 at a time", "Probes/s"),
    Figure("memory after 10,000 requests", memory.GROUP, memory.USED, "RSS MiB"),
    Figure("CPU, a request every 10 s", traffic.GROUP, "callers: 1, period: 10 s", "CPU s/hour"),
    Figure("CPU, ten requests a second", traffic.GROUP, "callers: 1, period: 0.1 s", "CPU s/hour"),
    Figure("start to the first answer", start.GROUP, start.FIRST, "ms"),
)


class Axis:
    """A logarithmic one, wide enough for these ratios and for 1."""

    def __init__(self, ratios: list[float]) -> None:
        exponents = [log10(max(LEAST, ratio)) for ratio in (1.0, *ratios)]
        self._low = floor(min(exponents))
        self._scale = (WIDTH - LEFT - 2 * MARGIN) / max(1, ceil(max(exponents)) - self._low)

    def x(self, ratio: float) -> int:
        """Return where a ratio is on it."""
        return round(LEFT + MARGIN + (log10(max(LEAST, ratio)) - self._low) * self._scale)


def picture(results: Results) -> str:
    """Return the SVG of those figures that were measured."""
    colours = {peer: COLOURS[n % len(COLOURS)] for n, peer in enumerate(peers_of(results))}
    rows = {figure.name: dict(_ratios(results, figure, colours)) for figure in FIGURES}
    axis = Axis([ratio for ratios in rows.values() for ratio in ratios.values()])
    lines, top = list(_legend(colours)), 2 * GAP
    y = top + GAP // 2
    for name, ratios in rows.items():
        if ratios:
            lines.append(f'<text x="0" y="{y + 11}">{name}</text>')
        for peer, ratio in ratios.items():
            lines += _bar(axis.x(1.0), axis.x(ratio), y, colours[peer], digits(ratio))
            y += BAR
        y += GAP // 2 if ratios else 0
    lines.append(f'<line x1="{axis.x(1.0)}" x2="{axis.x(1.0)}" y1="{top}" y2="{y}"/>')
    y += GAP
    lines.append(f'<text x="0" y="{y}">{escape(_caption(results))}</text>')
    size = f'viewBox="0 0 {WIDTH} {y + GAP}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, STYLE, *lines, "</svg>", ""])


def _ratios(results: Results, figure: Figure, peers: Iterable[str]) -> Iterator[tuple[str, float]]:
    for peer in peers:
        own = results.of(figure.group, figure.row, OURS.name)
        others = results.of(figure.group, figure.row, peer)
        if own and others and (other := middle(others, figure.value)):
            ratio = middle(own, figure.value) / other
            yield peer, 1 / ratio if figure.value == RATE else ratio


def _legend(colours: Mapping[str, str]) -> Iterator[str]:
    x = 0
    for peer, colour in colours.items():
        text = f"{OURS.name} : {peer}"
        yield f'<rect x="{x}" y="9" width="{BAR}" height="{BAR}" fill="{colour}"/>'
        yield f'<text x="{x + 20}" y="21">{escape(text)}</text>'
        x += 40 + 8 * len(text)


def _bar(origin: int, end: int, y: int, colour: str, text: str) -> Iterator[str]:
    left, width = min(origin, end), max(1, abs(end - origin))
    yield f'<rect x="{left}" y="{y}" width="{width}" height="{BAR - 2}" fill="{colour}"/>'
    if end < origin:
        yield f'<text x="{end - 4}" y="{y + 11}" text-anchor="end">{text}</text>'
    else:
        yield f'<text x="{end + 4}" y="{y + 11}">{text}</text>'


def _caption(results: Results) -> str:
    machine = results.machine
    text = f"{machine.cores} cores, Python {machine.python}, load before {machine.load:.2f}"
    return text if machine.is_quiet else f"{text}: others ran, so this says little"
