"""The page's sections on what other commands measured: `seewhy faithfulness`, `seewhy general` and `seewhy judge`.

A file that cannot be used does not stop the page: its section says why, and how to make it again. Of several seeds a
figure is the mean, with its interval over seeds and images (proof/comparison.py).

The examples of tested reasons are of the method's model (or the first one tested), one per fate: the one whose name has
the lowest hash, so that nobody chose them. Drawings are drawn again, where they are the very ones that were tested.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import draw_example, truth_of
from seewhy.fieldguide.redraw import attribute_of, covered
from seewhy.fieldguide.world import BIRD, make_species
from seewhy.proof.comparison import mean_estimate
from seewhy.proof.interventions import mention
from seewhy.proof.stated import StatedConcepts
from seewhy.report.cards import clip
from seewhy.report.figures import FigureInfo, asked_about, is_controls, model_key, model_name, of_group
from seewhy.report.pictures import Picture, Pictures
from seewhy.report.table import EMPTY, Cell, cell, written
from seewhy.results import Ability, Agreement, Benchmarks, Counts, Faithfulness, Judgement, ModelJudgement, Trial
from seewhy.results_json import Figure, ResultsFile, find
from seewhy.run.stages import BASE, METHOD

F = TypeVar("F", bound=ResultsFile)

FATES = {
    "follows": "The part is redrawn differently, and the new value is stated",
    "survives": "The part is redrawn differently, and the old value is still stated",
    "hidden": "A leaf hides the part, and the reason is still stated",
    "silent": "The part is redrawn differently, and nothing is said of it",
    "misread": "The part is redrawn differently, and a third value is stated",
}
COUNTED_FATES = {
    "follows": "state the new value", "silent": "say nothing of the part", "misread": "state a third value",
    "survives": "still state the old value",
}  # fmt: skip
EXAMPLES = 4
BUDGET = 200_000
"""Characters of the examples' drawings."""
VERDICTS = {"follows": "right", "survives": "wrong", "hidden": "wrong"}
"""Whether a reason was read off the image; open for the other fates."""
UNKNOWN = Cell("unknown", "")

Span = tuple[str, bool]
"""Part of an answer, and whether the example is about it."""


@dataclass(frozen=True)
class Section:
    """What one section shows (`values`), or why there is nothing to show (`fault`); neither where nothing was run."""

    values: dict[str, Any] | None = None
    fault: str = ""


@dataclass(frozen=True)
class Later:
    """The three sections."""

    tested: Section = field(default_factory=Section)
    forgotten: Section = field(default_factory=Section)
    judged: Section = field(default_factory=Section)


@dataclass(frozen=True)
class Measured:
    """The figures of one model, and the counts that they come from."""

    figures: Mapping[str, Figure]
    counts: Counts


@dataclass(frozen=True)
class FigureRow:
    """A row of figures with a cell per model. `of` says what was counted: '96 reasons'."""

    figure: FigureInfo
    of: str
    cells: tuple[Cell, ...]


def find_later(folder: Path, seeds: Sequence[int] | None = None) -> Later:
    """Return the sections of a run, or of a comparison over `seeds`: then means over those runs that have the file.

    A comparison shows no judge's figures, which are those of one run.
    """
    runs = [folder] if seeds is None else [folder / f"seed-{seed}" for seed in seeds]
    drawings = runs[0] / "fieldguide" / "images"  # the same in every run
    return Later(
        _section(runs, "faithfulness", Faithfulness, lambda found: tested_values(found, drawings)),
        _section(runs, "general", Ability, forgotten_values),
        _section(runs if seeds is None else (), "judge", Judgement, lambda found: judged_values(found[0])),
    )


def _section(runs: Sequence[Path], verb: str, kind: type[F], values: Callable[[list[F]], dict[str, Any]]) -> Section:
    """Return one section. In its values, `runs` counts the runs that have the file, `left` lists missing commands."""
    try:
        found = {run: record for run in runs if (record := find(run / kind.FILE, kind)) is not None}
        if not found:
            return Section()
        left = [f"seewhy {verb} {run}" for run in runs if run not in found]
        shown = values(list(found.values()))
        return Section({**shown, "runs": len(found), "left": left, "run": next(iter(found)).name})
    except SeeWhyError as error:
        return Section(fault=str(error))


