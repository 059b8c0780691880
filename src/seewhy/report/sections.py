"""What `seewhy faithfulness` and `seewhy general` left in a run's folder, or in those of a comparison's seeds.

Of several seeds a figure is the mean, with its interval over seeds and images (proof/comparison.py).

    read(Path("runs/fieldguide"), "general.json", "general", models_of)    # None where there is no such file

The page's tables of results: models beside one another, and the differences of a comparison.

How to make a run again: the commands, and what its bytes depended on.

The page's section on what became training data, as plain values for its template.

The first screen of the page: what was asked, and the headline figures with the alternatives beside them.
"""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from seewhy.errors import SeeWhyError
from seewhy.proof.audit import FEWEST_IMAGES, STARVING, Audit, list_use, starving
from seewhy.proof.comparison import Counts, mean_estimate
from seewhy.report.chart import Strip, strip
from seewhy.report.figures import EE_COUNTS, HEADLINES, FigureInfo, arm_name, model_key, model_name, title
from seewhy.report.table import Cell, Line, Metrics, Row, cell, percent, points, rows
from seewhy.report.terminal import AUDITED, audit_cells, rejections, repeats
from seewhy.run.stages import BASE

SHOWN = 12
"""Rows of a table on the training data; the rest are counted."""

P = TypeVar("P")


@dataclass(frozen=True)
class Model:
    """The figures of one model, as in metrics.json, and the counts that they come from."""

    figures: Metrics
    counts: Counts


@dataclass(frozen=True)
class FigureRow:
    """A row of figures, a cell a model. `of` says what was counted: '96 reasons'."""

    figure: FigureInfo
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


def table(figures: Sequence[FigureInfo], models: Mapping[str, Model]) -> dict[str, Any] | None:
    """A row for each figure that a model has, a column a model; None where there is no figure."""
    shown = [
        FigureRow(figure, _counted(figure, models), tuple(cell(of.figures, figure.key) for of in models.values()))
        for figure in figures
        if any(figure.key in of.figures for of in models.values())
    ]
    return {"columns": [model_name(name) for name in models], "rows": shown} if shown else None


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


def _counted(figure: FigureInfo, models: Mapping[str, Model]) -> str:
    """'96 reasons', or '82 to 94 reasons' where the models differ."""
    every = sorted({round(sum(of.counts[figure.key][1])) for of in models.values() if figure.key in of.counts})
    if not every:
        return ""
    return f"{every[0]:,} {figure.of}" if len(every) == 1 else f"{every[0]:,} to {every[-1]:,} {figure.of}"


def _place(name: str) -> tuple[int, str, int]:
    if (key := model_key(name)) is None:
        return (3, name, 0)
    return (0 if key == BASE else 1 if key.is_methods else 2, key.arm, key.round)


