"""What is looked at: labelled images, the concept bank, the questions, and (where it is known) the truth.

`load_domain` reads a user's data, decodes every image once (on up to eight threads, in the same pass that takes
its SHA-256), and raises one `SeeWhyError` with all that is wrong. So what a
run is built on has been seen to be whole before the first hour of computing.

An example's id is its path without the extension, or with it where two files differ in nothing else.
"""

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from seewhy.config import DataConfig
from seewhy.domain.concepts import ConceptBank, fit_concepts, label_problems, read_concepts
from seewhy.domain.images import image_sha256
from seewhy.domain.labels import LabelMatcher, name_problems
from seewhy.domain.loaders import Row
from seewhy.domain.loaders.folder import read_folder
from seewhy.domain.loaders.table import read_table
from seewhy.domain.loaders.truth import load_truth
from seewhy.domain.problems import raise_problems, shorten
from seewhy.domain.questions import Questions
from seewhy.errors import SeeWhyError
from seewhy.progress import progress
from seewhy.records import Example, Truth

PROGRESS_AFTER = 10.0
"""Seconds of checking images after which progress is shown."""


@dataclass(frozen=True)
class Domain:
    """A data set that has passed every check of `load_domain`. `root` is the absolute folder of the images."""

    name: str
    root: Path
    examples: tuple[Example, ...]
    concepts: ConceptBank
    questions: Questions
    truth: Mapping[str, Truth] | None = None

    def split(self, name: str) -> tuple[Example, ...]:
        """The examples of 'train', 'val' or 'test'."""
        return tuple(example for example in self.examples if example.split == name)

    def path(self, example: Example) -> str:
        """The absolute path of the example's image."""
        return str(self.root / example.image)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Every label once, sorted."""
        return tuple(sorted({example.label for example in self.examples}))

    @cached_property
    def matcher(self) -> LabelMatcher:
        """Tells which label a text names; knows the aliases, and the concepts that a label's word occurs in."""
        return LabelMatcher(self.labels, self.concepts.aliases, self.concepts)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what a run depends on: examples, concepts, aliases, questions; neither place nor truth."""
        content = {
            "examples": sorted((e.id, e.sha256, e.label, e.split) for e in self.examples),
            "concepts": {label: list(phrases) for label, phrases in self.concepts.items()},
            "aliases": {label: list(names) for label, names in self.concepts.aliases.items()},
            "questions": list(self.questions.texts),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def load_domain(data: DataConfig) -> Domain:
    """The user's data, checked. `SeeWhyError` lists every problem of images, labels, splits and concepts at once."""
    source = _source(data)
    if data.concepts is None:
        raise SeeWhyError("A data set of your own needs a concept bank; set data.concepts to a YAML or JSON file.")
    questions = Questions.for_noun(data.noun, data.questions)
    bank, bank_problems = read_concepts(Path(data.concepts))
    root, rows, problems = _read_rows(source)
    if not rows:
        raise_problems(source, [*problems, "there is no image that can be used; add some."])
    bank, fit_problems = fit_concepts(bank, sorted({row.label for row in rows}))
    examples, image_problems = _read_examples(root, rows)
    problems += image_problems + _class_problems(rows, bank) + _double_images(rows, examples)
    raise_problems(source, problems + bank_problems + fit_problems)
    whole = tuple(example for example in examples if example)
    truth = load_truth(Path(data.truth), whole) if data.truth else None
    return Domain(root.name if source.is_dir() else source.stem, root, whole, bank, questions, truth)


def list_examples(data: DataConfig) -> tuple[Path, dict[str, Row]]:
    """The absolute folder of the images, and example id -> row, with no image opened and nothing checked.

    For those who look at a run whose data `load_domain` has admitted. Raises SeeWhyError where there is no such data.
    """
    root, rows, _ = _read_rows(_source(data))
    return root, dict(zip(_ids(rows), rows, strict=True))


def _source(data: DataConfig) -> Path:
    source = Path(data.source)
    if not source.exists():
        raise SeeWhyError(f"There is no folder or table '{source}'; set data.source to one.")
    return source


def _read_rows(source: Path) -> tuple[Path, list[Row], list[str]]:
    """The folder that images are relative to, the rows, and what is wrong with them."""
    root = source.resolve() if source.is_dir() else source.parent.resolve()
    return root, *(read_folder(root) if source.is_dir() else read_table(source))


def _ids(rows: Sequence[Row]) -> list[str]:
    """Each row's example id."""
    stems = Counter(_stem(row.image) for row in rows)
    stems.update(row.image for row in rows)
    return [stem if stems[stem := _stem(row.image)] == 1 else row.image for row in rows]


def _read_examples(root: Path, rows: Sequence[Row]) -> tuple[list[Example | None], list[str]]:
    """The example of each row (None where its image is not whole), and what is wrong with the images."""
    examples: list[Example | None] = []
    problems = []
    checked = _check_images([root / row.image for row in rows])
    for row, example_id, (sha256, problem) in zip(rows, _ids(rows), checked, strict=True):
        examples.append(None if problem else Example(example_id, row.image, sha256, row.label, row.split))
        if problem:
            problems.append(f"{row.where}{problem}")
    return examples, problems


def _check_images(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """(sha256, "") of each image in order, or ("", what is wrong); progress is shown once this takes long."""

    def check(path: Path) -> tuple[str, str]:
        try:
            return image_sha256(path), ""
        except SeeWhyError as error:
            return "", str(error).removeprefix(str(path))

    start = time.monotonic()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(min(8, os.cpu_count() or 1)))
        advance = None
        for number, result in enumerate(pool.map(check, paths)):
            if advance is None and time.monotonic() - start > PROGRESS_AFTER:
                advance = stack.enter_context(progress("checking images", total=len(paths), done=number))
            if advance is not None:
                advance(1)
            yield result


def _class_problems(rows: Sequence[Row], bank: ConceptBank) -> list[str]:
    labels = sorted({row.label for row in rows})
    problems = label_problems(labels) + name_problems(labels, bank.aliases)
    if len(labels) == 1:
        problems.append(f"'{shorten(labels[0])}' is the only class; the method tells classes apart, so add another.")
    trained = {row.label for row in rows if row.split == "train"}
    for label in labels:
        if label not in trained:
            problems.append(f"class '{shorten(label)}' has no train image; add some or remove its other images.")
    return problems


def _double_images(rows: Sequence[Row], examples: Iterable[Example | None]) -> list[str]:
    """The same bytes in two splits, or under two labels."""
    copies: dict[str, list[Row]] = defaultdict(list)
    for row, example in zip(rows, examples, strict=True):
        if example:
            copies[example.sha256].append(row)
    problems = []
    for first, *others in copies.values():
        for other in others:
            if other.split != first.split:
                problems.append(f"{other.where} is the same image as {first.where}, in another split; remove one.")
            elif other.label != first.label:
                problems.append(f"{other.where} is the same image as {first.where}, in another class; remove one.")
    return problems


def _stem(image: str) -> str:
    return str(PurePosixPath(image).with_suffix(""))
