"""The curve of errors as an SVG: lines, a grid, a legend, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 20, 48
COLOURS = ("#1b6ca8", "#2a9d8f", "#e9a23b", "#d1495b")
LOWEST, HIGHEST = 0.1, 100.0  # percent, on a logarithmic axis

Line = Sequence[tuple[float, float]]


def plot(lines: Mapping[str, Line], limits: Sequence[tuple[float, float]], *, across: str, up: str) -> str:
    """Lines of (x, percent), and limits (x, percent) that were to be kept, as circles."""
    most = max(x for line in lines.values() for x, _ in line)

    def place(x: float, percent: float) -> tuple[float, float]:
        share = math.log(min(HIGHEST, max(LOWEST, percent)) / LOWEST) / math.log(HIGHEST / LOWEST)
        return LEFT + x / most * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for percent in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        x, y = place(0, percent)
        parts.append(f'<path d="M{x} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4:.1f}" text-anchor="end">{percent:g} %</text>')
    for x in range(0, math.ceil(most) + 1, 2):
        left, _ = place(x, LOWEST)
        parts.append(f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{across}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{up}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 14 + 18 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 14} {y - 4}h20" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 40}" y="{y}">{name}</text>')
    for x, y in (place(*limit) for limit in limits):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="none" stroke="black"/>')
    return "\n".join([*parts, "</svg>", ""])
