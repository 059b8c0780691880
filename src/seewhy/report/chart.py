"""Coordinates of the page's inline SVG: the curves over the rounds, one panel per figure, and the summary's strips.

Every curve has its name and last value at its end, so that no legend is needed. Arms differ in colour, dash and mark,
so that nothing depends on colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seewhy.report.figures import HEADLINES, title
from seewhy.report.table import Line, percent
from seewhy.results_json import Figure
from seewhy.run.stages import METHOD

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 40, 112, 12, 28
LABEL_GAP = 13.5
_INSET = 10
_FLOORS = (0.9, 0.8, 0.5, 0.0)


@dataclass(frozen=True)
class Point:
    """A measured share, in SVG units; `low` and `high` are the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    key: str
    """The key of its arm, which decides how the page draws it."""
    points: tuple[Point, ...]
    label: str
    """Name and last value; `label_y` is where to write them."""
    label_y: float

    @property
    def path(self) -> str:
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)

    @property
    def band(self) -> str:
        """Return the outline of the intervals."""
        upper = [f"{p.x:.1f},{p.high:.1f}" for p in self.points]
        lower = [f"{p.x:.1f},{p.low:.1f}" for p in reversed(self.points)]
        return " ".join(upper + lower)


@dataclass(frozen=True)
class Panel:
    key: str
    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    floor: str
    """Where its scale begins; empty where that is at 0."""
    description: str
    """The same in words, for screen readers."""


@dataclass(frozen=True)
class Strip:
    """A share with its interval on a line from 0 to 100 %, in percent of the drawing's width, which leaves a margin."""

    x: float
    low: float
    high: float


def panels(arms: Sequence[Line]) -> list[Panel]:
    """Return one panel for each headline figure that a tuned model has."""
    return [_panel(key, shown) for key in HEADLINES if (shown := [arm for arm in arms if arm.has(key)])]


def strip(figure: Figure) -> Strip:
    """Return where a share and its interval stand on the strip."""
    return Strip(*(4 + 92 * share for share in (figure.value, *_bounds(figure))))


def _panel(key: str, arms: Sequence[Line]) -> Panel:
    found = {arm.key: arm.steps(key) for arm in arms}
    last = max(round for steps in found.values() for round, _ in steps)
    lowest = min(_bounds(figure)[0] for steps in found.values() for _, figure in steps)
    floor = next(floor for floor in _FLOORS if lowest >= floor)

    def x(round: int) -> float:
        return LEFT + _INSET + (WIDTH - LEFT - RIGHT - 2 * _INSET) * round / last

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share - floor) / (1 - floor))

    def curve(arm: Line) -> Curve:
        points = [Point(x(round), y(f.value), *map(y, _bounds(f))) for round, f in found[arm.key]]
        return Curve(arm.key, tuple(points), f"{arm.name} {percent(found[arm.key][-1][1].value)[:-2]}", points[-1].y)

    words = [
        f"{arm.name}: " + ", ".join(f"{_tick(round)} {percent(f.value)}" for round, f in steps)
        for arm in arms
        if (steps := found[arm.key])
    ]
    return Panel(
        key,
        title(key),
        _apart([curve(arm) for arm in arms]),
        tuple((x(round), _tick(round) if last <= 4 or not round else str(round)) for round in range(last + 1)),
        tuple((y(floor + part * (1 - floor)), f"{100 * (floor + part * (1 - floor)):g} %") for part in _parts(floor)),
        "" if floor == 0 else f"from {100 * floor:.0f} %",
        f"{title(key)} by round. {'. '.join(words)}.",
    )


def _bounds(figure: Figure) -> tuple[float, float]:
    return figure.interval or (figure.value, figure.value)


def _parts(floor: float) -> tuple[float, ...]:
    return (0, 0.25, 0.5, 0.75, 1) if floor == 0 else (0, 0.5, 1)


def _apart(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """Return the curves with their end labels pushed apart where they would touch, within the panel's height."""
    ordered = sorted(curves, key=lambda c: (c.label_y, c.key != METHOD))
    places: list[float] = []
    for curve in ordered:
        places.append(max([curve.label_y, *(place + LABEL_GAP for place in places[-1:])]))
    lowest = HEIGHT - BOTTOM
    for i in reversed(range(len(places))):
        places[i] = min(places[i], lowest)
        lowest = places[i] - LABEL_GAP
    put = {curve.key: place for curve, place in zip(ordered, places, strict=True)}
    return tuple(replace(curve, label_y=put[curve.key]) for curve in curves)


def _tick(round: int) -> str:
    return f"round {round}" if round else "base"
