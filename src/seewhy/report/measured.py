"""What `seewhy faithfulness` and `seewhy general` left in a run's folder, or in those of a comparison's seeds.

Of several seeds a figure is the mean, with its interval over seeds and images (proof/compare.py).

    read(Path("runs/fieldguide"), "general.json", "general", models_of)    # None where there is no such file
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from seewhy.errors import SeeWhyError
from seewhy.proof.compare import Counts, mean_estimate
from seewhy.report.cards import name_of
from seewhy.report.table import Cell, Metrics, cell

P = TypeVar("P")


@dataclass(frozen=True)
class Model:
    """The figures of one model, as in metrics.json, and the counts that they come from."""

    figures: Metrics
    counts: Counts


@dataclass(frozen=True)
class Words:
    """How a figure is told: a row of a table."""

    figure: str
    text: str
    unit: str
    """What it is a share of: 'reasons'."""
    control: bool = False
    """Whether it says how often the figure above comes about for nothing."""
    better: str = ""
    """'higher' or 'lower', where one of them is."""


@dataclass(frozen=True)
class Line:
    """A row of figures, a cell a model. `of` says what was counted: '96 reasons'."""

    words: Words
    of: str
    cells: tuple[Cell, ...]


def read(run: Path, file: str, verb: str, parse: Callable[[dict[str, Any]], P]) -> P | None:
    """What RUN/FILE holds, None where there is none; `verb` is the command that writes it.

    `parse` raises ValueError, KeyError or TypeError for what it cannot use. Raises SeeWhyError then.
    """
    path = run / file
    try:
        return parse(mapping(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise SeeWhyError(
            f"{path} could not be read ({why}): remove it and give `seewhy {verb} {run}` to make it anew."
        ) from error


def models_of(found: Mapping[str, Any]) -> dict[str, Model]:
    """The models of a file by their own names ('base', 'lge/round-2'), the base first, then by round, controls last."""
    models = {}
    for key, value in mapping(found["models"]).items():
        of = mapping(value)
        counts = {name: _pair(pair) for name, pair in mapping(of["counts"]).items()}
        figures = {name: _figure(number) for name, number in mapping(of["figures"]).items()}
        models[text(of.get("model", key))] = Model(figures, counts)
    return dict(sorted(models.items(), key=lambda pair: _place(pair[0])))


def over_seeds(seeds: Sequence[Mapping[str, Model]], resamples: int) -> dict[str, Model]:
    """The models that all seeds have, with the figures that all have of them."""
    if len(seeds) == 1:
        return dict(seeds[0])
    first, *others = seeds
    found = {}
    for name in first:
        if all(name in seed for seed in others):
            counts = [seed[name].counts for seed in seeds]
            there = [figure for figure in counts[0] if all(figure in of for of in counts)]
            figures: dict[str, Any] = {}
            for figure in there:
                if estimated := mean_estimate(figure, counts, resamples=resamples, seed=0):
                    value, bounds = estimated
                    figures |= {figure: value} | ({f"{figure}_interval": list(bounds)} if bounds else {})
            together = {f: _joined([of[f] for of in counts]) for f in there}
            found[name] = Model(figures, together)
    return found


def table(rows: Sequence[Words], models: Mapping[str, Model]) -> dict[str, Any] | None:
    """A row for each figure that a model has, a column a model; None where there is no figure."""
    shown = [
        Line(row, _counted(row, models), tuple(cell(of.figures, row.figure) for of in models.values()))
        for row in rows
        if any(row.figure in of.figures for of in models.values())
    ]
    return {"columns": [named(name) for name in models], "rows": shown} if shown else None


def named(model: str) -> str:
    """'L+GE, round 2' of 'lge/round-2', 'Untuned' of 'base'."""
    return name_of(model.replace("round-", "round "))


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{str(value)[:40]!r} stands where names and values should")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} stands where a text should")
    return value


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} stands where a number should")
    return value


def numbers(value: Any, least: int = 0) -> list[float]:
    if not isinstance(value, list) or len(value) < least:
        raise ValueError(f"{str(value)[:40]!r} stands where numbers should")
    return [number(one) for one in value]


def _figure(value: Any) -> float | list[float]:
    return numbers(value, 2) if isinstance(value, list) else number(value)


def _pair(value: Any) -> tuple[list[float], list[float]]:
    hits, of = value
    return numbers(hits), numbers(of, len(hits))


def _joined(counts: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[list[float], list[float]]:
    return [n for hits, _ in counts for n in hits], [n for _, of in counts for n in of]


def _counted(row: Words, models: Mapping[str, Model]) -> str:
    """'96 reasons', or '82 to 94 reasons' where the models differ."""
    every = sorted({round(sum(of.counts[row.figure][1])) for of in models.values() if row.figure in of.counts})
    if not every:
        return ""
    return f"{every[0]:,} {row.unit}" if len(every) == 1 else f"{every[0]:,} to {every[-1]:,} {row.unit}"


def _place(name: str) -> tuple[int, str, int]:
    arm, _, model = name.rpartition("/")
    last = model.rpartition("-")[2]
    return (0 if name == "base" else 2 if arm else 1, arm, int(last) if last.isdecimal() else 0)
