"""A bar chart of the results as SVG, written by hand: no library needed.

Three panels below each other: times relative to a generator resume, memory, and plain Python
relative to the stock build.  A dark tick marks a target.
"""

from __future__ import annotations

import math
from html import escape
from typing import Callable, NamedTuple

from report import SERIES, Result, quantity, times

COLOURS = {"ours": "#1b7837", "generators": "#762a83", "asyncio": "#4393c3",
           "greenlet": "#bf812d"}
LEFT, WIDTH, RIGHT = 300, 560, 90   # room for labels, bars, and the figures behind the bars
BAR, GAP, HEAD = 11, 9, 46          # heights of a bar, of the space between rows, of a title
DIGIT = 6.5                         # width of a figure's character, at most


class Panel(NamedTuple):
    """Rows that share a scale; `position` maps a figure to 0..1."""

    title: str
    rows: list[Result]
    position: Callable[[float], float]
    ticks: list[float]
    text: Callable[[float], str]


def logarithmic(low: float, high: float) -> Callable[[float], float]:
    """A scale from low to high; what lies outside is put at its end."""
    span = math.log(high / low)
    return lambda figure: min(max(math.log(max(figure, low) / low) / span, 0.004), 1.0)


def panels(rows: list[Result]) -> list[Panel]:
    """The panels that have anything to show."""
    timed = [row for row in rows if row.unit == "ns"]
    sized = [row for row in rows if row.unit == "bytes" and "each" in row.label]
    compared = [row for row in rows if row.unit == "ratio"]
    made = []
    if timed:
        decades = decades_of(timed)
        made.append(Panel("Time per operation, in generator resumes (logarithmic)", timed,
                          logarithmic(decades[0] / 2, decades[-1]), decades, times))
    if sized:
        decades = decades_of(sized)
        made.append(Panel("Memory per waiting task, bytes (logarithmic)", sized,
                          logarithmic(decades[0], decades[-1]), decades,
                          lambda figure: quantity(figure, "bytes")))
    if compared:
        made.append(Panel("Relative to what it is compared with (1 = the same)", compared,
                          lambda figure: min(figure / 1.5, 1.0), [0.5, 1.0, 1.5],
                          lambda figure: f"{figure:.2f}"))
    return made


def decades_of(rows: list[Result]) -> list[float]:
    """Powers of ten that enclose all figures of these rows."""
    figures = [figure for row in rows for who in SERIES if (figure := row.shown(who))]
    low, high = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))
    return [10.0 ** power for power in range(low, max(high, low + 1) + 1)]


def picture(rows: list[Result]) -> str:
    """The SVG text."""
    body: list[str] = []
    top = 34
    for panel in panels(rows):
        top = draw_panel(body, panel, top)
    width, height = LEFT + WIDTH + RIGHT, top + 10
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *legend(), *body, "</svg>", ""])


def legend() -> list[str]:
    parts = []
    for number, (who, colour) in enumerate(COLOURS.items()):
        left = LEFT + number * 120
        parts.append(f'<rect x="{left}" y="10" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="20">{who}</text>')
    left = LEFT + len(COLOURS) * 120
    parts.append(f'<rect x="{left}" y="8" width="3" height="16" fill="black"/>')
    parts.append(f'<text x="{left + 10}" y="20">target</text>')
    return parts


def draw_panel(body: list[str], panel: Panel, top: float) -> float:
    """Append the panel's shapes; the result is where the next one begins."""
    body.append(f'<text x="{LEFT}" y="{top + 18}" font-weight="bold">{escape(panel.title)}</text>')
    first = top + HEAD
    bottom = first + sum(row_height(row) for row in panel.rows)
    for tick in panel.ticks:
        x = LEFT + WIDTH * panel.position(tick)
        body.append(f'<line x1="{x:.1f}" y1="{first - 6}" x2="{x:.1f}" y2="{bottom}" '
                    'stroke="#dddddd"/>')
        body.append(f'<text x="{x:.1f}" y="{first - 10}" text-anchor="middle" fill="#777777">'
                    f'{panel.text(tick)}</text>')
    at = first
    for row in panel.rows:
        draw_row(body, panel, row, at)
        at += row_height(row)
    return bottom + 16


def bars(row: Result) -> list[tuple[str, float]]:
    return [(who, figure) for who in SERIES if (figure := row.shown(who)) is not None]


def row_height(row: Result) -> int:
    return BAR * max(len(bars(row)), 1) + GAP


def label_position(end: float, text: str, mark: float | None) -> float:
    """Where the figure behind a bar that ends at `end` begins: beyond the mark, if that is in
    its way."""
    if mark is not None and end - 2 < mark < end + 7 + DIGIT * len(text):
        end = max(end, mark + 2)
    return end + 5


def draw_row(body: list[str], panel: Panel, row: Result, top: float) -> None:
    mark = None if row.target is None else LEFT + WIDTH * panel.position(row.target)
    body.append(f'<text x="{LEFT - 10}" y="{top + 10}" text-anchor="end">'
                f'{escape(row.label)}</text>')
    for number, (who, figure) in enumerate(bars(row)):
        y, length = top + number * BAR, WIDTH * panel.position(figure)
        text = panel.text(figure)
        # The mark stands at the first bar, which is ours.
        behind = label_position(LEFT + length, text, None if number else mark)
        body.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" '
                    f'fill="{COLOURS[who]}"/>')
        body.append(f'<text x="{behind:.1f}" y="{y + 8.5}" font-size="10">{escape(text)}</text>')
    if mark is not None:
        body.append(f'<rect x="{mark - 1:.1f}" y="{top - 2}" width="3" height="{BAR + 2}" '
                    'fill="black"/>')
