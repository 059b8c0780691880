"""The data set of a run: labelled images, the concept bank, the questions, and (where it is known) the ground truth.

`load_domain` reads a user's data, decodes every image once (on all cores, in the pass that takes its SHA-256; with an
index, only those that have changed since) and raises one `SeeWhyError` with everything that is wrong, before the first
hour of computing. An example's id is its path without the extension, or with it if two files differ in nothing else.

A run writes its `Vocabulary` into its folder, so that a finished run is read with the matcher and the concepts that it
was made with, although the bank on disk may have changed or the images be gone.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from seewhy.config import DataConfig
from seewhy.domain.concepts import ConceptBank, fit_concepts, label_problems, read_concepts, unused_classes
from seewhy.domain.image_index import ImageIndex
from seewhy.domain.inspection import image_records
from seewhy.domain.labels import LabelMatcher, name_problems, sentence_problems
from seewhy.domain.loaders import Dataset, Row
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.loaders.truth import load_truth
from seewhy.domain.notes import copies_notes, deep_notes, left_out_notes, spoken_notes, unused_notes
from seewhy.domain.problems import raise_problems, shorten
from seewhy.domain.questions import Questions
from seewhy.domain.text import name_key
from seewhy.errors import SeeWhyError
from seewhy.records import Example, Truth
from seewhy.run.checksums import unsealed_json
from seewhy.run.progress import say
from seewhy.run.storage import digest


@dataclass(frozen=True)
class Domain:
    """A data set that has passed all checks of `load_domain`. `root` is the absolute folder of the images."""

    name: str
    root: Path
    examples: tuple[Example, ...]
    concepts: ConceptBank
    questions: Questions
    truth: Mapping[str, Truth] | None = None
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Example id -> width and height of its image as `load_image` gives it."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Example id -> the lesion, patient or leaf that its image shows, if known (`Row.group`). Intervals are resampled
    over groups; a run does not depend on them."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a question calls an attribute -> its phrases (`Dataset.attributes`), where the truth speaks of them."""

    def split(self, name: str) -> tuple[Example, ...]:
        """Return the examples of 'train', 'val' or 'test'."""
        return tuple(example for example in self.examples if example.split == name)

    def path(self, example: Example) -> str:
        """Return the absolute path of the example's image."""
        return str(self.root / example.image)

    def clusters(self, ids: Iterable[str]) -> list[str] | None:
        """Return the group of each of these examples, an image without one being its own; None if none has a group."""
        ids = list(ids)
        return [self.groups.get(name, name) for name in ids] if any(name in self.groups for name in ids) else None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Return every label once, sorted."""
        return tuple(sorted({example.label for example in self.examples}))

    @cached_property
    def matcher(self) -> LabelMatcher:
        """Return the matcher of labels, which knows the aliases and the concepts that a label's word occurs in."""
        return LabelMatcher(self.labels, self.concepts.aliases, self.concepts)

    @cached_property
    def fingerprint(self) -> str:
        """Return a SHA-256 over what a run depends on: examples, concepts, aliases, questions; not place nor truth."""
        content = {
            "examples": sorted((e.id, e.sha256, e.label, e.split) for e in self.examples),
            "concepts": {label: list(phrases) for label, phrases in self.concepts.items()},
            "aliases": {label: list(names) for label, names in self.concepts.aliases.items()},
            "questions": list(self.questions.texts),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def parts(self) -> dict[str, Any]:
        """Return each part of the data as it is recorded of what was made from it: images and labels by split, concepts
        and aliases by label, questions by kind."""
        found: dict[str, Any] = {}
        for split in ("train", "val", "test"):
            of_split, suffix = self.split(split), "" if split == "train" else f"-{split}"
            labels = [(e.id, e.label) for e in of_split]
            found[f"images{suffix}"] = f"{len(of_split)} images, {_digest([(e.id, e.sha256) for e in of_split])}"
            found[f"labels{suffix}"] = f"{len({e.label for e in of_split})} labels, {_digest(labels)}"
        bank, questions = self.concepts, self.questions
        return found | {
            "concepts": {label: f"{len(phrases)} phrases, {_digest(phrases)}" for label, phrases in bank.items()},
            "aliases": {label: ", ".join(names) for label, names in bank.aliases.items()},
            "questions": {part.name: _digest(getattr(questions, part.name)) for part in fields(questions)},
        }


def _digest(value: Any) -> str:
    return digest(value)[:16]


def load_domain(
    data: DataConfig,
    cache: Path | None = None,
    *,
    to_train: bool = True,
    bank: ConceptBank | None = None,
    index: ImageIndex | None = None,
) -> Domain:
    """Load and check the user's data. Raises SeeWhyError with every problem of images, labels, splits and concepts.

    `cache` takes the images of a Hugging Face data set; by default a folder in the user's cache. Where nothing is to be
    trained on the data (`to_train`), a class needs no train image. `bank` is taken where neither the settings nor the
    data set have one. Of what `index` knows only sizes and times are looked at; save it afterwards.

    Example:
        >>> domain = seewhy.load_domain(seewhy.load_config("birds.yaml").data)
        >>> domain.labels
        ('Crow', 'Fish Crow', 'Red-crested Finch')
    """
    questions = Questions.for_noun(data.noun, data.questions)
    dataset = read_data(data, cache)
    bank, bank_problems = read_bank(data, dataset, bank)
    if not dataset.rows:
        raise_problems(data.source, [*dataset.problems, "there is no image that can be used; add some."])
    labels = sorted({row.label for row in dataset.rows})
    written, (bank, fit_problems) = bank, fit_concepts(bank, labels)
    bank = with_aliases(bank, dataset.aliases)
    images = image_records(dataset, index)
    problems = [
        f"{row.where}{image}" for row, image in zip(dataset.rows, images, strict=True) if isinstance(image, str)
    ]
    problems = dataset.problems + problems + class_problems(dataset.rows, bank, to_train=to_train)
    copies = find_duplicates(dataset.rows, ["" if isinstance(image, str) else image.sha256 for image in images])
    problems += [] if dataset.is_published else [f"{copy}; remove one." for copy in copies]
    raise_problems(data.source, problems + bank_problems + fit_problems)
    ids = example_ids(dataset.rows)
    whole = {
        example_id: (Example(example_id, row.image, image.sha256, row.label, row.split), image)
        for row, example_id, image in zip(dataset.rows, ids, images, strict=True)
        if not isinstance(image, str)
    }
    examples = tuple(example for example, _ in whole.values())
    truth = _read_truth(data, dataset, bank, written, examples)
    for note in [
        *dataset.notes,
        *copies_notes(copies),
        *unused_notes(unused_classes(written, labels)),
        *deep_notes([image.mode for _, image in whole.values()]),
        *([] if dataset.is_published else spoken_notes(labels)),
        *left_out_notes(data.truth, dataset.root, examples),
    ]:
        say(f"Note: {note}")
    root = dataset.root
    name = dataset.name or (root.name if Path(data.source).expanduser().is_dir() else Path(data.source).stem)
    sizes = {example_id: image.size for example_id, (_, image) in whole.items()}
    groups = {i: row.group for i, row in zip(ids, dataset.rows, strict=True) if row.group}
    attributes = dataset.attributes if truth is not None and data.truth is None else {}
    return Domain(name, root, examples, bank, questions, truth, sizes, groups, attributes)


def list_examples(data: DataConfig, cache: Path | None = None) -> tuple[Path, dict[str, Row]]:
    """Return the absolute folder of the images, and example id -> row, with no image opened and nothing checked.

    For those who look at a run whose data `load_domain` has admitted. Raises SeeWhyError if there is no such data.
    """
    dataset = read_data(data, cache)
    return dataset.root, dict(zip(example_ids(dataset.rows), dataset.rows, strict=True))


def read_bank(data: DataConfig, dataset: Dataset, other: ConceptBank | None = None) -> tuple[ConceptBank, list[str]]:
    """Return the user's concept bank, or the data set's own, or else the `other`, and what is wrong in it."""
    if data.concepts is not None:
        return read_concepts(Path(data.concepts))
    if (bank := other if dataset.bank is None else dataset.bank) is None:
        raise SeeWhyError("A data set of your own needs a concept bank; set data.concepts to a YAML or JSON file.")
    return bank, []


def with_aliases(bank: ConceptBank, further: Mapping[str, Sequence[str]]) -> ConceptBank:
    """Return the bank with a data set's own aliases, but for those that its user gave to another label."""
    owner = {name_key(name): label for label, names in bank.aliases.items() for name in names}
    owner |= {name_key(label): label for label in bank}
    aliases = dict(bank.aliases)
    for label, names in further.items():
        if label in bank:
            added = [name for name in names if owner.setdefault(name_key(name), label) == label]
            aliases[label] = tuple(dict.fromkeys([*aliases.get(label, ()), *added]))
    return ConceptBank(bank.concepts, {label: names for label, names in aliases.items() if names})


def _read_truth(
    data: DataConfig, dataset: Dataset, bank: ConceptBank, written: ConceptBank, examples: Sequence[Example]
) -> Mapping[str, Truth] | None:
    """Return what the user says is true, or the data set does, if it speaks of the bank's concepts.

    `written` is the bank with the classes of which there is no image: a user may have marked their phrases too.
    """
    if data.truth:
        return load_truth(Path(data.truth), examples, dataset.root, written.all_concepts)
    if dataset.truth is None:
        return None
    strange = set(bank.all_concepts) - dataset.vocabulary
    if strange:
        say(
            f"Note: {dataset.name}: its annotations know nothing of '{min(strange)}' and {len(strange) - 1} more of "
            "the concepts, so stated reasons cannot be checked against them."
        )
        return None
    return dataset.truth(examples)


def example_ids(rows: Sequence[Row]) -> list[str]:
    """Return each row's example id."""
    stem_of_row = [_stem(row.image) for row in rows]
    stems = Counter(stem_of_row)
    stems.update(row.image for row in rows)
    return [stem if stems[stem] == 1 else row.image for stem, row in zip(stem_of_row, rows, strict=True)]


def class_problems(rows: Sequence[Row], bank: ConceptBank, *, to_train: bool = True) -> list[str]:
    """Return labels that cannot be said or told apart, and classes that cannot be learnt."""
    labels = sorted({row.label for row in rows})
    problems = label_problems(labels) + name_problems(labels, bank.aliases)
    if not problems:
        problems = sentence_problems(labels, bank.aliases, bank)
    if len(labels) == 1:
        problems.append(f"'{shorten(labels[0])}' is the only class; the method tells classes apart, so add another.")
    trained = {row.label for row in rows if row.split == "train"}
    if to_train and not trained:
        return [*problems, "there is no train image at all; a run learns from train/<class>/*.jpg, or split 'train'."]
    for label in labels if to_train else ():
        if label not in trained:
            problems.append(f"class '{shorten(label)}' has no train image; add some or remove its other images.")
    return problems


def find_duplicates(rows: Sequence[Row], sha256s: Iterable[str]) -> list[str]:
    """Return the same bytes in two splits, or under two labels; images without a digest are ignored."""
    copies: dict[str, list[Row]] = defaultdict(list)
    for row, sha256 in zip(rows, sha256s, strict=True):
        if sha256:
            copies[sha256].append(row)
    found = []
    for first, *others in copies.values():
        for other in others:
            if other.split != first.split:
                found.append(f"{other.where} is the same image as {first.where}, in another split")
            elif other.label != first.label:
                found.append(f"{other.where} is the same image as {first.where}, in another class")
    return found


def _stem(image: str) -> str:
    """Return a path without its last suffix, as pathlib sees it, which takes ten times as long."""
    name = image.rpartition("/")[2]
    if name in ("", ".", "..") or "//" in image or "./" in image:
        return str(PurePosixPath(image).with_suffix(""))
    dot = name.rfind(".")
    return image[: len(image) - len(name) + dot] if 0 < dot < len(name) - 1 else image


VOCABULARY_FILE = "vocabulary.json"
"""The file in a run folder."""


@dataclass(frozen=True)
class Vocabulary:
    """The labels of a run, sorted, and its concept bank with all aliases."""

    labels: tuple[str, ...]
    bank: ConceptBank

    @classmethod
    def of(cls, domain: Domain) -> "Vocabulary":
        """Return the vocabulary of a loaded domain."""
        return cls(domain.labels, domain.concepts)

    @classmethod
    def of_run(cls, run: Path, data: DataConfig) -> "Vocabulary":
        """Return the vocabulary of a run: from its folder or, if it is not there, from its data as they are now.

        Raises SeeWhyError if the file is damaged, or there is none and the data cannot be read. Opens no image.
        """
        path = run / VOCABULARY_FILE
        try:
            found = unsealed_json(path.read_bytes())
            concepts = {str(label): tuple(map(str, phrases)) for label, phrases in found["concepts"].items()}
            aliases = {str(label): tuple(map(str, names)) for label, names in found["aliases"].items()}
            return cls(tuple(map(str, found["labels"])), ConceptBank(concepts, aliases))
        except FileNotFoundError:
            dataset = read_data(data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SeeWhyError(
                f"{path} cannot be read ({error}), so the labels of {run} are not known. Delete it and start the run "
                "again: that writes it anew and computes nothing twice."
            ) from error
        labels = sorted({row.label for row in dataset.rows})
        bank, _ = fit_concepts(read_bank(data, dataset)[0], labels)
        return cls(tuple(labels), with_aliases(bank, dataset.aliases))

    def record(self) -> Mapping[str, Any]:
        """Return the content of the file."""
        return {
            "labels": list(self.labels),
            "concepts": {label: list(phrases) for label, phrases in self.bank.items()},
            "aliases": {label: list(names) for label, names in self.bank.aliases.items()},
        }

    @cached_property
    def matcher(self) -> LabelMatcher:
        """Return the run's own matcher, as `Domain.matcher` is."""
        return LabelMatcher(self.labels, self.bank.aliases, self.bank)

    @property
    def names(self) -> tuple[str, ...]:
        """Return labels and aliases."""
        return (*self.labels, *(name for names in self.bank.aliases.values() for name in names))
