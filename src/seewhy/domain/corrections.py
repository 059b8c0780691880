"""What verdicts mean: for training, by those on train images alone, and for measuring, by those on all other images.

What counts of each person is their last verdict on a subject. A subject on which several have spoken is settled by what
more than half of them say; otherwise it is a conflict, and nothing is done about it.

`for_training` is the one way from verdicts to what a model learns, and it looks at no verdict on an image that is not a
train image of the data as they are: neither at the concepts of a test image, nor at what somebody wanted changed in the
bank while looking at one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain
from seewhy.domain.problems import shorten
from seewhy.domain.verdicts import Verdict, standing
from seewhy.errors import SeeWhyError
from seewhy.records import Correction, Example, Selection, Truth

Subject = tuple[str, str, str]
"""(kind, image or class, concept): ("concept", image, concept), ("label", image, ""), ("bank", class, concept); and
("carry", "", "")."""
CARRY: Subject = ("carry", "", "")
TRAIN = "train"
_STRUCK = ""


@dataclass(frozen=True)
class Opinions:
    """Subject -> person -> what they say of it last: "right", "wrong", "hidden"; "struck", "kept" or a new wording;
    "on", "off"."""

    of: Mapping[Subject, Mapping[str, str]]
    complete: frozenset[tuple[str, str]] = frozenset()
    """(image, person) for each image that a person has marked by the whole bank."""

    @classmethod
    def read(cls, verdicts: Iterable[Verdict]) -> "Opinions":
        """Return the opinions in a sequence of verdicts, the earliest first."""
        of: dict[Subject, dict[str, str]] = defaultdict(dict)
        complete: set[tuple[str, str]] = set()
        for verdict in standing(verdicts):
            if verdict.kind == "marks":
                complete.add((verdict.image, verdict.who))
                lists = {"right": verdict.visible, "hidden": verdict.hidden, "wrong": verdict.absent}
                for value, phrases in lists.items():
                    for phrase in phrases:
                        of["concept", verdict.image, phrase][verdict.who] = value
            else:
                said = "kept" if verdict.verdict == "reworded" and verdict.wording == verdict.concept else None
                of[verdict.subject][verdict.who] = said or verdict.wording or verdict.verdict
        return cls(of, frozenset(complete))

    @cached_property
    def settled(self) -> Mapping[Subject, str]:
        """Subject -> what more than half of those who spoke of it say."""
        found = {}
        for subject, said in self.of.items():
            (value, count), *_ = Counter(said.values()).most_common(1)
            if 2 * count > len(said):
                found[subject] = value
        return found

    @cached_property
    def conflicts(self) -> Mapping[Subject, Mapping[str, str]]:
        """Subject -> person -> value, where the people do not all say the same."""
        return {subject: said for subject, said in self.of.items() if len(set(said.values())) > 1}

    @cached_property
    def people(self) -> tuple[str, ...]:
        """Everybody who has a standing verdict, sorted."""
        return tuple(sorted({who for said in self.of.values() for who in said}))


@dataclass(frozen=True)
class Corrections:
    """What people's verdicts change of a run's training. Empty for a run without verdicts."""

    selected: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    """Example id -> concept -> whether the image shows it."""
    out: frozenset[str] = frozenset()
    """Examples whose label is wrong: they are trained on no more."""
    reworded: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Class -> concept -> its new wording, or "" where it is struck."""
    carry: bool = False
    """Whether what is said of a concept in some images counts for the others too (`method/carry.py`)."""

    def __bool__(self) -> bool:
        return bool(self.selected or self.out or self.reworded)

    def records(self) -> list[Correction]:
        """Return them as records, sorted."""
        concepts = [Correction("concept", i, "", c, "right" if shown else "wrong")
                    for i, of in self.selected.items() for c, shown in of.items()]  # fmt: skip
        labels = [Correction("label", name, "", "", "wrong") for name in self.out]
        bank = [Correction("bank", "", label, concept, wording) for label, of in self.reworded.items()
                for concept, wording in of.items()]  # fmt: skip
        carry = [Correction("carry", "", "", "", "on")] if self.carry else []
        return sorted([*concepts, *labels, *bank, *carry], key=lambda c: (c.kind, c.example_id, c.label, c.concept))

    @classmethod
    def of_records(cls, records: Iterable[Correction]) -> "Corrections":
        """Return the corrections that `records` gave."""
        selected: dict[str, dict[str, bool]] = defaultdict(dict)
        reworded: dict[str, dict[str, str]] = defaultdict(dict)
        out, carry = set(), False
        for record in records:
            if record.kind == "carry":
                carry = True
            elif record.kind == "concept":
                selected[record.example_id][record.concept] = record.value == "right"
            elif record.kind == "label":
                out.add(record.example_id)
            else:
                reworded[record.label][record.concept] = record.value
        return cls(dict(selected), frozenset(out), dict(reworded), carry)

    def bank(self, bank: ConceptBank) -> ConceptBank:
        """Return the bank with struck concepts left out and reworded ones in their new words."""
        if not self.reworded:
            return bank
        changed = {label: self._reworded(label, concepts) for label, concepts in bank.items()}
        return ConceptBank(changed, bank.aliases)

    def domain(self, domain: Domain) -> Domain:
        """Return the domain with the corrected bank. The truth knows nothing of a phrase that is new in the bank."""
        if not self.reworded:
            return domain
        bank = self.bank(domain.concepts)
        new = set(bank.all_concepts).difference(domain.concepts.all_concepts)
        truth = domain.truth
        if new and truth is not None:
            truth = {name: _opened(of, domain.concepts.all_concepts) for name, of in truth.items()}
        return replace(domain, concepts=bank, truth=truth)

    def apply(self, selections: Sequence[Selection]) -> list[Selection]:
        """Return the selections as people corrected them; nothing is selected of an image whose label is wrong."""
        return [
            replace(s, selected=False)
            if s.example_id in self.out
            else replace(s, selected=self.selected.get(s.example_id, {}).get(s.concept, s.selected))
            for s in selections
        ]

    def _reworded(self, label: str, concepts: Sequence[str]) -> tuple[str, ...]:
        said = self.reworded.get(label, {})
        return tuple(dict.fromkeys(wording for c in concepts if (wording := _follow(c, said)) != _STRUCK))


