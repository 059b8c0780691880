"""General instruction data in the form of LLaVA-Instruct, mixed into tuning so that the model keeps its manners.

    [{"id": "0", "image": "coco/1.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is it?"},
                                                         {"from": "gpt", "value": "A boat."}]}, ...]

Of each conversation the first question and its answer are taken, as later questions lean on what was said before;
`image` is relative to the JSON's folder and may be missing. That images are there is checked here; they are decoded
only as they are trained on.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from seewhy.domain.problems import JSON_ERRORS, path_problem, raise_problems
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.run.progress import progress, say

_IMAGE_MARKER = "<image>"
_BATCH = 10_000
"""Rows between two steps of the progress bar."""


def replay_digest(path: str | Path) -> str:
    """The SHA-256 of the file, by which a run knows that it has changed."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


class Replay:
    """The general data that a run mixes in; without any, nothing is."""

    def __init__(self, path: str = "", turns: Sequence[Turn] = ()) -> None:
        self.path = path
        self.turns = turns
        self._unread = turns

    @classmethod
    def read(cls, path: str) -> "Replay":
        """Raises SeeWhyError as `load_replay`."""
        return cls(path, load_replay(path))

    def check(self, rejected: Callable[[str], str | None]) -> None:
        """Raises SeeWhyError naming every row with a text that the model would read as something else than text, as
        `rejected` says. To be called before hours of sampling; does its work once."""
        unread, self._unread = self._unread, ()
        problems = [
            f"row {turn.id.removeprefix('replay/')}: the {part} {reason}; reword it or remove the row."
            for turn in unread
            for part, text in (("question", turn.query), ("answer", turn.answer))
            if (reason := rejected(text))
        ]
        raise_problems(self.path, problems)

    def drawn(self, wanted: int, rng: Random) -> list[Turn]:
        """`wanted` of the turns, or all where there are fewer, which is said."""
        if self.turns and wanted > len(self.turns):
            say(f"{self.path} has {len(self.turns)} conversations and {wanted} are wanted: each is taken once.")
        return rng.sample(self.turns, min(wanted, len(self.turns)))


def load_replay(path: str | Path) -> list[Turn]:
    """One turn a conversation, in order, with id `replay/<row>` (from 1). `SeeWhyError` names wrong rows."""
    path = Path(path).resolve()
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, *JSON_ERRORS) as error:
        raise _unreadable(path, error) from error
    if not isinstance(rows, list) or not rows:
        raise SeeWhyError(f"{path} is no list of conversations; set tune.replay to a LLaVA-Instruct JSON file.")
    turns: list[Turn] = []
    problems: list[str] = []
    with progress("checking replay data", total=len(rows), done=0) as advance:
        for number, row in enumerate(rows, 1):
            turn = _read_turn(path.parent, number, row)
            if isinstance(turn, Turn):
                turns.append(turn)
            else:
                problems.append(f"row {number}: {turn}.")
            if not number % _BATCH:
                advance(_BATCH)
    raise_problems(path, problems)
    return turns


def _unreadable(path: str | Path, error: Exception) -> SeeWhyError:
    return SeeWhyError(f"{path} cannot be read ({error}); set tune.replay to a LLaVA-Instruct JSON file.")


def _read_turn(root: Path, number: int, row: Any) -> Turn | str:
    """The row's turn, or what is wrong with it."""
    if not isinstance(row, dict) or not isinstance(row.get("conversations"), list):
        return "has no list 'conversations'; write {id, image, conversations: [{from, value}, ...]}"
    messages = row["conversations"]
    if not all(isinstance(m, dict) and isinstance(m.get("value"), str) for m in messages):
        return "a message has no text 'value'; write {from: human or gpt, value: text}"
    pairs = pairwise(messages)
    pair = next(((q, a) for q, a in pairs if (q.get("from"), a.get("from")) == ("human", "gpt")), None)
    if pair is None:
        return "no 'human' message is followed by a 'gpt' message; add the answer or remove the row"
    query, answer = (message["value"].replace(_IMAGE_MARKER, "").strip() for message in pair)
    if not query or not answer:
        return "the first question or its answer is empty; fill it in or remove the row"
    image = row.get("image") or ""
    if not isinstance(image, str):
        return f"'image' is {image!r:.40}, not one path; give one image a row"
    if image and (problem := path_problem(root, image)):
        return f"image {image!r} {problem}"
    if not image and any(_IMAGE_MARKER in message["value"] for message in pair):
        return f"the text holds {_IMAGE_MARKER} and the row has no 'image'; add the path or remove the marker"
    return Turn(f"replay/{number}", str(root / image) if image else "", query, answer)
