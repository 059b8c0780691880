"""The first screen of the page: what was asked, and the headline figures with the alternatives beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from seewhy.report.arms import HEADLINES, Line, title
from seewhy.report.chart import Strip, strip
from seewhy.report.table import EE_COUNTS, Cell, Metrics, cell, percent


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
