"""`seewhy concepts`: reads the bank and what a run made of it, and shows what was found or drafted."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.config import DataConfig, RunConfig
from seewhy.domain.bank_check import Finding, check_bank, ordered, unused
from seewhy.domain.concepts import ConceptBank, fit_concepts, unused_classes
from seewhy.domain.domain import read_bank, with_aliases
from seewhy.domain.drafting import Draft, sources_of
from seewhy.domain.loaders import Reading
from seewhy.domain.loaders.layouts import read_data
from seewhy.endpoint import Endpoint, Prices
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.progress import progress
from seewhy.proof.audit import FEWEST_IMAGES, concept_use
from seewhy.proof.explanation import StatedConcepts
from seewhy.proof.wording import words_of
from seewhy.records import Description, Selection
from seewhy.report.run_records import RunRecords

SHOWN = 40
"""Findings of one level that are shown; the rest are counted, and stand in --json."""


@dataclass(frozen=True)
class Checked:
    classes: int
    concepts: int
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    """Findings of each level."""


def labels_of(config: RunConfig) -> list[str]:
    """The classes of a data set, sorted; no image is opened and no bank needed."""
    _, reading = _reading(replace(config.data, concepts=None), config.output)
    return sorted({row.label for row in reading.rows})


def checked(config: RunConfig, run: str | None) -> Checked:
    """All findings of the config's bank, and with `run` of what that run made of it."""
    data, reading = _reading(config.data, config.output)
    if data.concepts is None and reading.bank is None:
        raise SeeWhyError(
            "There is no bank to check: set data.concepts to one, or have one written by `seewhy concepts draft`."
        )
    written, problems = read_bank(data, reading)
    labels = sorted({row.label for row in reading.rows})
    bank, fit_problems = fit_concepts(written, labels)
    strange = {label: written[label] for label in unused_classes(written, labels)}
    bank = with_aliases(bank, reading.aliases)
    found = check_bank({**bank, **strange}, data.noun, [*problems, *fit_problems], bank.aliases)
    what = "no image of that class: a run passes its concepts over"
    found = ordered([*found, *(Finding("note", "no image", label, tuple(strange[label]), what) for label in strange)])
    if run is not None:
        found = ordered([*found, *_unused(run, bank)])
    levels = Counter(finding.level for finding in found)
    counts = {level: levels[level] for level in ("problem", "warning", "note")}
    return Checked(len(written), sum(map(len, written.values())), tuple(found), counts)


def _reading(data: DataConfig, output: str) -> tuple[DataConfig, Reading]:
    """The data's settings and rows. Raises SeeWhyError where there is no image."""
    data = with_guide(data, Path(output) / "fieldguide")
    reading = read_data(data)
    if not reading.rows:
        raise SeeWhyError(f"{data.source}: there is no image that can be used, so there are no classes; add some.")
    return data, reading


def _unused(run: str, bank: ConceptBank) -> list[Finding]:
    """Concepts of the bank that a run's descriptions never state, or that it never selected."""
    records = RunRecords(run)
    selections, labels = records.read("select", Selection), records.labels
    if not selections:
        raise SeeWhyError(f"{run} has not selected any concept yet; start its run again, or leave --run out.")
    use = {
        (u.label, u.concept): (u.images, u.selected)
        for u in concept_use(selections, labels)
        if u.concept in bank.get(u.label, ())
    }
    by_label: dict[str, list[str]] = defaultdict(list)
    for description in records.read("describe", Description):
        by_label[labels[description.example_id]].append(description.text)
    said: Counter[tuple[str, str]] = Counter()
    names = (*bank, *(name for names in bank.aliases.values() for name in names))
    with progress("reading the descriptions", total=sum(map(len, by_label.values())), done=0) as advance:
        for label, texts in by_label.items():
            stated = StatedConcepts((concept for concept in bank.get(label, ()) if words_of(concept)), names)
            for text in texts:
                said.update((label, concept) for concept in stated(text))
                advance(1)
    return unused(use, said, FEWEST_IMAGES)


def print_checked(found: Checked, console: Console) -> None:
    """The findings, the worst first, and how many there are."""
    for level in ("problem", "warning", "note"):
        of_level = [finding for finding in found.findings if finding.level == level]
        if not of_level:
            continue
        table = Table(title=f"{level.capitalize()}s", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("What", "Class", "Concepts", ""):
            table.add_column(column)
        for finding in of_level[:SHOWN]:
            told = (finding.kind, finding.label, "; ".join(finding.concepts), finding.text)
            table.add_row(*map(Text, told))
        console.print(table)
        if len(of_level) > SHOWN:
            console.print(f"and {len(of_level) - SHOWN} more {level}s; --json has them all.", highlight=False)
    told = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in found.counts.items())
    console.print(f"{found.concepts} concepts of {found.classes} classes: {told}.", highlight=False)


def print_draft(
    found: Draft, bank: Path, classes: int, endpoint: Endpoint, prices: Prices | None, console: Console
) -> None:
    """How many concepts were kept, why the rest were dropped, what is missing, and what it took."""

    def tell(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    concepts = sum(map(len, found.bank.values()))
    tell(
        f"Wrote {bank}: {concepts} concepts of {len(found.bank)} of {classes} classes ({sources_of(bank)} has sources)."
    )
    if found.dropped:
        tell("Dropped: " + ", ".join(f"{reason} ({count})" for reason, count in found.dropped.most_common()) + ".")
    usage = found.usage + endpoint.wasted
    cost = "" if prices is None else f", {prices.cost(usage):.2f} at the prices given"
    tell(f"Took {usage.prompt_tokens:,} tokens in and {usage.completion_tokens:,} out{cost}.")
    for label, reason in found.missing.items():
        tell(f"No concept of {label}: {reason}.")
    if found.missing:
        tell("The same command asks for these alone.")
