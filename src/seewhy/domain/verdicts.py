"""What people say of selections and data: `verdicts.jsonl`, a line for each verdict, only ever appended to.

    {"id": "6f0c...", "who": "Ada", "when": "2026-11-27T22:14:02.123456+00:00", "kind": "concept", "verdict": "wrong",
     "image": "train/Crow/a", "sha256": "51ab...", "concept": "black bill", "selection": {"digest": "90...",
     "score": 2.61, "selected": true}}

The kinds:

- "concept": `concept` is "right", "wrong" or "hidden" (it cannot be seen) in `image`;
- "label": the label of `image`, given as `label`, is "right" or "wrong";
- "bank": for the class `label`, `concept` is to be "struck", "reworded" (`wording`) or "kept"; `image` is the one that
  the person was looking at;
- "marks": all that `image` shows of the whole bank: `visible`, `hidden` and `absent` phrases;
- "carry": "on" or "off", whether what is said of some images counts for the others too (`method/carry.py`);
- "undo": the verdict with the id `of`, of the same person, counts no more.

Copies that git or mail have merged hold lines twice and in any order: a line is known by its `id`, and lines count in
the order of `when`. A line is one write, flushed to disk; a lock keeps writers apart. A last line without an end was
torn by a kill or a full disk, and nobody was told that it is there: it is left out, and cut off by the next writer.
"""

import json
import os
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from seewhy.config import DataConfig
from seewhy.domain.concepts import MAX_CONCEPT
from seewhy.domain.problems import clean, nearest, raise_problems, reserved_marker, shorten
from seewhy.errors import SeeWhyError
from seewhy.run.progress import say
from seewhy.run.storage import disk, sync

FILE = "verdicts.jsonl"
Kind = Literal["concept", "label", "bank", "marks", "carry", "undo"]
VALUES: Mapping[str, tuple[str, ...]] = {
    "concept": ("right", "wrong", "hidden"),
    "label": ("right", "wrong"),
    "bank": ("struck", "reworded", "kept"),
    "marks": ("complete",),
    "carry": ("on", "off"),
    "undo": ("undo",),
}
"""What a verdict of each kind may say."""
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "concept": ("image", "sha256", "concept"),
    "label": ("image", "sha256", "label"),
    "bank": ("image", "sha256", "label", "concept"),
    "marks": ("image", "sha256"),
    "carry": (),
    "undo": ("of",),
}
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Verdict:
    """One line. Fields that its kind does not use are empty."""

    id: str
    who: str
    when: str
    """UTC, in ISO 8601."""
    kind: Kind
    verdict: str
    image: str = ""
    """The example's id."""
    sha256: str = ""
    """That of the image's file, so that another file under its name does not inherit the verdict."""
    label: str = ""
    concept: str = ""
    wording: str = ""
    of: str = ""
    """The id of the verdict that an undo takes back."""
    visible: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    selection: Mapping[str, Any] | None = None
    """What was shown: `digest` of the selection stage, `score` and `selected`; and how it was chosen, `drawn`."""

    @property
    def subject(self) -> tuple[str, str, str]:
        """What it is about: a later verdict of the same person on the same subject replaces it."""
        if self.kind == "bank":
            return "bank", self.label, self.concept
        return self.kind, self.image, self.concept

    def line(self) -> str:
        """Return the line, without its end."""
        filled = {key: value for key, value in asdict(self).items() if value not in ("", (), None)}
        return json.dumps(filled, ensure_ascii=False, allow_nan=False)


def new_verdict(who: str, kind: Kind, verdict: str, **about: Any) -> Verdict:
    """Return a verdict with an id and the time of now. Raises SeeWhyError for one that the file would not take."""
    made = Verdict(uuid.uuid4().hex, clean_name(who), datetime.now(UTC).isoformat(), kind, verdict, **about)
    found = _read(json.loads(made.line()))
    if isinstance(found, str):
        raise SeeWhyError(f"The verdict was not written: {found}.")
    return found


