"""The page's section on what tuning made a model forget, from RUN/general.json (`seewhy general`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seewhy.errors import SeeWhyError
from seewhy.report.figures import FigureInfo, is_controls, model_name, of_group
from seewhy.report.sections import (
    Model,
    mapping,
    models_of,
    number,
    numbers,
    over_seeds,
    read,
    table,
    text,
)
from seewhy.report.table import Cell

FILE, VERB, BASE = "general.json", "general", "base"


@dataclass(frozen=True)
class Benchmarked:
    """One model on lmms-eval's tasks: 'task/score' -> score, and what it is less the base's, with its interval."""

    scores: Mapping[str, float]
    minus_base: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Ability:
    """What one file holds; either of its halves may be missing."""

    split: str
    images: int
    resamples: int
    models: Mapping[str, Model]
    benchmarks: Mapping[str, Benchmarked]


def read_ability(run: Path) -> Ability | None:
    """None where nothing was asked. Raises SeeWhyError for a file that cannot be used."""
    return read(run, FILE, VERB, _parsed)


def forgotten_values(found: Sequence[Ability]) -> dict[str, Any]:
    """What the section shows of one run, or of the seeds of a comparison, which were all asked the same.

    Raises SeeWhyError where the seeds were asked different things.
    """
    first = found[0]
    if len({(of.split, of.images) for of in found}) > 1:
        raise SeeWhyError(
            "The seeds were asked different things and cannot be averaged. Give `seewhy general` each of their folders"
            " with the same --split and --images."
        )
    models = over_seeds([of.models for of in found], first.resamples)
    return {
        "split": first.split,
        "images": first.images,
        "table": table(of_group("ability"), models),
        "lost": [[_lost(of, models.get(BASE), figure.key) for of in models.values()] for figure in _there(models)],
        "losses": losses(models),
        "benchmarks": _benchmarks([of.benchmarks for of in found]),
    }


def losses(models: Mapping[str, Model]) -> list[tuple[str, float, float]]:
    """(ability, the base's share, the method's last model's) of what is clearly lost, the greatest loss first."""
    base, own = models.get(BASE), [name for name in models if name != BASE and not is_controls(name)]
    if base is None or not own:
        return []
    last = models[own[-1]]
    lost = [
        (figure.title, base.figures[figure.key], last.figures[figure.key])
        for figure in of_group("ability")
        if _lost(last, base, figure.key)
    ]
    return sorted(lost, key=lambda loss: loss[2] - loss[1])


def _lost(model: Model, base: Model | None, figure: str) -> bool:
    """Whether the whole interval of a figure lies below the base's."""
    if base is None or any(f"{figure}_interval" not in of.figures for of in (model, base)):
        return False
    return model.figures[f"{figure}_interval"][1] < base.figures[f"{figure}_interval"][0]


def _there(models: Mapping[str, Model]) -> list[FigureInfo]:
    return [f for f in of_group("ability") if any(f.key in of.figures for of in models.values())]


def _parsed(found: dict[str, Any]) -> Ability:
    scored = mapping(mapping(found.get("lmms_eval", {})).get("models", {}))
    if not scored or "models" in found:
        models = models_of(found)
        asked = text(found["split"]), int(number(found["images"])), int(number(found["resamples"]))
    else:
        models, asked = {}, ("", 0, 0)
    return Ability(*asked, models, {name: _scored(mapping(of)) for name, of in scored.items()})


def _scored(of: Mapping[str, Any]) -> Benchmarked:
    return Benchmarked(
        {name: number(score) for name, score in mapping(of["scores"]).items()},
        {name: numbers(change, 1) for name, change in mapping(of.get("minus_base", {})).items()},
    )


def _benchmarks(seeds: Sequence[Mapping[str, Benchmarked]]) -> dict[str, Any] | None:
    """A row a score, a column a model: means over the seeds, with the mean of the ends of their intervals."""
    names = [name for name in seeds[0] if all(name in seed for seed in seeds)]
    keys = list(dict.fromkeys(key for name in names for key in seeds[0][name].scores))

    def shown(name: str, key: str) -> Cell:
        every = [seed[name] for seed in seeds]
        if not all(key in of.scores for of in every):
            return Cell("", "")
        score = sum(of.scores[key] for of in every) / len(every)
        changes = [of.minus_base[key] for of in every if key in of.minus_base]
        if len(changes) < len(every):
            return Cell(f"{score:.4g}", "")
        change, *bounds = (sum(parts) / len(parts) for parts in zip(*changes, strict=False))
        told = _signed(change)
        return Cell(f"{score:.4g}", f"{told} ({_signed(bounds[0])} to {_signed(bounds[1])})" if bounds[1:] else told)

    if not keys:
        return None
    rows = [{"text": key, "cells": [shown(name, key) for name in names]} for key in keys]
    return {"columns": [model_name(name) for name in names], "rows": rows}


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "\u2212")
