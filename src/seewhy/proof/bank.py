"""`seewhy concepts check`: check the concept bank of a configuration and, with a run, what that run made of it."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from seewhy.config import DataConfig, RunConfig
from seewhy.domain.bank_check import Finding, check_bank, ordered, unused
from seewhy.domain.concepts import ConceptBank, fit_concepts, unused_classes
from seewhy.domain.domain import read_bank, with_aliases
from seewhy.domain.loaders import Dataset
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.text import canonical_words
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.proof.audit import FEWEST_IMAGES, concept_use
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Description
from seewhy.run.finished import FinishedRun
from seewhy.run.progress import progress
from seewhy.run.stages import StageKey


@dataclass(frozen=True)
class BankCheck:
    """The findings in a bank of `classes` classes and `concepts` concepts; `counts` is level -> number of findings."""

    classes: int
    concepts: int
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]


def data_labels(config: RunConfig) -> list[str]:
    """Return the classes of a data set, sorted; no image is opened and no bank is needed."""
    _, reading = _read_rows(replace(config.data, concepts=None), config.output)
    return sorted({row.label for row in reading.rows})


def check_config_bank(config: RunConfig, run: str | None) -> BankCheck:
    """Return all findings in the bank of `config` and, with `run`, the concepts that this run never said or selected.

    Raises SeeWhyError where there is no bank, no image, or no run with selections.
    """
    data, reading = _read_rows(config.data, config.output)
    if data.concepts is None and reading.bank is None:
        raise SeeWhyError(
            "There is no bank to check: set data.concepts to one, or have one written by `seewhy concepts draft`."
        )
    written, problems = read_bank(data, reading)
    labels = sorted({row.label for row in reading.rows})
    bank, fit_problems = fit_concepts(written, labels)
    strange = {label: written[label] for label in unused_classes(written, labels)}
    bank = with_aliases(bank, reading.aliases)
    findings = check_bank({**bank, **strange}, data.noun, [*problems, *fit_problems], bank.aliases)
    why = "no image of that class: a run ignores its concepts"
    findings += [Finding("note", "no image", label, tuple(strange[label]), why) for label in strange]
    findings = ordered([*findings, *(_never_used(run, bank) if run is not None else ())])
    levels = Counter(finding.level for finding in findings)
    counts = {level: levels[level] for level in ("problem", "warning", "note")}
    return BankCheck(len(written), sum(map(len, written.values())), tuple(findings), counts)


def _read_rows(data: DataConfig, output: str) -> tuple[DataConfig, Dataset]:
    data = with_guide(data, Path(output) / "fieldguide")
    reading = read_data(data)
    if not reading.rows:
        raise SeeWhyError(f"{data.source}: there is no image that can be used, so there are no classes; add some.")
    return data, reading


def _never_used(run: str, bank: ConceptBank) -> list[Finding]:
    """Return the concepts of the bank that a run's descriptions never state, or that it never selected."""
    opened = FinishedRun.open(run)
    selections, labels = opened.selections(), opened.labels
    if not selections:
        raise SeeWhyError(f"{run} has not selected any concept yet; start its run again, or leave --run out.")
    use = {
        (u.label, u.concept): (u.images, u.selected)
        for u in concept_use(selections, labels)
        if u.concept in bank.get(u.label, ())
    }
    by_label: dict[str, list[str]] = defaultdict(list)
    for description in opened.records(StageKey("describe"), Description):
        by_label[labels[description.example_id]].append(description.text)
    said: Counter[tuple[str, str]] = Counter()
    names = (*bank, *(name for names in bank.aliases.values() for name in names))
    with progress("reading the descriptions", total=sum(map(len, by_label.values())), done=0) as advance:
        for label, texts in by_label.items():
            stated = StatedConcepts((concept for concept in bank.get(label, ()) if canonical_words(concept)), names)
            for text in texts:
                said.update((label, concept) for concept in stated(text))
                advance(1)
    return unused(use, said, FEWEST_IMAGES)
