"""General ability: what a model could do before it was tuned, and can still do after.

On drawings (fieldguide/quiz.py) an answer is held to what is to be seen; on benchmarks the scores are lmms-eval's own.
"""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from seewhy.errors import SeeWhyError
from seewhy.fieldguide.quiz import Kind, Sheet
from seewhy.fieldguide.world import Attribute
from seewhy.proof.explanation import StatedConcepts
from seewhy.proof.tally import Tally

Z = 1.96
"""Standard errors on either side of a score in a 95 % interval."""

_FIGURES: Mapping[Kind, str] = {
    "open": "attribute_accuracy", "yes": "yes_no_accuracy", "no": "yes_no_accuracy", "hidden": "hidden_admitted",
}  # fmt: skip


def count_sheet(
    tally: Tally, place: int, sheet: Sheet, answers: Sequence[str], attributes: Sequence[Attribute],
    stated: StatedConcepts, suffix: str = "",
) -> None:  # fmt: skip
    """Count the answers to one drawing's questions at its place in a tally; `suffix` ends the figures' names.

    attribute_accuracy: of visible attributes, named with their own value and no other. yes_no_accuracy.
    hidden_admitted: of attributes that are out of sight, said to be so. described_precision: of the features in a
    description, those that are visible and right; described_recall: of the visible attributes, those it has right.
    """
    phrases = {a.name: a.values[sheet.look[a.name]] for a in attributes}
    every = {a.name: [p for values in a.values.values() for p in values] for a in attributes}
    for question, answer in zip(sheet.questions, answers, strict=True):
        said = stated(answer)
        if question.kind == "describe":
            right, features = described(said, phrases, every, sheet.visible)
            tally.add(f"described_precision{suffix}", place, right, features)
            tally.add(f"described_recall{suffix}", place, right, len(sheet.visible))
        else:
            name = question.attribute
            right = is_right(question.kind, answer, said, phrases[name], every[name])
            tally.add(f"{_FIGURES[question.kind]}{suffix}", place, right)


def is_right(
    kind: Kind, answer: str, said: Collection[str], own: Collection[str], every: Collection[str]
) -> bool:  # fmt: skip
    """Whether an answer about one attribute is right. `own` are the phrases of its value, `every` those of any."""
    words = answer.lower()
    if kind == "open":
        values = set(said) & set(every)
        return bool(values) and values <= set(own)
    if kind == "hidden":
        return "cannot be seen" in words or "not visible" in words
    return re.match(rf"{kind}\b", words) is not None


def described(
    said: Collection[str], own: Mapping[str, Collection[str]], every: Mapping[str, Collection[str]],
    visible: Collection[str],
) -> tuple[int, int]:  # fmt: skip
    """Of what is said in a description: (attributes that are visible and had right, features said).

    Synonyms of one attribute's value count once; two values of one attribute are two features, of which one is wrong.
    """
    right = sum(name in visible and not set(own[name]).isdisjoint(said) for name in own)
    wrong = sum(
        phrase in said and not (name in visible and phrase in own[name]) for name in every for phrase in every[name]
    )
    return right, right + wrong


Scores = dict[str, tuple[float, float | None]]
"""'task/metric' -> (score, its standard error where lmms-eval gives one)."""


def read_lmms_results(folder: Path, tasks: Sequence[str]) -> Scores | None:
    """The scores of the newest results below a folder that lmms-eval left for all of `tasks`; None without any.

    Its layout: MODEL/DATE_results.json with {"results": {task: {"metric,filter": score,
    "metric_stderr,filter": error}}}; "N/A" and [] stand for what could not be had.
    """
    for path in sorted(folder.glob("**/*results.json"), key=lambda path: (path.name, path.stat().st_mtime))[::-1]:
        try:
            results = json.loads(path.read_text(encoding="utf-8"))["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise SeeWhyError(f"{path} does not hold results of lmms-eval ({error!r}); remove it.") from error
        if set(tasks) <= results.keys():
            return {key: score for task in tasks for key, score in _scores(task, results[task]).items()}
    return None


def _scores(task: str, values: Mapping[str, Any]) -> Scores:
    found: Scores = {}
    for key, value in values.items():
        metric, _, kind = key.partition(",")
        if metric.endswith("_stderr") or not _is_number(value):
            continue
        error = values.get(f"{metric}_stderr,{kind}" if kind else f"{metric}_stderr")
        found[f"{task}/{metric}"] = (float(value), float(error) if _is_number(error) else None)
    return found


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def score_changes(before: Scores, after: Scores) -> dict[str, list[float]]:
    """'task/metric' -> [after less before], and where both have a standard error [difference, low, high].

    The two are taken for independent, which the same questions are not: the interval is, if anything, too wide.
    """
    changes = {}
    for key in before.keys() & after.keys():
        (old, old_error), (new, new_error) = before[key], after[key]
        apart = new - old
        if old_error is None or new_error is None:
            changes[key] = [apart]
        else:
            reach = Z * math.hypot(old_error, new_error)
            changes[key] = [apart, apart - reach, apart + reach]
    return dict(sorted(changes.items()))