def clean_name(who: str) -> str:
    """Return a person's name as it is written: one form of each letter, single spaces. Raises SeeWhyError for none."""
    name = unicodedata.normalize("NFC", " ".join(who.split()))
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise SeeWhyError(f"A reviewer needs a name of 1 to {_LONGEST_NAME} letters, not {shorten(repr(who))}.")
    return name


def verdicts_file(data: DataConfig, run: str | Path) -> Path:
    """Return where the verdicts of a run are: `data.verdicts`, or beside the concept bank, or in the run folder where
    the data set brings its own bank."""
    if data.verdicts is not None:
        return Path(data.verdicts)
    return (Path(data.concepts).parent if data.concepts else Path(run)) / FILE


def read_verdicts(path: Path) -> list[Verdict]:
    """Return the verdicts of a file in the order in which they were given, each once; none where there is no file.

    Verdicts that were taken back, and what took them back, are among them (`standing` leaves them out). Says so where
    the last line is torn. Raises SeeWhyError naming file and row of lines that cannot be read.
    """
    if not path.exists():
        return []
    with _locked(path):
        whole, torn = _split(_bytes(path))
    if torn:
        say(f"{path}: the last line was not written to its end ({_shown(torn)}) and is left out; the others are whole.")
    return _parse(path, whole)


def append(path: Path, verdict: Verdict) -> bool:
    """Append a verdict and return True when it is on disk; False where the person has said just that before.

    Raises SeeWhyError for a file that holds a damaged line, or that cannot be written.
    """
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        whole, torn = _split(_bytes(path) if path.exists() else b"")
        said = _parse(path, whole)
        if _repeats(verdict, said):
            return False
        if torn:
            say(f"{path}: the last line was not written to its end ({_shown(torn)}) and is cut off.")
        with disk(path):
            is_new = not path.exists()
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            except OSError as error:
                raise SeeWhyError(f"{path} cannot be written: {error.strerror}. The verdict is not kept.") from error
            try:
                if torn:
                    os.ftruncate(descriptor, len(whole))
                start = b"" if whole.endswith(b"\n") or not whole else b"\n"
                payload = start + verdict.line().encode() + b"\n"
                if (written := os.write(descriptor, payload)) != len(payload):
                    os.ftruncate(descriptor, len(whole))
                    raise SeeWhyError(f"{path} took {written} of {len(payload)} bytes: make room. Nothing is kept.")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync(path.parent)
    return True


