"""The concept bank: the expert's concepts of each class (docs/method.md: Z_c), and the other names of the classes.

YAML or JSON, in any of three forms, which one file may mix:

    Crow: [black bill, black plumage]
    Fish Crow: {concepts: [short bill], aliases: [Corvus ossifragus]}
    "1": {name: Raven, visual_features: [wedge-shaped tail]}      # the research code's form: number -> name, features

Keys match their class regardless of case, hyphens and underscores. YAML values are read as text, so a class may be
called No, 737 or 1e3.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from seewhy.domain.problems import JSON_ERRORS, Names, clean, nearest, raise_problems, reserved_marker, shorten
from seewhy.domain.text import name_key
from seewhy.errors import SeeWhyError
from seewhy.yaml_text import load

MAX_CONCEPT = 200
"""Characters of a concept: a short phrase, not a paragraph; an encoder averages over more than that."""
MAX_LABEL = 100
"""Characters of a label or alias."""

_DEEPEST = 20
"""Lists and mappings within each other, of a bank that is read by libyaml; one of ours has four."""
_FORM = "write 'class: [phrase, ...]' or 'class: {concepts: [...], aliases: [...]}'"


@dataclass(frozen=True)
class ConceptBank(Mapping[str, tuple[str, ...]]):
    """A mapping of labels to their concepts. `aliases` has the further names of a label, where it has any."""

    concepts: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, label: str) -> tuple[str, ...]:
        return self.concepts[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.concepts)

    def __len__(self) -> int:
        return len(self.concepts)

    @cached_property
    def all_concepts(self) -> tuple[str, ...]:
        """Return every concept of every class once, sorted."""
        return tuple(sorted({concept for concepts in self.concepts.values() for concept in concepts}))


def load_concepts(path: str | Path) -> ConceptBank:
    """Return the bank in the file at `path`, keys as written there.

    Raises SeeWhyError with everything that is wrong.
    """
    bank, problems = read_concepts(Path(path))
    raise_problems(path, problems)
    return bank


def read_concepts(path: Path) -> tuple[ConceptBank, list[str]]:
    """Return the bank and what is wrong in it, by class. Raises SeeWhyError if the file is not a bank at all."""
    concepts: dict[str, tuple[str, ...]] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    pairs = _parse(path)
    for key, value in pairs:
        label, phrases, names, problem = _entry(clean(key), value)
        if problem:
            problems.append(f"concepts of '{shorten(label)}': {problem}.")
        elif label in concepts:
            problems.append(f"concepts of '{label}' stand twice in the file; merge them.")
        else:
            concepts[label], problem_lines = _phrases(label, phrases)
            aliases[label], alias_lines = tuple(map(clean, names)), _name_problems(names)
            problems += problem_lines + [f"aliases of '{label}': {line}" for line in alias_lines]
    return ConceptBank(concepts, {label: names for label, names in aliases.items() if names}), problems


def fit_concepts(bank: ConceptBank, labels: Iterable[str]) -> tuple[ConceptBank, list[str]]:
    """Return the bank with keys spelt as `labels`, and what is wrong: classes without concepts or with two entries.

    Concepts of a class that is none of `labels` are left out; `unused_classes` names them.
    """
    labels = list(labels)
    by_key = {name_key(label): label for label in labels}
    concepts: dict[str, tuple[str, ...]] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for written, phrases in bank.items():
        label = by_key.get(name_key(written))
        if label is None:
            continue
        if label in concepts:
            problems.append(f"concepts of '{label}' stand twice in the file, once as '{written}'; merge them.")
        else:
            concepts[label] = phrases
            if written in bank.aliases:
                aliases[label] = bank.aliases[written]
    without = [label for label in labels if label not in concepts]
    unused = Names(unused_classes(bank, labels) if without else ())
    for label in without:
        close = unused.closest(label)
        hint = f" (there are some of '{shorten(close)}', which has no image: the same class?)" if close else ""
        problems.append(f"class '{shorten(label)}' has no concepts{hint}; add some to the concept file.")
    return ConceptBank({label: concepts[label] for label in labels if label in concepts}, aliases), problems


def unused_classes(bank: ConceptBank, labels: Iterable[str]) -> list[str]:
    """Return the classes of the bank that are none of `labels`; a data set need not have them all."""
    keys = {name_key(label) for label in labels}
    return [written for written in bank if name_key(written) not in keys]


def label_problems(labels: Iterable[str]) -> list[str]:
    """Return what keeps a label from being said by a model: no text, too much of it, a control token."""
    return [f"label '{shorten(label)}': {line}" for label in labels for line in _name_problems([label])]


def _name_problems(names: Iterable[str]) -> list[str]:
    problems = []
    for name in names:
        if not name.strip():
            problems.append("the name is empty; fill it in or remove it.")
        elif len(name) > MAX_LABEL:
            problems.append(f"'{shorten(name)}' has {len(name)} characters, more than {MAX_LABEL}; shorten it.")
        elif marker := reserved_marker(name):
            problems.append(f"'{shorten(name)}' holds '{marker}', which models read as a control token; remove it.")
    return problems


def _phrases(label: str, phrases: list[Any]) -> tuple[tuple[str, ...], list[str]]:
    """Return a class's concepts, with white space normalised, and what is wrong with them."""
    kept: dict[str, str] = {}
    problems: list[str] = []
    for phrase in phrases:
        text = clean(phrase)
        if not text:
            problems.append("a concept is empty; fill it in or remove it")
        elif len(text) > MAX_CONCEPT:
            problems.append(f"'{shorten(text)}' has {len(text)} characters, more than {MAX_CONCEPT}; shorten it")
        elif marker := reserved_marker(text):
            problems.append(f"'{shorten(text)}' holds '{marker}', which models read as a control token; remove it")
        elif text.casefold() in kept:
            problems.append(f"'{shorten(text)}' stands there twice; remove one")
        else:
            kept[text.casefold()] = text
    if not phrases:
        problems.append("there are none; add some")
    return tuple(kept.values()), [f"concepts of '{shorten(label)}': {problem}." for problem in problems]


