"""Draws the results as an SVG with bars for each policy, for light and dark pages.

It shows the quick driver, which is the common one; the table has both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.measures import (
    QUICK,
    Outcomes,
    mean_delay,
    probes_per_request,
    with_fault,
)
from tests.simulation.policies import Policy
from tests.simulation.scripts import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Bars = Mapping[str, Mapping[Policy, float]]
    """A row of bars, one for each policy, by the row's name."""

WIDTH, BAR, GAP = 720, 14, 18
LEFT, RIGHT = 190, 60
"""Room for the names of rows, and for the numbers beside the bars."""

COLOURS = {Policy.AUTO: "#2f81f7", Policy.FIXED_1S: "#d29922", Policy.FIXED_10S: "#a371f7"}
"""Of medium lightness, for contrast with white and with black."""

STYLE = """\
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
line { stroke: #1f2328; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } line { stroke: #e6edf3 } }
</style>"""


def picture(outcomes: Outcomes) -> str:
    """Return the SVG."""
    own = {
        policy: [o for o in outcomes if o.run.policy is policy and o.run.latency == QUICK]
        for policy in COLOURS
    }
    delays = {
        fault.value: {
            policy: mean_delay(outcomes, with_fault(own[policy], fault)) for policy in COLOURS
        }
        for fault in Fault
    }
    probes = {"": {policy: probes_per_request(own[policy]) for policy in COLOURS}}
    lines, y = list(_legend()), 50
    for title, bars, origin in (
        ("Restart decided later than with a Probe per request, seconds", delays, 0.0),
        ("Probes per request; the line is a Probe per request", probes, 1.0),
    ):
        panel, y = _panel(title, bars, origin=origin, top=y)
        lines += panel
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">'
    return "\n".join([head, STYLE, *lines, "</svg>", ""])


def _legend() -> Iterator[str]:
    for column, (policy, colour) in enumerate(COLOURS.items()):
        x = LEFT + column * 90
        yield f'<rect x="{x}" y="9" width="{BAR}" height="{BAR}" fill="{colour}"/>'
        yield f'<text x="{x + 20}" y="21">{policy.value}</text>'


def _panel(title: str, bars: Bars, *, origin: float, top: int) -> tuple[list[str], int]:
    """Return a panel's elements, with bars from a line at `origin`, and where it ends."""
    values = [value for row in bars.values() for value in row.values()]
    low, high = min(0.0, *values), max(origin, *values)
    scale = (WIDTH - LEFT - 2 * RIGHT) / (high - low)

    def x(value: float) -> float:
        return LEFT + RIGHT + (value - low) * scale

    lines = [f'<text class="title" x="0" y="{top}">{title}</text>']
    start = y = top + GAP
    for name, row in bars.items():
        lines.append(f'<text x="0" y="{y + 2 * BAR - 3}">{name}</text>')
        for policy, value in row.items():
            lines += _bar(x(min(0.0, value)), x(max(0.0, value)), y, policy, value)
            y += BAR
        y += GAP
    lines.append(
        f'<line x1="{x(origin):.0f}" x2="{x(origin):.0f}" y1="{start - 6}" y2="{y - GAP + 6}"/>'
    )
    return lines, y + GAP


def _bar(left: float, right: float, y: int, policy: Policy, value: float) -> Iterator[str]:
    yield (
        f'<rect x="{left:.0f}" y="{y}" width="{max(1.0, right - left):.0f}" height="{BAR - 2}" '
        f'fill="{COLOURS[policy]}"/>'
    )
    if value < 0:
        yield f'<text x="{left - 4:.0f}" y="{y + 11}" text-anchor="end">{value:.1f}</text>'
    else:
        yield f'<text x="{right + 4:.0f}" y="{y + 11}">{value:.1f}</text>'