def results(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The results as a table's columns and rows; None where there is no figure."""
    if not metrics.get("base"):
        return None
    columns, body = rows(metrics)
    return {"columns": columns, "rows": body}


def differences(compared: Mapping[str, Any]) -> dict[str, Any] | None:
    """SeeWhy's figures less each alternative's, in points, with their paired intervals."""
    better = {arm: figures for arm, figures in compared.get("ours_minus", {}).items() if figures}
    keys = [key for key in HEADLINES if any(key in figures for figures in better.values())]
    if not keys:
        return None

    def cell(figures: Mapping[str, Sequence[float]], key: str) -> Cell:
        if key not in figures:
            return Cell("", "")
        whole, low, high = map(points, figures[key])
        return Cell(whole, f"{low} to {high}")

    body = [Row(arm_name(arm), control=True, cells=tuple(cell(f, key) for key in keys)) for arm, f in better.items()]
    return {"columns": [title(key) for key in keys], "rows": body}


def spread(seeds: Sequence[int] | None) -> str:
    """What the small figures beside a figure are."""
    if seeds is None:
        return "95 % interval over images"
    return "95 % interval over seeds and images" if len(seeds) > 1 else "95 % interval over images, of one seed"


CONFIG = "config.yaml"


def commands(
    manifest: Mapping[str, Any], config: str, seeds: Sequence[int] | None, output: str
) -> list[tuple[str, str]]:
    """(command, what it is for), to be given one after the other. `seeds` are those of a comparison, else None."""
    versions = manifest.get("versions", {})
    pinned = [f"{name}=={_public(version)}" for name, version in sorted(versions.items()) if name != "python"]
    found = []
    if pinned:
        python = f", with Python {versions['python']}" if "python" in versions else ""
        found.append((shlex.join(["pip", "install", *pinned]), f"the versions that it was made with{python}"))
    settings = _settings(config)
    output = str(settings.get("output", output)) if seeds is None else output
    if seeds is not None:
        made = ["seewhy", "compare", CONFIG, "--seeds", str(list(seeds)), "--output", output]
        found.append((shlex.join(made), f"with the settings below saved as {CONFIG}"))
    elif settings:
        found.append((shlex.join(["seewhy", "run", CONFIG]), f"with the settings below saved as {CONFIG}"))
    return [*found, (shlex.join(["seewhy", "report", output]), "this page, with where the model looks")]


def origins(manifest: Mapping[str, Any], config: str, seeds: Sequence[int] | None) -> dict[str, str]:
    """What a run's figures depend on, by name; what the manifest does not say is left out."""
    stages = manifest.get("stages", {})
    settings = _settings(config)
    base = _at(stages, "base", "settings", "model")
    chosen = _at(stages, "select", "settings", "select")
    versions = manifest.get("versions", {})
    told = {
        "Seed": ", ".join(map(str, seeds)) if seeds is not None else settings.get("seed", ""),
        "Data (SHA-256)": _at(stages, "domain", "settings", "data").get("fingerprint", ""),
        "Base model": base.get("name_or_path", ""),
        "Base revision": base.get("revision") or "",
        "Base weights (SHA-256)": base.get("weights", ""),
        "Text encoder": chosen.get("encoder", ""),
        "Encoder weights (SHA-256)": chosen.get("encoder_weights", ""),
        "Versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    }
    return {name: str(value) for name, value in told.items() if value != ""}


def _at(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        tree = tree.get(key) or {}
    return tree


def _settings(config: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(config)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _public(version: str) -> str:
    """Without the part that names a build, which no index has: '2.13.0' of '2.13.0+cpu'."""
    return version.partition("+")[0]


def audit_values(audit: Audit) -> dict[str, Any]:
    """Return what the section on the training data shows; long tables are cut, and `more_...` counts the rest."""
    hungry, uses = starving(audit), list_use(audit)
    return {
        "columns": [figure.title for figure in AUDITED],
        "rounds": [
            {"round": r.round, "cells": audit_cells(r.whole)}
            | {"rejections": rejections(r.whole), "repeats": repeats(r.whole)}
            for r in audit.rounds
        ],
        "starving": [
            {"round": round, "label": taught.label, "share": percent(taught.fallback_share or 0)}
            | {"rejections": rejections(taught, most=2)}
            for round, taught in hungry[:SHOWN]
        ],
        "more_starving": len(hungry[SHOWN:]),
        "uses": uses[:SHOWN],
        "more_uses": len(uses[SHOWN:]),
        "starving_from": f"{100 * STARVING:.0f} %",
        "fewest_images": FEWEST_IMAGES,
    }


@dataclass(frozen=True)
class Beside:
    """One arm's figure in a headline: a row of its own."""

    key: str
    name: str
    cell: Cell
    strip: Strip


@dataclass(frozen=True)
class Headline:
    title: str
    cell: Cell
    rows: tuple[Beside, ...]
    """The method first, the untuned base last."""
    note: str = ""
    """What has to be known beside the figure."""


def headlines(arms: Sequence[Line]) -> list[Headline]:
    """Of each headline figure that the method has: its value after the last round, and that of each alternative."""
    ours, *others = arms
    found = []
    for key in HEADLINES:
        if key in ours.last:
            rows = [_beside(arm.key, arm.name, arm.last, key) for arm in (ours, *others) if key in arm.last]
            if ours.rounds and key in ours.base:
                rows.append(_beside("base", "Untuned", ours.base, key))
            note = _any_reason(ours.last) if key == "ee" else ""
            found.append(Headline(title(key), cell(ours.last, key), tuple(rows if ours.rounds else ()), note))
    return found


def _any_reason(values: Metrics) -> str:
    """What EE leaves out, and how much that may be."""
    if "any_reason" not in values:
        return f"{EE_COUNTS}."
    return f"{EE_COUNTS}; any reason, in whatever words: {cell(values, 'any_reason').value}."


def _beside(key: str, name: str, values: Metrics, figure: str) -> Beside:
    return Beside(key, name, cell(values, figure), strip(values, figure))


def lead(ours: Line) -> str:
    """The result in two sentences."""
    base, last = ours.base, ours.last
    if "accuracy" not in base:
        return "Nothing has been measured yet."
    images = f"{base['n']:,} {base['split']} images" if "n" in base else f"the {base.get('split', '')} images"
    if not ours.rounds:
        return (
            f"On {images}, the untuned model names {percent(base['accuracy'])} rightly; no tuned model is measured yet."
        )
    text = f"On {images}, the untuned model names {percent(base['accuracy'])} rightly; after round {last['round']} it"
    text += f" names {percent(last['accuracy'])}"
    text += f" and gives a reason in {percent(last['ee'])} of its answers." if "ee" in last else "."
    if "stated_true" in last:
        checked = f" {last['stated_verified']:,} checked" if "stated_verified" in last else ""
        true = percent(last["stated_true"])
        text += f" Of the{checked} reasons, {true} are true of the very image and can be seen in it."
    return text


def asked(question: str, *, rounds: int, train: int, classes: int, seeds: int = 1) -> str:
    """What was asked of the model, and what it had learned from, a sentence each; what is not known (0) is left out."""
    told = [f"Each image was put with one question: \u201c{question}\u201d"] if question else []
    if rounds and train and classes:
        often = f", with each of {seeds} seeds" if seeds > 1 else ""
        told.append(
            f"Before, the model was tuned in {rounds} round{'s' * (rounds > 1)} on {train:,} training images of"
            f" {classes:,} classes{often}."
        )
    return " ".join(told)
