"""Lines over time as an SVG: panels below each other, for light and dark pages. Standard library only.

Enters: panels with named lines of points. Leaves: the text of the file. Each line has its name at its end, in
its colour.
"""

import math
from dataclasses import dataclass
from html import escape

WIDTH, PANEL_HEIGHT = 900, 260
LEFT, RIGHT, TOP, BETWEEN, BOTTOM = 70, 190, 64, 62, 46
LABEL_HEIGHT = 15
COLOURS = [f"c{number}" for number in range(10)]  # in STYLE
STYLE = """
svg { background: #ffffff; font: 12px system-ui, sans-serif;
  --ink: #1f2328; --faint: #d0d7de; --band: #eef1f4 }
.c0 { --c: #0b5cad } .c1 { --c: #b45309 } .c2 { --c: #15803d } .c3 { --c: #b91c1c } .c4 { --c: #7c3aed }
.c5 { --c: #0e7490 } .c6 { --c: #be185d } .c7 { --c: #57534e } .c8 { --c: #4d7c0f } .c9 { --c: #1e3a8a }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; --ink: #e6edf3; --faint: #30363d; --band: #161b22 }
.c0 { --c: #79b8ff } .c1 { --c: #ffab70 } .c2 { --c: #7ee787 } .c3 { --c: #ff938a } .c4 { --c: #c8a9ff }
.c5 { --c: #67d5e5 } .c6 { --c: #ff9bce } .c7 { --c: #bdb6b0 } .c8 { --c: #bfdd6e } .c9 { --c: #a5b8ff }
}
text { fill: var(--ink) } .title { font-size: 17px; font-weight: 600 }
.panel { font-size: 13px; font-weight: 600 }
.grid { stroke: var(--faint) } .band { fill: var(--band) } .name { fill: var(--c) }
.line { fill: none; stroke: var(--c); stroke-width: 1.8; stroke-linejoin: round }
.leader { stroke: var(--c); stroke-width: 0.7 }
"""


@dataclass(frozen=True)
class Panel:
    """`lines`: points (x, y) by name. A logarithmic one shows 0 at its lower edge."""

    title: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]
    is_logarithmic: bool = False

    def highest(self):
        return max((y for points in self.lines.values() for _, y in points), default=1) or 1


def draw(title, subtitle, panels, x_unit, band=(0.0, "")):
    """band: up to which x the ground is shaded, and the word in it."""
    x_most = max(x for panel in panels for points in panel.lines.values() for x, _ in points)
    height = TOP + len(panels) * (PANEL_HEIGHT + BETWEEN) - BETWEEN + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}"'
        f' role="img" aria-label="{escape(title)}"><style>{STYLE}</style>',
        text(LEFT, 24, title, "title"),
        text(LEFT, 43, subtitle),
    ]
    for number, panel in enumerate(panels):
        frame = Frame(TOP + number * (PANEL_HEIGHT + BETWEEN), x_most, panel)
        parts += frame.draw(x_unit, band)
    return "\n".join([*parts, "</svg>\n"])


class Frame:
    """One panel's place: where its points go."""

    def __init__(self, top, x_most, panel):
        self.top, self.bottom = top + 24, top + PANEL_HEIGHT
        self.x_ticks = [tick for tick in ticks(x_most) if tick <= x_most]
        self.x_most = x_most
        self.panel = panel
        self.y_ticks = powers(panel.highest()) if panel.is_logarithmic else ticks(panel.highest())

    def x(self, value):
        return LEFT + value / self.x_most * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        if self.panel.is_logarithmic:
            least, most = math.log10(self.y_ticks[0]), math.log10(self.y_ticks[-1])
            share = (math.log10(max(value, self.y_ticks[0])) - least) / (most - least)
        else:
            share = value / self.y_ticks[-1]
        return self.bottom - share * (self.bottom - self.top)

    def draw(self, x_unit, band):
        right = WIDTH - RIGHT
        end, word = band
        yield rectangle(LEFT, self.top, self.x(end) - LEFT, self.bottom - self.top, "band")
        yield text(LEFT + 6, self.top + 14, word if end else "")
        yield text(LEFT, self.top - 9, f"{self.panel.title} ({self.panel.unit})", "panel")
        for tick in self.y_ticks:
            yield line(LEFT, self.y(tick), right, self.y(tick), "grid")
            yield text(LEFT - 8, self.y(tick) + 4, f"{tick:,g}", anchor="end")
        for tick in self.x_ticks:
            yield line(self.x(tick), self.bottom, self.x(tick), self.bottom + 4, "grid")
            yield text(self.x(tick), self.bottom + 18, f"{tick:g}", anchor="middle")
        yield text(right, self.bottom + 34, x_unit, anchor="end")
        yield from self.draw_lines(right)

    def draw_lines(self, right):
        names = sorted(self.panel.lines, key=lambda name: -self.panel.lines[name][-1][1])
        ends = [self.y(self.panel.lines[name][-1][1]) for name in names]
        places = apart(ends, LABEL_HEIGHT, self.top, self.bottom)
        for number, (name, end, place) in enumerate(zip(names, ends, places, strict=True)):
            colour = COLOURS[number % len(COLOURS)]
            points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in self.panel.lines[name])
            yield f'<g class="{colour}"><polyline class="line" points="{points}"/>'
            yield line(right + 2, end, right + 12, place, "leader")
            yield text(right + 15, place + 4, f"{name} {self.panel.lines[name][-1][1]:,.0f}", "name") + "</g>"


def apart(places, distance, top, bottom):
    """Places from top to bottom, moved so that each two are at least so far apart, within the edges where
    they have room.
    """
    moved = []
    for place in places:
        moved.append(max(place, moved[-1] + distance if moved else top))
    floor = bottom
    for number in reversed(range(len(moved))):
        moved[number] = min(moved[number], floor)
        floor = moved[number] - distance
    return moved


def ticks(most):
    """0, some round numbers, and one that is `most` or more."""
    step = 10 ** math.floor(math.log10(most))
    step = next(step * factor for factor in (0.2, 0.25, 0.5, 1, 2) if most / (step * factor) <= 6)
    return [round(number * step, 10) for number in range(math.ceil(round(most / step, 6)) + 1)]


def powers(most):
    """1, 10, 100 and so on, up to `most` or more."""
    return [10**power for power in range(max(1, math.ceil(math.log10(most))) + 1)]


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def rectangle(x, y, width, height, kind):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"/>'
