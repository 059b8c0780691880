"""The chart of bench.few: accuracy by images a class after the last round, the method and NL, with their intervals."""

import math
from collections.abc import Mapping
from typing import Any

from seewhy.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

_ARMS = (("ours", "SeeWhy", "#1b6ca8", ""), ("nl", "NL", "#a8481b", "5 3"))
"""Key, name, colour and dash."""
_SHIFT = 2.5
"""Distance of the arms' points from their place, so that intervals do not cover each other."""


def chart(found: Mapping[str, Any]) -> str:
    """Return the chart as SVG. Images a class are on a scale of logarithms."""
    sizes = found["sizes"]
    places = {size["name"]: math.log(size["images"]) for size in sizes}
    first, last = min(places.values()), max(places.values())
    floor = math.floor(10 * min(_low(size, key) for size in sizes for key, *_ in _ARMS)) / 10

    def x(size: Mapping[str, Any]) -> float:
        share = (places[size["name"]] - first) / (last - first) if last > first else 0.5
        return LEFT + 12 + (WIDTH - LEFT - RIGHT - 24) * share

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share - floor) / (1 - floor))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{2 * WIDTH}" font-size="10" '
        'font-family="sans-serif" role="img">',
        f"<title>{_words(sizes)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for share in (floor, (1 + floor) / 2, 1.0):
        parts.append(f'<path d="M{LEFT} {y(share):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 4}" y="{y(share) + 3:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{size["name"]}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 2}" text-anchor="middle">images a class</text>')
    for number, (key, name, colour, dash) in enumerate(_ARMS):
        shift = _SHIFT * (2 * number - 1)
        line = f'stroke="{colour}" fill="none" stroke-width="1.5"'
        points = [(x(size) + shift, size["rounds"][-1][f"accuracy_{key}"]) for size in sizes]
        path = " ".join(f"{place:.1f},{y(figure['value']):.1f}" for place, figure in points)
        parts.append(f'<polyline points="{path}" {line} stroke-dasharray="{dash}"/>')
        for place, figure in points:
            parts.append(f'<circle cx="{place:.1f}" cy="{y(figure["value"]):.1f}" r="2.5" fill="{colour}"/>')
            if figure["low"] is not None:
                parts.append(
                    f'<path d="M{place:.1f} {y(max(floor, figure["low"])):.1f}V{y(figure["high"]):.1f}" {line}/>'
                )
        at = y(1.0) + 12 + 14 * number
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{at:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _low(size: Mapping[str, Any], arm: str) -> float:
    figure = size["rounds"][-1][f"accuracy_{arm}"]
    return figure["value"] if figure["low"] is None else figure["low"]


def _words(sizes: Any) -> str:
    """Return the chart in words, for screen readers."""
    told = "; ".join(
        f"{size['name']}: "
        + ", ".join(f"{name} {size['rounds'][-1][f'accuracy_{key}']['value']:.1%}" for key, name, *_ in _ARMS)
        for size in sizes
    )
    return f"Accuracy by images a class. {told}."