def standing(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the verdicts that have not been taken back by whoever gave them, in order."""
    verdicts = list(verdicts)
    undone = {(v.of, v.who) for v in verdicts if v.kind == "undo"}
    return [v for v in verdicts if v.kind != "undo" and (v.id, v.who) not in undone]


def last_of(verdicts: Sequence[Verdict], who: str) -> Verdict | None:
    """Return the latest verdict of a person that has not been taken back: what undo takes back next."""
    return next((v for v in reversed(standing(verdicts)) if v.who == who), None)


def _repeats(verdict: Verdict, said: Sequence[Verdict]) -> bool:
    if verdict.kind == "undo":
        return any(v.kind == "undo" and (v.of, v.who) == (verdict.of, verdict.who) for v in said)
    own = [v for v in standing(said) if v.who == verdict.who and v.subject == verdict.subject]
    return bool(own) and _content(own[-1]) == _content(verdict)


def _content(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.verdict, verdict.wording, verdict.sha256, verdict.visible, verdict.hidden, verdict.absent


def _parse(path: Path, whole: bytes) -> list[Verdict]:
    """Return the verdicts of whole lines, sorted by time. Raises SeeWhyError with all that is wrong, by row."""
    found: dict[str, tuple[int, Verdict]] = {}
    problems: list[str] = []
    for number, line in _lines(whole):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(f"row {number} is not JSON ({error}): correct or remove it.")
            continue
        verdict = _read(record)
        if isinstance(verdict, str):
            problems.append(f"row {number}: {verdict}.")
        elif (known := found.setdefault(verdict.id, (number, verdict)))[1] != verdict:
            problems.append(f"row {number} has the id of row {known[0]} and says something else: remove one.")
    raise_problems(path, problems)
    return sorted((verdict for _, verdict in found.values()), key=lambda v: (datetime.fromisoformat(v.when), v.id))


def _read(record: Any) -> Verdict | str:
    """Return the verdict of a line's JSON, or what is wrong with it."""
    if not isinstance(record, dict):
        return "it is no JSON object; write one {...} a line"
    names = [field.name for field in fields(Verdict)]
    if unknown := record.keys() - set(names):
        return f"unknown key '{shorten(min(unknown))}'{nearest(min(unknown), names)}"
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in VALUES:
        return f"'kind' is {_said(kind)}, not one of {', '.join(VALUES)}"
    if record.get("verdict") not in VALUES[kind]:
        return f"'verdict' is {_said(record.get('verdict'))}, and of kind '{kind}' one of {', '.join(VALUES[kind])}"
    needed = ["id", "who", "when", *_NEEDS[kind], *(["wording"] if record["verdict"] == "reworded" else [])]
    for key in needed:
        if not isinstance(record.get(key), str) or not record[key].strip():
            return f"'{key}' is {_said(record.get(key))}, but a verdict of kind '{kind}' needs it as text"
    for key in ("visible", "hidden", "absent"):
        listed = record.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(phrase, str) for phrase in listed):
            return f"'{key}' is no list of phrases"
    texts = {key: value for key, value in record.items() if key not in ("visible", "hidden", "absent", "selection")}
    if wrong := next((key for key, value in texts.items() if not isinstance(value, str)), None):
        return f"'{wrong}' is {_said(record[wrong])}, not text"
    if not _is_time(record["when"]):
        return f"'when' is {_said(record['when'])}, not a time with its zone, as 2026-11-27T22:14:02+00:00"
    if not isinstance(record.get("selection"), dict | None):
        return "'selection' is no JSON object"
    if problem := _wording_problem(clean(record.get("wording", ""))):
        return problem
    lists = {key: tuple(record.get(key, ())) for key in ("visible", "hidden", "absent")}
    if len(every := [phrase for phrases in lists.values() for phrase in phrases]) > len(set(every)):
        return "a phrase stands in two of 'visible', 'hidden' and 'absent', or twice in one"
    return Verdict(**{**record, **lists, "wording": clean(record.get("wording", ""))})


def _wording_problem(wording: str) -> str | None:
    if len(wording) > MAX_CONCEPT:
        return f"'{shorten(wording)}' has {len(wording)} characters, more than {MAX_CONCEPT}; shorten it"
    if marker := reserved_marker(wording):
        return f"'{shorten(wording)}' holds '{marker}', which models read as a control token; leave it out"
    return None


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _said(value: Any) -> str:
    return "not given" if value is None else shorten(repr(value))


def _lines(whole: bytes) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(whole.decode("utf-8-sig", errors="replace").split("\n"), 1):
        if line.strip():
            yield number, line


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Return the whole lines, and a last line that was torn; a whole last line may lack its end."""
    last = content.rpartition(b"\n")[2]
    try:
        whole = not last.strip() or isinstance(json.loads(last), dict)
    except (ValueError, RecursionError):
        whole = False
    return (content, b"") if whole else (content[: len(content) - len(last)], last)


def _shown(torn: bytes) -> str:
    return shorten(repr(torn.decode(errors="replace")))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SeeWhyError(f"{path} cannot be read: {error.strerror}.") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; where the folder takes no lock file nobody can write there either."""
    place = path.with_name(f".{path.name}.lock")
    if not os.access(path.parent, os.W_OK):
        yield
        return
    with FileLock(place):
        yield