def tested_values(found: Sequence[Faithfulness], drawings: Path) -> dict[str, Any]:
    """Return what the section on tested reasons shows of one run, or of the seeds of a comparison.

    `drawings` is the folder of the field guide's images. Raises SeeWhyError where the seeds were tested differently.
    """
    first = found[0]
    if len({(of.split, of.images, of.reasons) for of in found}) > 1:
        raise SeeWhyError(
            "The seeds were tested in different ways and cannot be averaged. Give `seewhy faithfulness` each of their"
            " folders with the same --split, --images and --reasons."
        )
    named = [{model.model or arm: model for arm, model in of.models.items()} for of in found]
    models = over_seeds([{name: Measured(m.figures, m.counts) for name, m in of.items()} for of in named],
                        first.resamples)  # fmt: skip
    arm = METHOD if METHOD in first.models else next(iter(first.models), "")
    shown = first.models.get(arm)
    name, tests = (shown.model or arm, shown.tests) if shown else ("", ())
    pictures = Pictures(BUDGET)
    return {
        "images": first.images,
        "split": first.split,
        "reasons": first.reasons,
        "table": table(of_group("faithfulness", detail=False), models),
        "own": models[name].figures if name in models else {},
        "notes": sorted({note for of in found for model in of.models.values() for note in model.notes}),
        "model": model_name(name).replace("Round", "round"),
        "fates": _fates(tests),
        "tests": len(tests),
        "examples": [_example(kind, test, drawings, pictures) for kind, test in examples(tests)],
    }


def forgotten_values(found: Sequence[Ability]) -> dict[str, Any]:
    """Return what the section on forgotten abilities shows of one run, or of the seeds of a comparison.

    Raises SeeWhyError where the seeds were asked different things.
    """
    drawings = [of.drawings for of in found if of.drawings is not None]
    asked = {(of.drawings.split, of.drawings.images) if of.drawings else None for of in found}
    if len(asked) > 1:
        raise SeeWhyError(
            "The seeds were asked different things and cannot be averaged. Give `seewhy general` each of their folders"
            " with the same --split and --images."
        )
    named = [{name: Measured(m.figures, m.counts) for name, m in of.models.items()} for of in drawings]
    models = over_seeds(named, drawings[0].resamples) if drawings else {}
    shown = [f for f in of_group("ability") if any(f.key in model.figures for model in models.values())]
    base = models.get(str(BASE))
    return {
        "split": drawings[0].split if drawings else "",
        "about": asked_about(drawings[0].images, (f.key for f in shown)) if drawings else "",
        "table": table(shown, models),
        "lost": [[_lost(model, base, figure.key) for model in models.values()] for figure in shown],
        "losses": losses(models),
        "benchmarks": _benchmarks([of.lmms_eval for of in found if of.lmms_eval is not None]),
    }


def judged_values(found: Judgement) -> dict[str, Any]:
    """Return what the section on the judge's figures shows."""
    rows = [{"model": model_name(name), "cells": judged_cells(model)} for name, model in found.models.items()]
    return {
        "judge": found.judge.model,
        "split": found.split,
        "images": found.images,
        "of": found.of,
        "table": {
            "columns": [figure.title for figure in of_group("judge")],
            "rows": [*rows, {"model": "All together", "cells": judged_cells(None, found.agreement)}],
        },
        "missing": [
            f"{model_name(name)}: {', '.join(f'{reason} ({count})' for reason, count in model.missing.items())}"
            for name, model in found.models.items()
            if model.missing
        ],
    }


def judged_cells(model: ModelJudgement | None, agreement: Agreement | None = None) -> tuple[Cell, ...]:
    """Return the cells of one model under the figures of the group "judge", or of all models' agreement."""
    if model is None:
        return EMPTY, EMPTY, EMPTY, EMPTY, *_agreement(agreement, "ee"), EMPTY, EMPTY, *_agreement(agreement, "cs")
    counts = (written("judge_n", model.n), written("judge_missing", sum(model.missing.values())))
    free = {key: cell(model.judge_free, key) if key in model.judge_free else UNKNOWN for key in ("ee", "cs")}
    return (
        *(Cell(count, "") for count in counts),
        cell(model.figures, "ee"), free["ee"], *_agreement(model.agreement, "ee"),
        cell(model.figures, "cs"), free["cs"], *_agreement(model.agreement, "cs"),
    )  # fmt: skip


