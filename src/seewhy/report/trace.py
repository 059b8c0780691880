"""Where one training example came from: its image, descriptions, concept scores, candidates and answers.

trace("runs/fieldguide", "train/Ivo Wren/003")      # one image, all rounds
trace("runs/fieldguide", "train/Ivo Wren/003/1/2")  # one answer: round 1, number 2, and the candidates it beat
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from seewhy.errors import SeeWhyError
from seewhy.records import Answer, Candidate, Description, Selection
from seewhy.run.finished import RunRecords
from seewhy.run.stages import OURS, StageKey

_ANSWER_ID = re.compile(r"(?P<example>.+)/(?P<round>[1-9]\d*)/(?P<number>\d+)")
_NEAREST = 3


def trace(run: str, name: str) -> dict[str, Any]:
    """All that the run's records say of a training example, or of one answer, as JSON-able values.

    {id, example_id, image, label, descriptions: [{query, sample, text}], concepts: [{concept, score, selected}],
    rounds: [{round, tuned, queries: [{id, candidates: [...], answer}]}]}. A score that is missing is None. `tuned` says
    whether a model has learnt from the round's answers. A query has the id of its answer, which is None until it is
    made. Raises SeeWhyError for an id that the run does not have, naming the nearest.
    """
    records = RunRecords(run)
    example_id, of_answer = _find(name, records)
    row = records.examples[example_id]
    if row.split != "train":
        raise SeeWhyError(
            f"{example_id!r} is a {row.split} image: no model learns from it. Ids of train images have a trace."
        )

    def read(stage: StageKey, record: type) -> list[dict[str, Any]]:
        mine = [asdict(r) for r in records.read(stage, record) if r.example_id == example_id]
        return [{key: _plain(value) for key, value in values.items() if key != "example_id"} for values in mine]

    rounds = []
    for round in range(1, records.rounds + 1):
        candidates = read(OURS.stage("candidates", round), Candidate)
        answers = read(OURS.stage("answers", round), Answer)
        if queries := _queries(f"{example_id}/{round}", candidates, answers):
            tuned = records.is_complete(OURS.stage("model", round))
            rounds.append({"round": round, "tuned": tuned, "queries": queries})
    if of_answer:
        known = [query["id"] for r in rounds for query in r["queries"]]
        if name not in known:
            raise SeeWhyError(f"{example_id!r} has no answer {name!r}{_so_far(known)}")
        rounds = [r | {"queries": [q for q in r["queries"] if q["id"] == name]} for r in rounds]
    return {
        "id": name,
        "example_id": example_id,
        "image": str(records.root / row.image),
        "label": row.label,
        "descriptions": read(StageKey("describe"), Description),
        "concepts": read(StageKey("select"), Selection),
        "rounds": [r for r in rounds if r["queries"]],
    }


def print_trace(found: Mapping[str, Any], console: Console) -> None:
    """The trace for a reader. What comes from data or a model is printed as it stands, never as markup."""
    console.print(Text(found["id"], style="bold"))
    _say(console, f"label  {found['label']}", 2)
    _say(console, f"image  {found['image']}", 2)
    _heading(console, "Descriptions, by the untuned base, which was not told the label", found["descriptions"])
    asked = None
    for description in found["descriptions"]:
        if description["query"] != asked:
            asked = description["query"]
            _say(console, asked, 2, "italic")
        _say(console, f"{description['sample']}  {description['text']}", 4)
    _heading(console, f"Concepts of {found['label']}, the best first", found["concepts"])
    if found["concepts"]:
        console.print(Padding(_concepts(found["concepts"]), (0, 0, 0, 2)))
    for round in found["rounds"]:
        taught = "taught its model" if round["tuned"] else "no model has learnt from it yet"
        console.print(Text(f"\nRound {round['round']}: {taught}", style="bold"))
        for query in round["queries"]:
            _print_query(query, console)
    if not found["rounds"]:
        console.print(Text("\nNo round has come to this example yet.", style="bold"))


def _print_query(query: Mapping[str, Any], console: Console) -> None:
    answer, candidates = query["answer"], query["candidates"]
    console.print()
    _say(console, query["id"], 2, "cyan")
    for number, candidate in enumerate(candidates):
        if not number:
            _say(console, f"{candidate['kind']}: {candidate['query']}", 2, "italic")
        verdict, style = ("kept", "green") if candidate["kept"] else ("rejected", "")
        judged = f"score {_score(candidate['score'])}  {verdict}: {candidate['reason']}"
        _say(console, f"candidate {candidate['sample']}  {judged}", 4, style)
        _say(console, candidate["text"] or "(no text)", 6)
    if answer is None:
        _say(console, "its answer is not chosen yet", 4)
        return
    why = "" if candidates and answer["source"] == "label sentence" else f", {answer['reason']}"
    _say(console, f"answer ({answer['source']}{why})", 4, "bold")
    _say(console, f"{answer['kind']}: {answer['query']}", 6, "italic")
    _say(console, answer["text"], 6)


def _concepts(concepts: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    ranked = sorted(concepts, key=lambda c: -math.inf if c["score"] is None else c["score"], reverse=True)
    for concept in ranked:
        verdict = "selected" if concept["selected"] else ""
        table.add_row(_score(concept["score"]), Text(verdict, style="green"), Text(concept["concept"]))
    return table


def _find(name: str, records: RunRecords) -> tuple[str, bool]:
    """The example of an id, and whether the id is that of an answer."""
    if name in records.examples:
        return name, False
    parts = _ANSWER_ID.fullmatch(name)
    if parts and parts["example"] in records.examples:
        return parts["example"], True
    trained = [example_id for example_id, row in records.examples.items() if row.split == "train"]
    stem, ending = (parts["example"], name[len(parts["example"]) :]) if parts else (name, "")
    close = [near + ending for near in get_close_matches(stem, trained, _NEAREST)] or trained[:_NEAREST]
    nearest = ", ".join(repr(near) for near in close)
    raise SeeWhyError(f"{records.path} has no training example or answer {name!r}. The nearest ids: {nearest}.")


def _queries(
    prefix: str, candidates: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One entry a query, in order: the n-th answer of a round is chosen among the n-th query's candidates."""
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


def _score(score: float | None) -> str:
    return "none" if score is None else f"{score:.2f}"


def _heading(console: Console, text: str, records: Sequence[Any]) -> None:
    console.print(Text(f"\n{text}" if records else f"\n{text}: none yet", style="bold"))


def _say(console: Console, text: str, indent: int, style: str = "") -> None:
    console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))
