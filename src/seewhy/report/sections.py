"""Parts of the page as plain values for its templates: the first screen, the tables of results, the training data,
and how to make a run again.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from seewhy.proof.audit import FEWEST_IMAGES, STARVING, Audit, list_use, starving
from seewhy.report.chart import Strip, strip
from seewhy.report.figures import EE_COUNTS, HEADLINES, arm_name, title
from seewhy.report.table import EMPTY, Cell, Line, Row, cell, percent, points, rows
from seewhy.report.terminal import AUDITED, audit_cells, rejections, repeats, replay_use, stand_ins
from seewhy.results import Comparison, Figures, Metrics
from seewhy.yaml_text import load

CONFIG = "config.yaml"
SHOWN = 12
"""Rows of a table on the training data; the rest are counted."""


@dataclass(frozen=True)
class Beside:
    """One arm's figure in a headline: a row of its own."""

    key: str
    name: str
    cell: Cell
    strip: Strip


@dataclass(frozen=True)
class Headline:
    """A figure of the first screen. `rows` has the method first and the untuned base last."""

    title: str
    cell: Cell
    rows: tuple[Beside, ...]
    note: str = ""
    """What has to be known beside the figure."""


def lead(ours: Line) -> str:
    """Return the result in two sentences."""
    base, last = ours.base, ours.last
    if "accuracy" not in base:
        return "Nothing has been measured yet."
    images = f"{base.n:,} {base.split} images" if base.n is not None else f"the {base.split} images"
    before = percent(base["accuracy"].value)
    if not ours.rounds:
        return f"On {images}, the untuned model names {before} correctly; no tuned model is measured yet."
    text = f"On {images}, the untuned model names {before} correctly; after round {last.round} it"
    text += f" names {percent(last['accuracy'].value)}"
    text += f" and gives a reason in {percent(last['ee'].value)} of its answers." if "ee" in last else "."
    if "stated_true" in last:
        checked = f" {last.stated_verified:,} checked" if last.stated_verified is not None else ""
        text += f" Of the{checked} reasons, {percent(last['stated_true'].value)} are true and visible in their image."
    return text


def asked(question: str, *, rounds: int, train: int, classes: int, seeds: int = 1) -> str:
    """Return what the model was asked and what it was tuned on, a sentence each; what is unknown (0) is left out."""
    found = [f"Each image was shown with one question: \u201c{question}\u201d"] if question else []
    if rounds and train and classes:
        often = f", with each of {seeds} seeds" if seeds > 1 else ""
        found.append(
            f"Before, the model was tuned in {rounds} round{'s' * (rounds > 1)} on {train:,} training images of"
            f" {classes:,} classes{often}."
        )
    return " ".join(found)


def headlines(arms: Sequence[Line]) -> list[Headline]:
    """Return each headline figure that the method has: its value after the last round, and that of each alternative."""
    ours, *others = arms
    found = []
    for key in HEADLINES:
        if key in ours.last:
            shown = [_beside(arm.key, arm.name, arm.last, key) for arm in (ours, *others) if key in arm.last]
            if ours.rounds and key in ours.base:
                shown.append(_beside("base", "Untuned", ours.base, key))
            note = _any_reason(ours.last) if key == "ee" else ""
            found.append(Headline(title(key), cell(ours.last, key), tuple(shown if ours.rounds else ()), note))
    return found


def results(metrics: Metrics) -> dict[str, Any] | None:
    """Return the columns and rows of the table of results; None where there is no figure."""
    if not metrics.base:
        return None
    columns, body = rows(metrics)
    return {"columns": columns, "rows": body}