def _agreement(agreement: Agreement | None, key: str) -> tuple[Cell, ...]:
    """Return how far the two agree in EE or CS; unknown where one of the two says the same of all answers."""
    ee, cs = (agreement.ee, agreement.cs) if agreement else (None, None)
    values = {
        "ee": {"judge_agreement_ee_raw": ee and ee.raw, "judge_agreement_ee_kappa": ee and ee.kappa},
        "cs": {"judge_agreement_cs_spearman": cs and cs.spearman},
    }[key]
    return tuple(UNKNOWN if value is None else Cell(written(name, value), "") for name, value in values.items())


def over_seeds(seeds: Sequence[Mapping[str, Measured]], resamples: int) -> dict[str, Measured]:
    """Return the models that all seeds have, with the figures that all have, as means; base first, controls last."""
    first = seeds[0]
    names = sorted((name for name in first if all(name in seed for seed in seeds)), key=_place)
    if len(seeds) == 1:
        return {name: first[name] for name in names}
    return {name: _mean([seed[name] for seed in seeds], resamples) for name in names}


def _mean(seeds: Sequence[Measured], resamples: int) -> Measured:
    counts = [seed.counts for seed in seeds]
    shared = [key for key in counts[0] if all(key in of for of in counts)]
    means = {key: mean_estimate(key, counts, resamples=resamples, seed=0) for key in shared}
    figures = {key: Figure(mean[0], mean[1]) for key, mean in means.items() if mean}
    joined = {key: ([n for of in counts for n in of[key][0]], [n for of in counts for n in of[key][1]])
              for key in shared}  # fmt: skip
    return Measured(figures, joined)


def table(figures: Sequence[FigureInfo], models: Mapping[str, Measured]) -> dict[str, Any] | None:
    """Return a row per figure that a model has, with a column per model; None where there is no figure."""
    shown = [
        FigureRow(figure, _counted(figure, models), tuple(cell(model.figures, figure.key) for model in models.values()))
        for figure in figures
        if any(figure.key in model.figures for model in models.values())
    ]
    return {"columns": [model_name(name) for name in models], "rows": shown} if shown else None


def losses(models: Mapping[str, Measured]) -> list[tuple[str, float, float]]:
    """Return (ability, the base's share, the method's last model's) of what was clearly lost, the greatest first."""
    base = models.get(str(BASE))
    own = [model for name, model in models.items() if name != str(BASE) and not is_controls(name)]
    if base is None or not own:
        return []
    lost = [
        (figure.title, base.figures[figure.key].value, own[-1].figures[figure.key].value)
        for figure in of_group("ability")
        if _lost(own[-1], base, figure.key)
    ]
    return sorted(lost, key=lambda loss: loss[2] - loss[1])


def examples(tests: Sequence[Trial]) -> list[tuple[str, Trial]]:
    """Return (fate, trial) of up to four fates, no reason of one image twice; wrong fates choose first."""
    found: dict[str, Trial] = {}
    for kind in sorted(FATES, key=lambda kind: VERDICTS.get(kind) != "wrong"):
        of_kind = [t for t in tests if (t.reason in _stated()(t.hidden) if kind == "hidden" else t.fate == kind)]
        taken = {(t.example, t.reason) for t in found.values()}
        left = [t for t in of_kind if (t.example, t.reason) not in taken]
        if left and len(found) < EXAMPLES:
            found[kind] = min(left, key=lambda t: hashlib.sha256(f"{t.example}\0{t.reason}".encode()).digest())
    return [(kind, found[kind]) for kind in FATES if kind in found]


def _lost(model: Measured, base: Measured | None, key: str) -> bool:
    """Return whether the whole interval of a figure lies below the base's."""
    own, before = model.figures.get(key), base.figures.get(key) if base else None
    if own is None or before is None or own.interval is None or before.interval is None:
        return False
    return own.interval[1] < before.interval[0]


def _counted(figure: FigureInfo, models: Mapping[str, Measured]) -> str:
    """Return '96 reasons', or '82 to 94 reasons' where the models differ."""
    every = sorted({round(sum(m.counts[figure.key][1])) for m in models.values() if figure.key in m.counts})
    if not every:
        return ""
    return f"{every[0]:,} {figure.of}" if len(every) == 1 else f"{every[0]:,} to {every[-1]:,} {figure.of}"


def _place(name: str) -> tuple[int, str, int]:
    if (key := model_key(name)) is None:
        return (3, name, 0)
    return (0 if key == BASE else 1 if key.is_methods else 2, key.arm, key.round)


