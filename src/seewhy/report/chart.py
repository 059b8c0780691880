"""The curves over the rounds, as coordinates for the page's inline SVG: one small panel a measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.report.table import percent

WIDTH, HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 40, 52, 14, 30
_LABEL_GAP = 14

MEASURES = {
    "accuracy": "Accuracy",
    "ee": "Gives a reason (EE)",
    "stated_true": "Reasons true",
}


@dataclass(frozen=True)
class Point:
    """A measured share, in SVG units; `low` and `high` are the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    kind: str
    """'method' or 'nl': how the page draws it."""
    points: tuple[Point, ...]
    last: str
    """The last value as text, and `last_y` where to write it."""
    last_y: float

    @property
    def path(self) -> str:
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)


@dataclass(frozen=True)
class Panel:
    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    description: str
    """The same in words, for who does not see the picture."""


def panels(metrics: Mapping[str, Any]) -> list[Panel]:
    """One panel for each measure that a tuned model has."""
    arms = {"method": [metrics["base"], *metrics.get("rounds", ())], "nl": [metrics["base"], *metrics.get("nl", ())]}
    arms = {kind: values for kind, values in arms.items() if len(values) > 1}
    return [
        _panel(title, key, arms) for key, title in MEASURES.items() if any(_tuned(key, arm) for arm in arms.values())
    ]


def _panel(title: str, key: str, arms: Mapping[str, Sequence[Mapping[str, Any]]]) -> Panel:
    steps = max(len(arm) for arm in arms.values())
    curves = [_curve(kind, key, arm, steps) for kind, arm in arms.items() if _tuned(key, arm)]
    names = {"method": "SeeWhy", "nl": "NL"}
    words = [
        f"{names[kind]}: " + ", ".join(f"{_tick(i)} {percent(v[key])}" for i, v in enumerate(arm) if key in v)
        for kind, arm in arms.items()
        if _tuned(key, arm)
    ]
    return Panel(
        title,
        _apart(curves),
        tuple((_x(i, steps), _tick(i)) for i in range(steps)),
        tuple((_y(share), f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)),
        f"{title} by round. {'. '.join(words)}.",
    )


def _tuned(key: str, arm: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any model of an arm but the base has this figure."""
    return any(key in values for values in arm[1:])


def _curve(kind: str, key: str, arm: Sequence[Mapping[str, Any]], steps: int) -> Curve:
    points, last = [], 0.0
    for i, values in enumerate(arm):
        if key in values:
            last = values[key]
            low, high = values.get(f"{key}_interval", (last, last))
            points.append(Point(_x(i, steps), _y(last), _y(low), _y(high)))
    return Curve(kind, tuple(points), percent(last), points[-1].y)


def _apart(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """The labels at the curves' ends, pushed apart where they would touch."""
    if len(curves) < 2 or abs(curves[0].last_y - curves[1].last_y) >= _LABEL_GAP:
        return tuple(curves)
    upper, lower = sorted(curves, key=lambda c: c.last_y)
    middle = min(max((upper.last_y + lower.last_y) / 2, TOP + _LABEL_GAP / 2), HEIGHT - BOTTOM - _LABEL_GAP / 2)
    places = {upper.kind: middle - _LABEL_GAP / 2, lower.kind: middle + _LABEL_GAP / 2}
    return tuple(Curve(c.kind, c.points, c.last, places[c.kind]) for c in curves)


def _tick(step: int) -> str:
    return f"round {step}" if step else "base"


def _x(step: int, steps: int) -> float:
    return LEFT + 12 + (WIDTH - LEFT - RIGHT - 24) * step / (steps - 1)


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)