def for_training(verdicts: Iterable[Verdict], domain: Domain) -> Corrections:
    """Return what verdicts on the domain's train images change of training. Verdicts on other images change nothing.

    Raises SeeWhyError where a class would be left without a concept or without a train image.
    """
    train = {example.id: example for example in domain.split(TRAIN)}
    opinions = Opinions.read(_shown(v) for v in verdicts if v.kind in ("undo", "carry") or _is_of(v, train))
    reworded: dict[str, dict[str, str]] = defaultdict(dict)
    for (kind, label, concept), value in opinions.settled.items():
        if kind == "bank" and value != "kept" and label in domain.concepts:
            reworded[label][concept] = _STRUCK if value == "struck" else value
    named = Corrections(reworded=reworded)
    reworded = {label: of for label, of in reworded.items()
                if named._reworded(label, domain.concepts[label]) != domain.concepts[label]}  # fmt: skip
    bank = Corrections(reworded=reworded).bank(domain.concepts)
    if empty := sorted(label for label in bank if not bank[label]):
        raise SeeWhyError(f"The verdicts strike every concept of class {shorten(repr(empty[0]))}. Keep or reword one.")
    selected: dict[str, dict[str, bool]] = defaultdict(dict)
    out: set[str] = set()
    for (kind, name, concept), value in opinions.settled.items():
        if kind == "label" and value == "wrong":
            out.add(name)
        elif kind == "concept" and concept in bank[train[name].label]:
            selected[name][concept] = value == "right"
    if lost := sorted({e.label for e in train.values()} - {e.label for e in train.values() if e.id not in out}):
        raise SeeWhyError(f"By the verdicts every train image of {shorten(repr(lost[0]))} has a wrong label: nothing "
                          "is left to learn the class from. Correct the labels in the data instead.")  # fmt: skip
    selected = {i: of for i, of in selected.items() if i not in out}
    return Corrections(selected, frozenset(out), reworded, bool(selected) and opinions.settled.get(CARRY) == "on")


def for_measuring(verdicts: Iterable[Verdict], domain: Domain) -> Domain:
    """Return the domain with what people said of images outside train as truth, where the data say nothing themselves.

    An image is known completely where somebody has marked it by the whole bank, as the bank is now, and nobody
    disagrees.
    """
    others = {example.id: example for example in domain.examples if example.split != TRAIN}
    opinions = Opinions.read(v for v in verdicts if v.kind == "undo" or (v.kind != "bank" and _is_of(v, others)))
    phrases = set(domain.concepts.all_concepts)
    lists: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (kind, name, concept), value in opinions.settled.items():
        if kind == "concept" and concept in phrases:
            lists[name][value].append(concept)
    marked = {name for name, _ in opinions.complete}
    truth = dict(domain.truth or {})
    for name, of in lists.items():
        if name not in truth:
            known = {phrase for said in of.values() for phrase in said}
            whole = name in marked and known == phrases
            truth[name] = Truth(name, tuple(of["right"]), tuple(of["hidden"]), {}, tuple(of["wrong"]), whole)
    return replace(domain, truth=truth) if len(truth) > len(domain.truth or {}) else domain


def strangers(verdicts: Iterable[Verdict], examples: Iterable[Example]) -> tuple[int, int]:
    """Return how many verdicts are on images that are not among these, and how many on another file of that name."""
    known = {example.id: example for example in examples}
    about = [v for v in standing(verdicts) if v.image]
    missing = sum(v.image not in known for v in about)
    return missing, sum(v.image in known and known[v.image].sha256 != v.sha256 for v in about)


def _is_of(verdict: Verdict, examples: Mapping[str, Example]) -> bool:
    example = examples.get(verdict.image)
    if example is None or example.sha256 != verdict.sha256:
        return False
    return verdict.kind not in ("label", "bank") or verdict.label == example.label


def _shown(verdict: Verdict) -> Verdict:
    """Return a verdict that only says whether the concept is to be selected: a hidden one is not."""
    return replace(verdict, verdict="wrong") if (verdict.kind, verdict.verdict) == ("concept", "hidden") else verdict


def _follow(concept: str, said: Mapping[str, str]) -> str:
    """Return the last wording of a concept that was reworded several times."""
    seen = {concept}
    while (wording := said.get(concept)) is not None:
        concept = wording
        if concept in seen:
            break
        seen.add(concept)
    return concept


def _opened(truth: Truth, phrases: Sequence[str]) -> Truth:
    """Return a complete truth as one that speaks of these phrases alone."""
    if not truth.complete:
        return truth
    absent = tuple(p for p in phrases if p not in truth.visible and p not in truth.hidden)
    return replace(truth, absent=absent, complete=False)