def _benchmarks(seeds: Sequence[Benchmarks]) -> dict[str, Any] | None:
    """Return a row per score with a column per model: means over seeds, with the mean of their intervals' ends."""
    if not seeds:
        return None
    names = [name for name in seeds[0].models if all(name in seed.models for seed in seeds)]
    keys = list(dict.fromkeys(key for name in names for key in seeds[0].models[name].scores))

    def shown(name: str, key: str) -> Cell:
        every = [seed.models[name] for seed in seeds]
        if not all(key in of.scores for of in every):
            return EMPTY
        score = f"{sum(of.scores[key] for of in every) / len(every):.4g}"
        changes = [of.minus_base[key] for of in every if of.minus_base and key in of.minus_base]
        if len(changes) < len(every):
            return Cell(score, "")
        ends = [[end for end in change if end is not None] for change in changes]
        change, *bounds = (sum(parts) / len(parts) for parts in zip(*ends, strict=False))
        return Cell(score, f"{_signed(change)} ({' to '.join(map(_signed, bounds))})" if bounds else _signed(change))

    rows = [{"text": key, "cells": [shown(name, key) for name in names]} for key in keys]
    return {"columns": [model_name(name) for name in names], "rows": rows} if rows else None


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "\u2212")


def _fates(tests: Sequence[Trial]) -> str:
    """Return '76 state the new value, 14 say nothing of the part, 3 still state the old value'."""
    counts = Counter(test.fate for test in tests)
    return ", ".join(f"{counts[fate]} {words}" for fate, words in COUNTED_FATES.items() if counts[fate])


def _example(kind: str, test: Trial, drawings: Path, pictures: Pictures) -> dict[str, Any]:
    after = test.hidden if kind == "hidden" else test.changed
    verdict = VERDICTS.get(kind, "open")
    marked = {"right": [test.new], "wrong": [test.reason], "open": _third_value(test, after)}[verdict]
    drawn = _drawings(kind, test, drawings / f"{test.example}.png")
    shown = [pictures.drawing(image) if image else Picture("") for image in drawn]
    return {
        "title": FATES[kind], "verdict": verdict, "reason": test.reason, "label": test.example.split("/")[-2:][0],
        "id": test.example, "new": "" if kind == "hidden" else test.new,
        "before": _marked(test.answer, [test.reason]), "after": _marked(after, marked),
        "pictures": shown if all(picture.uri for picture in shown) else [],
    }  # fmt: skip


@cache
def _stated() -> StatedConcepts:
    return StatedConcepts([phrases[0] for attribute in BIRD for phrases in attribute.values.values()])


def _third_value(test: Trial, after: str) -> list[str]:
    """Return what a misread attribute is said to be."""
    if test.fate != "misread" or not (found := attribute_of(test.reason)):
        return []
    return [said for said in _stated()(after) if any(said in phrases for phrases in found[0].values.values())]


def _marked(answer: str, concepts: Sequence[str]) -> list[Span]:
    """Return an answer cut where the words of these concepts begin and end."""
    shown = clip(answer)
    parts: list[Span] = []
    at = 0
    for start, end in sorted(span for concept in concepts for span in mention(concept, shown)):
        if start >= at:
            parts += [(shown[at:start], False), (shown[start:end], True)]
            at = end
    return [part for part in (*parts, (shown[at:], False)) if part[0]]


def _drawings(kind: str, test: Trial, path: Path) -> tuple[Image.Image | None, Image.Image | None]:
    """Return the drawing before and after its change; None where it is no longer the one that was tested."""
    split, _, rest = test.example.partition("/")
    label, _, digits = rest.rpartition("/")
    bird = next((species for species in make_species() if species.name == label), None)
    old, new = attribute_of(test.reason), attribute_of(test.new)
    if bird is None or old is None or new is None or not digits.isdecimal():
        return None, None
    try:
        own = load_image(str(path))
    except SeeWhyError:
        return None, None
    look, drawing = draw_example(bird, split, int(digits))
    if drawing.image.tobytes() != own.tobytes():
        return None, None
    if kind != "hidden":
        return own, draw_example(bird, split, int(digits), {old[0].name: new[1]})[1].image
    boxes: Any = truth_of(bird, look, drawing)["boxes"]
    return own, covered(own, boxes[test.reason]) if test.reason in boxes else None
