"""Where one training example came from: its image, descriptions, concept scores, candidates and answers.

trace("runs/fieldguide", "train/Ivo Wren/003")      # one image, all rounds
trace("runs/fieldguide", "train/Ivo Wren/003/1/2")  # one answer: round 1, number 2, and the candidates it beat
trace("runs/fieldguide", "train/Ivo Wren/003/covered/0")  # one of its copies with a covered part (tune.covered)
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any, Literal

from seewhy.domain.covering import COVERED, covered_copies, covered_place, image_of
from seewhy.domain.loaders import Row
from seewhy.errors import SeeWhyError
from seewhy.records import Answer, Candidate, Description, Example
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import OURS, StageKey

_ANSWER_ID = re.compile(r"(?P<example>.+)/(?P<round>[1-9]\d*)/(?P<number>\d+)")
_NEAREST = 3


def trace(run: str, name: str) -> dict[str, Any]:
    """Return all that the run's records say of a training example, or of one answer, as values for JSON.

    {id, example_id, image, label, descriptions: [{query, sample, text}], concepts: [{concept, score, selected}],
    rounds: [{round, tuned, queries: [{id, candidates: [...], answer}]}], copies: [{id, left, top, side, descriptions,
    concepts, shown, answers}]}. A score that is missing is None. `tuned` says whether a model has learnt from the
    round's answers. A query has the id of its answer, which is None until it is made. `copies` are those with a covered
    part, and the answers about them are learnt from in every round; they may state what is `shown`, the concepts that
    were selected for image and copy. Raises SeeWhyError for an id that the run does not have, naming the nearest.
    """
    opened = FinishedRun.open(run)
    example_id, wanted = _find(name, opened)
    row = opened.examples[example_id]
    if row.split != "train":
        raise SeeWhyError(
            f"{example_id!r} is a {row.split} image: no model learns from it. Ids of train images have a trace."
        )

    def read(stage: StageKey, record: type) -> list[dict[str, Any]]:
        return _of(example_id, opened.records(stage, record))

    rounds = []
    for round in range(1, opened.config.rounds + 1):
        candidates = read(OURS.stage("candidates", round), Candidate)
        answers = read(OURS.stage("answers", round), Answer)
        if queries := _queries(f"{example_id}/{round}", candidates, answers):
            tuned = opened.is_complete(OURS.stage("model", round))
            rounds.append({"round": round, "tuned": tuned, "queries": queries})
    concepts = _of(example_id, opened.selections())
    copies = _copies(example_id, row, concepts, opened)
    if wanted == "copy":
        rounds, copies = [], [copy for copy in copies if copy["id"] == name]
        if not copies:
            raise SeeWhyError(f"{example_id!r} has no copy {name!r}. tune.covered is {opened.config.tune.covered:g}.")
    if wanted == "answer":
        known = [query["id"] for r in rounds for query in r["queries"]]
        known += [answer["id"] for copy in copies for answer in copy["answers"]]
        if name not in known:
            raise SeeWhyError(f"{example_id!r} has no answer {name!r}{_so_far(known)}")
        rounds = [r | {"queries": [q for q in r["queries"] if q["id"] == name]} for r in rounds]
        copies = [copy | {"answers": [a for a in copy["answers"] if a["id"] == name]} for copy in copies]
        copies = [copy for copy in copies if copy["answers"]]
    return {
        "id": name,
        "example_id": example_id,
        "image": str(opened.image_folder / row.image),
        "label": row.label,
        "descriptions": read(StageKey("describe"), Description),
        "concepts": concepts,
        "rounds": [r for r in rounds if r["queries"]],
        "copies": copies,
    }


def _copies(example_id: str, row: Row, concepts: Sequence[Mapping[str, Any]], run: FinishedRun) -> list[dict[str, Any]]:
    """Return what the run's records say of each copy of a train image with a covered part."""
    image = Example(example_id, row.image, "", row.label, row.split)
    tune = run.config.tune
    of_image = _selected(concepts)
    found = []
    for copy in covered_copies([image], tune.covered, tune.cover_area, run.config.seed):
        again = _of(copy.id, run.selections(StageKey("select", split=COVERED)))
        found.append({
            "id": copy.id,
            **dict(zip(("left", "top", "side"), covered_place(copy.image) or (), strict=True)),
            "descriptions": _of(copy.id, run.records(StageKey("describe", split=COVERED), Description)),
            "concepts": again,
            "shown": [concept for concept in of_image if concept in _selected(again)],
            "answers": _of(copy.id, run.records(OURS.of_copies(), Answer)),
        })  # fmt: skip
    return found


def _selected(concepts: Sequence[Mapping[str, Any]]) -> list[str]:
    return [row["concept"] for row in concepts if row["selected"]]


def _of(example_id: str, records: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the records of one example as values for JSON."""
    mine = [asdict(record) for record in records if record.example_id == example_id]
    return [{key: _plain(value) for key, value in values.items() if key != "example_id"} for values in mine]


def _find(name: str, run: FinishedRun) -> tuple[str, Literal["image", "copy", "answer"]]:
    """Return the train image of an id, and whether the id is its own, that of a copy of it or that of an answer."""
    if name in run.examples:
        return name, "image"
    if (of_copy := image_of(name)) in run.examples and name.removeprefix(f"{of_copy}/{COVERED}/").isdecimal():
        return of_copy, "copy"
    parts = _ANSWER_ID.fullmatch(name)
    if parts and (example_id := parts["example"]) in run.examples:
        return example_id, "answer"
    if parts and (of_copy := image_of(parts["example"])) in run.examples:
        return of_copy, "answer"
    trained = [example_id for example_id, row in run.examples.items() if row.split == "train"]
    stem, ending = (parts["example"], name[len(parts["example"]) :]) if parts else (name, "")
    close = [near + ending for near in get_close_matches(stem, trained, _NEAREST)] or trained[:_NEAREST]
    nearest = ", ".join(repr(near) for near in close)
    raise SeeWhyError(f"{run.path} has no training example or answer {name!r}. The nearest ids: {nearest}.")


def _queries(
    prefix: str, candidates: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one entry per query, in order: the n-th answer of a round is chosen among the n-th query's candidates."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for candidate in candidates:
        groups.setdefault(candidate["query"], []).append(candidate)
    judged, by_id = list(groups.values()), {answer["id"]: answer for answer in answers}
    return [
        {
            "id": f"{prefix}/{number}",
            "candidates": judged[number] if judged else [],
            "answer": by_id.get(f"{prefix}/{number}"),
        }
        for number in range(len(judged) or len(answers))
    ]


def _so_far(known: Sequence[str]) -> str:
    if not known:
        return ": no round has come to it yet. Start the run again: it goes on where it stopped."
    return f". It has {known[0]!r} to {known[-1]!r}." if len(known) > 1 else f". It has {known[0]!r}."


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
