"""Draft a concept bank with a language model, class by class: the questions, which phrases are kept, and why.

The paper's banks were written so, without a record of the questions or of what was discarded. Here every phrase keeps
its source and every dropped one its reason, in FILE.sources.jsonl beside the bank, one line a phrase:

    {"class": "Fish Crow", "said": "Has a black bill.", "concept": "black bill", "kept": true, "reason": "", ...}

An expert reads a draft before it is used.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from seewhy.domain.phrases import (
    MAX_WORDS,
    NameIndex,
    find_head_word,
    find_name,
    is_uninformative,
    non_visual_kind,
    phrase_key,
    strip_name,
    tidy_phrase,
    unusable_reason,
)
from seewhy.domain.questions import with_article
from seewhy.endpoint import Missing, Reply, Request, Usage, fields_of, system, user
from seewhy.errors import SeeWhyError
from seewhy.run.storage import digest, write_atomically

PROMPT = "draft-1"
"""Name of the wording below. Change it with the wording."""
FEWEST = 3
"""A class with fewer usable concepts is asked once more."""

_SYSTEM = f"""\
You are an expert who identifies {{a_noun}} from one photograph. You list visual features of a class, for a program \
that looks for each of them in pictures. Rules for each feature:
- a noun phrase of 2 to {MAX_WORDS} words, such as "short hooked bill" or "white bars on dark wings";
- visible in an ordinary photograph: colour, shape, pattern, texture or proportion of a part;
- one part and its look a phrase, in the words that someone uses who describes the photograph;
- as telling as possible: what sets this class apart from others that look alike;
- no name of any class, no sound, smell, behaviour, habitat, origin, use, or measure in numbers;
- where sexes, ages or varieties differ, features of each, in phrases of their own.
Answer in JSON: {{"concepts": ["...", "..."]}}."""
_SHAPE = fields_of(concepts=list[str])
_TOKENS_A_CONCEPT = 9

Ask = Callable[[Sequence[Request], str], Mapping[str, Reply | Missing]]


@dataclass(frozen=True)
class Phrase:
    """One phrase that a model gave for a class, and what became of it."""

    label: str
    said: str
    concept: str
    """As it stands in the bank, where it was kept."""
    reason: str
    """Why it was dropped; empty where it was kept."""
    model: str
    """The model that said it, as the server calls it."""
    date: str
    answer: str
    """Key of the answer, the name of its file."""
    prompt: str = PROMPT

    @property
    def kept(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Draft:
    """`phrases` in the order of the classes; `missing`: class -> why there is no concept of it."""

    phrases: tuple[Phrase, ...]
    missing: Mapping[str, str]
    usage: Usage = field(default_factory=Usage)
    """What the answers took, those of earlier jobs included."""

    @property
    def bank(self) -> dict[str, list[str]]:
        """Class -> its concepts."""
        concepts: dict[str, list[str]] = {}
        for phrase in self.phrases:
            if phrase.kept:
                concepts.setdefault(phrase.label, []).append(phrase.concept)
        return concepts

    @property
    def dropped(self) -> Counter[str]:
        """Kind of reason -> phrases."""
        return Counter(phrase.reason.partition(":")[0] for phrase in self.phrases if phrase.reason)


def requests(labels: Sequence[str], noun: str, per_class: int) -> list[Request]:
    """Return one question a class."""
    told = system(_SYSTEM.replace("{a_noun}", with_article(noun)))
    asked = f"List {per_class} visual features of this class of {noun}, the most telling first: "
    return [Request(label, (told, user(asked + label)), _SHAPE, _TOKENS_A_CONCEPT * per_class) for label in labels]


def follow_up(request: Request, phrases: Sequence[Phrase]) -> Request:
    """Return the question to a class that has too few concepts yet: what was said and why it was of no use."""
    lines = [f"- {phrase.said!r}: {phrase.reason or 'used'}" for phrase in phrases]
    more = user("Of these, too few can be used. List others that keep the rules:\n" + "\n".join(lines))
    said = {"role": "assistant", "content": json.dumps({"concepts": [p.said for p in phrases]}, ensure_ascii=False)}
    return Request(request.id, (*request.messages, said, more), request.fields, request.expected_tokens)


def draft(labels: Sequence[str], noun: str, per_class: int, ask: Ask) -> Draft:
    """Ask for every class; the ones with fewer than `FEWEST` usable concepts a second time."""
    first = requests(labels, noun, per_class)
    replies = ask(first, "drafting concepts")
    phrases = {
        label: read_phrases(reply, label, labels, noun) for label, reply in replies.items() if isinstance(reply, Reply)
    }
    scarce = [r for r in first if r.id in phrases and sum(p.kept for p in phrases[r.id]) < FEWEST]
    more: Mapping[str, Reply | Missing] = {}
    if scarce:
        more = ask(
            [follow_up(request, phrases[request.id]) for request in scarce], "asking again where too few can be used"
        )
        for label, reply in more.items():
            if isinstance(reply, Reply):
                phrases[label] += read_phrases(
                    reply, label, labels, noun, known=[p.concept for p in phrases[label] if p.kept]
                )
    phrases = drop_shared(phrases)
    missing = {label: str(reply) for label, reply in replies.items() if isinstance(reply, Missing)}
    missing |= {label: "no phrase could be used" for label, of in phrases.items() if not any(p.kept for p in of)}
    usage = sum((r.usage for r in (*replies.values(), *more.values()) if isinstance(r, Reply)), Usage())
    return Draft(tuple(phrase for label in labels for phrase in phrases.get(label, ())), missing, usage)


def read_phrases(
    reply: Reply, label: str, labels: Sequence[str], noun: str, known: Sequence[str] = ()
) -> tuple[Phrase, ...]:
    """Return the phrases of an answer about a class, kept or dropped; `known` are concepts that it has already."""
    found = clean_phrases(reply.value["concepts"], label, labels, noun, known)
    return tuple(
        Phrase(label, said, concept, reason, reply.model, reply.date, reply.key) for said, concept, reason in found
    )


def clean_phrases(
    phrases: Sequence[str], label: str, labels: Sequence[str], noun: str, known: Sequence[str] = ()
) -> list[tuple[str, str, str]]:
    """Return (what was said, the concept, why it is dropped) of each phrase; an empty reason keeps it."""
    seen = {phrase_key(concept): concept for concept in known}
    found = []
    for said in phrases:
        concept = tidy_phrase(strip_name(tidy_phrase(said), [label]))
        reason = rejection_reason(concept, label, labels, noun)
        if not reason and (twin := seen.setdefault(phrase_key(concept), concept)) is not concept:
            reason = f"said twice: as {twin!r}"
        found.append((said, concept, reason))
    return found


def rejection_reason(concept: str, label: str, labels: Sequence[str], noun: str) -> str:
    """Return why a tidied phrase is no concept of a class, as 'kind: detail'; empty if it is one."""
    if problem := unusable_reason(concept):
        return problem
    if name := find_name(concept, [label]) or _names(tuple(labels)).find(concept) or find_head_word(concept, [label]):
        return f"names a class: {name}"
    if kind := non_visual_kind(concept):
        return f"not visual: {kind}"
    return "too generic" if is_uninformative(concept, noun) else ""


@cache
def _names(labels: tuple[str, ...]) -> NameIndex:
    return NameIndex({label: (label,) for label in labels})


def drop_shared(phrases: Mapping[str, tuple[Phrase, ...]]) -> dict[str, tuple[Phrase, ...]]:
    """Return the phrases, those dropped that every class has: they tell nothing apart."""
    if len(phrases) < 2:
        return dict(phrases)
    kept = [{phrase_key(phrase.concept) for phrase in of if phrase.kept} for of in phrases.values()]
    shared = frozenset[tuple[str, ...]].intersection(*map(frozenset, kept))

    def marked(phrase: Phrase) -> Phrase:
        useless = phrase.kept and phrase_key(phrase.concept) in shared
        return replace(phrase, reason="every class has it") if useless else phrase

    return {label: tuple(map(marked, of)) for label, of in phrases.items()}


def sources_path(bank: Path) -> Path:
    """Return the file that says where each concept of a bank comes from."""
    return bank.with_name(f"{bank.stem}.sources.jsonl")


def check_free(bank: Path) -> None:
    """Raises SeeWhyError if a bank stands that is no draft, or was edited since."""
    if not bank.exists():
        return
    first, _, rest = bank.read_text(encoding="utf-8", errors="replace").partition("\n")
    if first != _mark(rest):
        raise SeeWhyError(f"{bank} is there already, and is no draft or was edited since. Choose another --output.")


def write_draft(found: Draft, bank: Path, model: str) -> None:
    """Write the bank, and beside it where each phrase comes from. Raises SeeWhyError as `check_free`."""
    check_free(bank)
    sources = sources_path(bank)
    told = f"# By {' '.join(model.split())}, wording {PROMPT}; {sources.name} says how. Read it and correct it.\n"
    text = told + yaml.safe_dump(found.bank, sort_keys=False, allow_unicode=True, width=10_000)
    lines = [json.dumps(_line(phrase), ensure_ascii=False) + "\n" for phrase in found.phrases]
    write_atomically(sources, "".join(lines).encode())
    write_atomically(bank, f"{_mark(text)}\n{text}".encode())


def _line(phrase: Phrase) -> dict[str, Any]:
    entry = asdict(phrase)
    return {"class": entry.pop("label"), **entry, "kept": phrase.kept}


def _mark(text: str) -> str:
    """Return the first line of a draft, by which it is known that what follows was not edited."""
    return f"# seewhy draft {digest(text)}"