def differences(compared: Comparison | None) -> dict[str, Any] | None:
    """Return SeeWhy's figures minus each alternative's, in points, with their paired intervals."""
    minus = {arm: figures for arm, figures in (compared.ours_minus if compared else {}).items() if figures}
    keys = [key for key in HEADLINES if any(key in figures for figures in minus.values())]
    if not keys:
        return None
    body = []
    for arm, figures in minus.items():
        found = [[points(end) for end in figures.get(key, ()) if end is not None] for key in keys]
        cells = [Cell(ends[0], " to ".join(ends[1:])) if ends else EMPTY for ends in found]
        body.append(Row(arm_name(arm), control=True, cells=tuple(cells)))
    return {"columns": [title(key) for key in keys], "rows": body}


def spread(seeds: Sequence[int] | None) -> str:
    """Return what the intervals beside a figure are."""
    if seeds is None:
        return "95 % interval over images"
    return "95 % interval over seeds and images" if len(seeds) > 1 else "95 % interval over images, of one seed"


def audit_values(audit: Audit) -> dict[str, Any]:
    """Return what the section on the training data shows; long tables are cut, and `more_...` counts the rest."""
    hungry, uses = starving(audit), list_use(audit)
    return {
        "columns": [figure.title for figure in AUDITED],
        "rounds": [
            {"round": r.round, "cells": audit_cells(r.whole)}
            | {"rejections": rejections(r.whole), "stand_ins": stand_ins(r.whole), "repeats": repeats(r.whole)}
            for r in audit.rounds
        ],
        "starving": [
            {"round": round, "label": taught.label, "share": percent(taught.fallback_share or 0)}
            | {"before": percent(taught.stood_in_share or taught.fallback_share or 0)}
            | {"rejections": rejections(taught, most=2)}
            for round, taught in hungry[:SHOWN]
        ],
        "more_starving": len(hungry[SHOWN:]),
        "uses": uses[:SHOWN],
        "more_uses": len(uses[SHOWN:]),
        "replay": replay_use(audit),
        "starving_from": f"{100 * STARVING:.0f} %",
        "fewest_images": FEWEST_IMAGES,
    }


def commands(
    manifest: Mapping[str, Any], config: str, seeds: Sequence[int] | None, output: str
) -> list[tuple[str, str]]:
    """Return (command, purpose) to make a run again, in order. `seeds` are those of a comparison, else None."""
    versions = manifest.get("versions", {})
    pinned = [f"{name}=={_public(version)}" for name, version in sorted(versions.items()) if name != "python"]
    found = []
    if pinned:
        python = f", with Python {versions['python']}" if "python" in versions else ""
        found.append((shlex.join(["pip", "install", *pinned]), f"the versions it was made with{python}"))
    settings = _settings(config)
    output = str(settings.get("output", output)) if seeds is None else output
    if seeds is not None:
        made = ["seewhy", "compare", CONFIG, "--seeds", str(list(seeds)), "--output", output]
        found.append((shlex.join(made), f"with the settings below saved as {CONFIG}"))
    elif settings:
        found.append((shlex.join(["seewhy", "run", CONFIG]), f"with the settings below saved as {CONFIG}"))
    return [*found, (shlex.join(["seewhy", "report", output]), "this page, with where the model looks")]


def origins(manifest: Mapping[str, Any], config: str, seeds: Sequence[int] | None) -> dict[str, str]:
    """Return what a run's figures depend on, by name; what the manifest does not say is left out."""
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


def _any_reason(figures: Figures) -> str:
    """Return what EE leaves out, and how much that may be."""
    if "any_reason" not in figures:
        return f"{EE_COUNTS}."
    return f"{EE_COUNTS}; any reason, in whatever words: {cell(figures, 'any_reason').value}."


def _beside(key: str, name: str, figures: Figures, figure: str) -> Beside:
    return Beside(key, name, cell(figures, figure), strip(figures[figure]))


def _at(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        tree = tree.get(key) or {}
    return tree


def _settings(config: str) -> Mapping[str, Any]:
    try:
        found = load(config)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _public(version: str) -> str:
    """Return a version without its build, which no index has: '2.13.0' of '2.13.0+cpu'."""
    return version.partition("+")[0]