def _entry(label: str, value: Any) -> tuple[str, list[Any], list[Any], str | None]:
    """Return (label, concepts, aliases, what is wrong) of one entry in any of the three forms."""
    phrases, names, unknown = value, [], set()
    if isinstance(value, _Pairs):
        entry = dict(value)
        if len(entry) < len(value):
            return label, [], [], "a key stands twice; merge the lists"
        if "visual_features" in entry:
            phrases, label = entry["visual_features"], clean(str(entry.get("name", label)))
            unknown = entry.keys() - {"name", "visual_features"}
        else:
            phrases, names = entry.get("concepts", []), entry.get("aliases", [])
            unknown = entry.keys() - {"concepts", "aliases"}
    if unknown:
        return label, [], [], f"unknown key '{min(unknown)}'{nearest(min(unknown), ('concepts', 'aliases'))}; {_FORM}"
    for texts, kind in ((phrases, "concepts"), (names, "aliases")):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return label, [], [], f"the {kind} are no list of texts; {_FORM}, and quote a phrase with a colon in it"
    return label, phrases, names, None


class _Pairs(list[tuple[str, Any]]):
    """A mapping as it stands in a file."""


class _TextLoader(yaml.BaseLoader):
    """YAML in which every scalar is text and a mapping is the list of its pairs, so that no double key is lost."""


def _pairs(loader: _TextLoader, node: yaml.MappingNode) -> _Pairs:
    build = loader.construct_object
    return _Pairs((str(build(key, deep=True)), build(value, deep=True)) for key, value in node.value)


_TextLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _pairs)


def _read_yaml(text: str) -> Any:
    """Return what a YAML text holds, read by libyaml where it is a plain one and at most `_DEEPEST` deep.

    A text with anchors, aliases or tags, and one that libyaml refuses, is read by PyYAML's own parser, whose errors say
    more. PyYAML's composer in C, which recurses, is not used: a text of open brackets ends the process in it.
    """
    if yaml.__with_libyaml__ and "\t" not in text:
        with suppress(yaml.YAMLError):
            return _built(yaml.parse(text, yaml.CBaseLoader))
    return load(text, _TextLoader)  # a subclass of BaseLoader: builds text, lists and pairs only


def _built(events: Iterable[yaml.Event]) -> Any:
    """Return the one document of a stream of events as `_TextLoader` does. Raises YAMLError where there is more to it
    than scalars, lists and mappings of texts."""
    content: list[Any] = []
    open_: list[list[Any]] = [content]
    for event in events:
        if isinstance(event, yaml.NodeEvent) and (event.anchor or getattr(event, "tag", None)):
            raise yaml.YAMLError("an anchor, an alias or a tag")
        if isinstance(event, yaml.ScalarEvent):
            open_[-1].append(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append([])
        elif isinstance(event, yaml.SequenceEndEvent):
            closed = open_.pop()
            open_[-1].append(closed)
        elif isinstance(event, yaml.MappingEndEvent):
            closed = open_.pop()
            keys, values = closed[::2], closed[1::2]
            open_[-1].append(_Pairs((str(key), value) for key, value in zip(keys, values, strict=True)))
        if len(open_) > _DEEPEST:
            raise yaml.YAMLError("too deep")
    if len(content) != 1:
        raise yaml.YAMLError("not one document")
    return content[0]


def _parse(path: Path) -> list[tuple[str, Any]]:
    """Return the (class, value) pairs of the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        is_json = path.suffix.lower() == ".json"
        content = json.loads(text, object_pairs_hook=_Pairs) if is_json else _read_yaml(text)
    except (OSError, *JSON_ERRORS, yaml.YAMLError) as error:
        raise SeeWhyError(f"{path}: the concepts cannot be read ({error}); {_FORM}.") from error
    if not isinstance(content, _Pairs) or not content:
        raise SeeWhyError(f"{path} is no mapping of classes to concepts; {_FORM}.")
    return content
