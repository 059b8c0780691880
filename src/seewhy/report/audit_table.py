"""The audit of the training data as rows of text. `audit_rows` is shared by the terminal and the page."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.proof.audit import Audit, ConceptUse, RoundAudit, Teaching
from seewhy.report.run_records import RunRecords
from seewhy.report.table import percent
from seewhy.storage import write_atomically

COLUMNS = ("Answers", "Label only", "Queries won", "Candidates kept", "Margin", "Near copies", "Repeat")
SHOWN = 12
"""Rows of a table on the page; the rest are counted."""


@dataclass(frozen=True)
class ListUse:
    """The concepts of one class that none, and that all, of its images were given."""

    label: str
    never: tuple[str, ...]
    always: tuple[str, ...]


def cells(taught: Teaching) -> tuple[str, ...]:
    """The figures of one round, or of one class in it, under `COLUMNS`; empty where there was nothing to count."""
    margin = "" if taught.margin is None else f"{taught.margin:.2f}"
    shares = (taught.fallback_share, taught.accepted_share, taught.kept_share)
    alike = (taught.near_duplicate_share, taught.repeating_share)
    return (str(taught.answers or ""), *map(_share, shares), margin, *map(_share, alike))


def rejections(taught: Teaching, most: int = 4) -> str:
    """'names no label (643), names another label (12)', the most frequent first."""
    told = [f"{reason} ({count})" for reason, count in taught.rejections.items()]
    rest = sum(list(taught.rejections.values())[most:])
    return ", ".join(told[:most] + ([f"other reasons ({rest})"] if rest else []))


def repeats(taught: Teaching) -> str:
    """The phrases said twice in one answer, in a sentence; empty where there are none."""
    if not taught.longest_repeat:
        return ""
    often = f"“{taught.commonest_repeat}” most often ({taught.commonest_repeat_answers} of {taught.reasoned})"
    return f"{often}, the longest of {taught.longest_repeat_words} words: “{taught.longest_repeat}”"


def list_use(audit: Audit) -> list[ListUse]:
    """By class, the one with most such concepts first."""
    never, always = _by_label(audit.never), _by_label(audit.always)
    found = [ListUse(label, never.get(label, ()), always.get(label, ())) for label in sorted({*never, *always})]
    return sorted(found, key=lambda use: -len(use.never) - len(use.always))


def starving(audit: Audit) -> list[tuple[int, Teaching]]:
    """(round, class) for each class that starves, the worst of the last round first."""
    return [(r.round, taught) for r in reversed(audit.rounds) for taught in _starving(r)]


def print_audit(audit: Audit, console: Console) -> None:
    """The rounds, then what was rejected and repeated, the classes that starve, the concepts taken never or always."""
    if not audit.rounds:
        console.print("No round has answers or candidates yet.")
    else:
        rounds = [(f"Round {r.round}", cells(r.whole)) for r in audit.rounds]
        console.print(_table("What became training data", "", COLUMNS, rounds))
    for r in audit.rounds:
        if told := rejections(r.whole):
            _say(console, f"Round {r.round}, rejected: {told}.")
        if told := repeats(r.whole):
            _say(console, f"Round {r.round}, said twice in one answer: {told}.")
    if audit.rounds:
        last = audit.rounds[-1]
        body = [(taught.label, cells(taught)) for taught in last.classes]
        console.print(_table(f"Round {last.round}, by class", "Class", COLUMNS, body))
    for r in audit.rounds:
        if hungry := _starving(r):
            shares = ", ".join(f"{taught.label} ({_share(taught.fallback_share)})" for taught in hungry)
            _say(console, f"Round {r.round}, classes that are taught little but their name: {shares}.")
    if uses := list_use(audit):
        body = [(use.label, ("; ".join(use.never), "; ".join(use.always))) for use in uses]
        console.print(
            _table("Concepts that none or all of a class's images got", "Class", ("Never", "Always"), body, "left")
        )


def write_audit(run: str) -> Audit:
    """The audit of a run, which is also written to RUN/audit.json, atomically."""
    audit = RunRecords(run).audit()
    write_atomically(Path(run) / "audit.json", (audit_json(audit) + "\n").encode())
    return audit


def audit_json(audit: Audit) -> str:
    """The audit as JSON text, every field under its own name."""
    return json.dumps(asdict(audit), indent=2, ensure_ascii=False, allow_nan=False)


def _table(
    title: str, first: str, columns: Sequence[str], body: Iterable[tuple[str, Sequence[str]]], justify: str = "right"
) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, min_width=7)
    for column in columns:
        whole = max(map(len, column.split()))
        table.add_column(column, justify="right" if justify == "right" else "left", min_width=whole)
    for name, values in body:
        table.add_row(Text(name), *map(Text, values))
    return table


def _starving(r: RoundAudit) -> list[Teaching]:
    by_label = {taught.label: taught for taught in r.classes}
    return [by_label[label] for label in r.starving]


def _by_label(uses: Iterable[ConceptUse]) -> dict[str, tuple[str, ...]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for use in uses:
        groups[use.label].append(use.concept)
    return {label: tuple(concepts) for label, concepts in groups.items()}


def _share(share: float | None) -> str:
    return "" if share is None else percent(share)


def _say(console: Console, text: str) -> None:
    console.print(Text(text), highlight=False)
