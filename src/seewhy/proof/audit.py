"""What became training data: figures of each round and class, from the records of a run alone.

The paper reports none of this. Read it when a run learns too little, or one sentence by heart: it shows which classes
are taught nothing but their name, what was rejected and why, how alike the answers are, and which concepts are selected
always or never.

Shares are between 0 and 1, and None where there was nothing to count. Scores are those of rejection sampling, in nats.
Answers to simple questions, label sentences among them, are alike by design: repetition is counted over the others.

    found = audit(FinishedRun.open("runs/birds"))
    found.rounds[1].whole.accepted_share
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import ClassVar, TypeVar

from seewhy.config import SELF
from seewhy.domain.text import tokenise
from seewhy.errors import SeeWhyError
from seewhy.records import OWN, Answer, Candidate, Replayed, Selection
from seewhy.results_json import OMITTED, ResultsFile
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import OURS, StageKey

STARVING = 0.5
"""A class starves in a round when more than this share of its answers are plain label sentences."""
_ALIKE, _OF = 4, 5
"""Two answers are near-duplicates from a Jaccard similarity of their word 5-grams of 4/5 on."""
GRAM = 5
"""Words in an n-gram. A shorter answer is one n-gram."""
PHRASE = 3
"""The fewest words, said twice in one answer, that count as a repeated phrase."""
FEWEST_IMAGES = 3
"""A class needs this many images with scored concepts before one is called never or always selected."""

Words = tuple[str, ...]
R = TypeVar("R", Answer, Candidate, Selection)


@dataclass(frozen=True)
class Teaching:
    """The training data of one class, or of all together, in one round."""

    label: str
    """Empty for all classes together."""
    images: int
    answers: int
    """Answers that the model is tuned on."""
    fallback_share: float | None
    """Share of the answers that are plain label sentences, because no other was usable."""
    queries: int
    """Queries to the tuned model; 0 in round 1, which samples no candidates."""
    accepted_share: float | None
    """Share of the queries with a kept candidate."""
    candidates: int
    kept_share: float | None
    """Share of the candidates kept, at most one per query."""
    rejections: Mapping[str, int]
    """Why candidates (round 1: answers) were rejected, and how many; the most frequent reason first."""
    margin: float | None
    """Median over queries of the winner's score minus the best of the others that named the label, in nats."""
    reasoned: int
    """Answers to explain and cot questions, which the following figures count."""
    near_duplicate_share: float | None
    """Share with another answer of the same class that is equal or nearly so (`near_duplicates`)."""
    repeating_share: float | None
    """Share that says a phrase of `PHRASE` words or more twice."""
    longest_repeat: str
    """The longest phrase that one answer says twice, in normalised words; empty where there is none."""
    longest_repeat_words: int
    commonest_repeat: str
    """The number of answers of which it is the longest phrase said twice."""
    commonest_repeat_answers: int
    stood_in_share: float | None = None
    """Share of the answers that stand in because no answer of the model was usable: bare label sentences, or those that
    give reasons even so (`sample.fallback`). The difference to `fallback_share` is what `reasons` saved."""
    stand_ins: Mapping[str, int] = field(default_factory=dict, metadata=OMITTED)
    """The number of answers of each source that stand in: "rewritten" by the tuned model, which was told the label,
    "listed" by template, and the bare "label sentence"."""


@dataclass(frozen=True)
class RoundAudit:
    round: int
    whole: Teaching
    classes: tuple[Teaching, ...]
    """Sorted by label."""
    starving: tuple[str, ...]
    """Labels with a fallback share above `STARVING`, the worst first."""
    unusable: tuple[str, ...] = ()
    """Labels with a stood-in share above `STARVING`, the worst first: those that starve with `fallback: label`."""


@dataclass(frozen=True)
class ConceptUse:
    """One concept in the list of one class: how many of its images it was scored on, and selected for."""

    label: str
    concept: str
    images: int
    selected: int


@dataclass(frozen=True)
class ReplayUse:
    """What the untuned base said of the train images for `tune.replay: self`, and how much of it was mixed in."""

    turns: int
    """Answers of the base, its descriptions among them."""
    rejections: Mapping[str, int]
    """Why some are not used, and how many; the most frequent reason first."""
    mixed_in: tuple[int, ...]
    """The turns that each round's training data were mixed with, in the order of the rounds."""


@dataclass(frozen=True)
class Audit(ResultsFile):
    """audit.json: rounds in order, and the concepts selected for none (`never`) and all of a class's images (`always`).

    Concepts scored on fewer than `FEWEST_IMAGES` images of a class are in neither.
    """

    FILE: ClassVar[str] = "audit.json"
    REMEDY: ClassVar[str] = "remove it and give `seewhy audit {run}` to make it anew"

    rounds: tuple[RoundAudit, ...]
    never: tuple[ConceptUse, ...]
    always: tuple[ConceptUse, ...]
    replay: ReplayUse | None = field(default=None, metadata=OMITTED)
    """None without self-replay."""


@dataclass(frozen=True)
class ListUse:
    """The concepts of one class that were selected for none, and for all, of its images."""

    label: str
    never: tuple[str, ...]
    always: tuple[str, ...]


def audit(run: FinishedRun) -> Audit:
    """Return the audit of the rounds of a run that have begun. Raises SeeWhyError where its data cannot be read."""
    rounds = range(1, run.config.rounds + 1)
    found = audit_run(
        {r: run.records(OURS.stage("answers", r), Answer) for r in rounds},
        {r: run.records(OURS.stage("candidates", r), Candidate) for r in rounds},
        run.selections(),
        run.labels,
    )
    said = run.records(StageKey("replay"), Replayed) if run.config.tune.replay == SELF else []
    answers = [r.whole.answers for r in found.rounds]
    return replace(found, replay=replay_use(said, answers, run.config.tune.replay_ratio)) if said else found


def replay_use(said: Sequence[Replayed], answers: Sequence[int], ratio: float) -> ReplayUse:
    """Return the use of the base's answers in rounds with so many training answers each."""
    faults = Counter(kind_of_rejection(turn.fault) for turn in said if turn.fault)
    usable = len(said) - faults.total()
    counted = dict(sorted(faults.items(), key=lambda pair: (-pair[1], pair[0])))
    return ReplayUse(len(said), counted, tuple(min(usable, round(ratio * count)) for count in answers))


def audit_run(
    answers: Mapping[int, Sequence[Answer]],
    candidates: Mapping[int, Sequence[Candidate]],
    selections: Sequence[Selection],
    labels: Mapping[str, str],
) -> Audit:
    """Return the audit of a run. `answers` and `candidates` are round -> records, `labels` example id -> label.

    An unfinished round may have candidates and no answers yet. Raises SeeWhyError for an example without a label.
    """
    rounds = sorted(r for r in answers.keys() | candidates.keys() if answers.get(r) or candidates.get(r))
    use = concept_use(selections, labels)
    counted = [u for u in use if u.images >= FEWEST_IMAGES]
    return Audit(
        tuple(audit_round(r, answers.get(r, ()), candidates.get(r, ()), labels) for r in rounds),
        never=tuple(u for u in counted if not u.selected),
        always=tuple(u for u in counted if u.selected == u.images),
    )


def starving(audit: Audit) -> list[tuple[int, Teaching]]:
    """Return (round, class) for each class that starves, or would with `fallback: label`, the last round's first.

    In a round the worst class comes first.
    """
    by_label = {r.round: {taught.label: taught for taught in r.classes} for r in audit.rounds}
    return [
        (r.round, by_label[r.round][label])
        for r in reversed(audit.rounds)
        for label in dict.fromkeys((*r.starving, *r.unusable))
    ]


def list_use(audit: Audit) -> list[ListUse]:
    """Return the concepts selected never or always by class, the class with most such concepts first."""

    def of_label(uses: Sequence[ConceptUse], label: str) -> tuple[str, ...]:
        return tuple(use.concept for use in uses if use.label == label)

    labels = sorted({use.label for use in (*audit.never, *audit.always)})
    found = [ListUse(label, of_label(audit.never, label), of_label(audit.always, label)) for label in labels]
    return sorted(found, key=lambda use: -len(use.never) - len(use.always))


def audit_round(
    round: int, answers: Sequence[Answer], candidates: Sequence[Candidate], labels: Mapping[str, str]
) -> RoundAudit:
    """Return one round's figures, of all classes together and of each."""
    answers_of, candidates_of = _by_label(answers, labels), _by_label(candidates, labels)
    counts = [
        _Counts(label, answers_of.get(label, ()), candidates_of.get(label, ()))
        for label in sorted(answers_of.keys() | candidates_of.keys())
    ]
    classes = tuple(_teaching(of_class.label, [of_class]) for of_class in counts)

    def above(share: Callable[[Teaching], float | None]) -> tuple[str, ...]:
        found = [c for c in classes if (share(c) or 0) > STARVING]
        return tuple(c.label for c in sorted(found, key=lambda c: (-(share(c) or 0), c.label)))

    starving, unusable = above(lambda c: c.fallback_share), above(lambda c: c.stood_in_share)
    return RoundAudit(round, _teaching("", counts), classes, starving, unusable)


def concept_use(selections: Sequence[Selection], labels: Mapping[str, str]) -> list[ConceptUse]:
    """Return the use of each concept of each class, in the bank's order within a class.

    Images without descriptions are not counted: they have neither a score nor anything selected. A concept that every
    class lists has no standardised score either, but the paper's rule selects it or not, so it is counted.
    """
    described = {s.example_id for s in selections if s.selected or not math.isnan(s.score)}
    images, selected = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for label, group in sorted(_by_label(selections, labels).items()):
        for selection in group:
            if selection.example_id in described:
                images[label, selection.concept] += 1
                selected[label, selection.concept] += selection.selected
    return [ConceptUse(*key, images=count, selected=selected[key]) for key, count in images.items()]


def near_duplicates(texts: Sequence[Words]) -> list[bool]:
    """Return whether each text, `folded`, has another that is equal to it, or nearly so.

    Nearly: the Jaccard similarity of their sets of word 5-grams is 0.8 or more. Exact, by prefix filtering (Bayardo
    et al., "Scaling Up All Pairs Similarity Search", 2007): two such sets share one of their rarest n-grams.
    """
    copies = Counter(texts)
    found = [count > 1 for count in copies.values()]
    counts = Counter(gram for key in copies for gram in set(_grams(key)))
    rank = {gram: number for number, gram in enumerate(sorted(counts, key=lambda gram: (counts[gram], gram)))}
    sets = [frozenset(rank[gram] for gram in _grams(key)) for key in copies]
    with_gram: defaultdict[int, list[int]] = defaultdict(list)
    for one in sorted(range(len(sets)), key=lambda number: len(sets[number])):
        mine, size = sets[one], len(sets[one])
        fewest = -(-size * _ALIKE // _OF)  # grams that a set as alike as that must have, and have in common
        prefix = sorted(mine)[: size - fewest + 1]
        for other in {other for gram in prefix for other in with_gram[gram]}:
            theirs = sets[other]
            if len(theirs) >= fewest and not (found[one] and found[other]):
                both = len(mine & theirs)
                if both * _OF >= _ALIKE * (size + len(theirs) - both):
                    found[one] = found[other] = True
        for gram in prefix:
            with_gram[gram].append(one)
    alike = dict(zip(copies, found, strict=True))
    return [alike[text] for text in texts]


def longest_repeat(words: Words) -> Words:
    """Return the longest phrase of `PHRASE` words or more in two separate places; the earliest of equals, or ()."""
    best, low, high = (), PHRASE, len(words) // 2
    while low <= high:  # parts of a repeated phrase are repeated too, so its length can be bisected
        middle = low if not best else (low + high + 1) // 2
        if found := _said_twice(words, middle):
            best, low = found, middle + 1
        elif not best:
            return ()
        else:
            high = middle - 1
    return best


def folded(text: str) -> Words:
    """Return the words of a text without case and punctuation, every number as "0"."""
    return tuple("0" if word.isdecimal() else word for word in tokenise(text).words)


_KINDS = (
    (re.compile(r"names no label"), "names no label"),
    (re.compile(r"names .*, not .* alone", re.DOTALL), "names its label and another"),
    (re.compile(r"names .*, not .*", re.DOTALL), "names another label"),
    (re.compile(r"score .*"), "scores no higher than the winner"),
    (re.compile(r"same text as sample \d+"), "same text as another sample"),
    (re.compile(r"repeats the instruction .*", re.DOTALL), "repeats the instruction"),
    (re.compile(r"holds .*, a marker of the model", re.DOTALL), "holds a marker of the model"),
    (re.compile(r"no concept was selected for this image.*"), "no concept was selected for the image"),
)


def kind_of_rejection(reason: str) -> str:
    """Return a reason of rejection without the names, scores and samples in it; an unknown one unchanged."""
    return next((kind for pattern, kind in _KINDS if pattern.fullmatch(reason)), reason)


class _Counts:
    """The counts of one class; those of several classes add up."""

    def __init__(self, label: str, answers: Sequence[Answer], candidates: Sequence[Candidate]) -> None:
        self.label = label
        self.images = len({record.example_id for record in (*answers, *candidates)})
        self.answers = len(answers)
        stood_in = [a for a in answers if a.source not in OWN]
        self.stand_ins = Counter(a.source for a in stood_in)
        of_query: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            of_query[candidate.example_id, candidate.query].append(candidate)
        self.queries = len(of_query)
        self.accepted = sum(any(c.kept for c in group) for group in of_query.values())
        self.candidates = len(candidates)
        self.kept = sum(c.kept for c in candidates)
        rejected = [c.reason for c in candidates if not c.kept] if candidates else [a.reason for a in stood_in]
        self.rejections = Counter(kind_of_rejection(reason) for reason in rejected)
        self.margins = [margin for group in of_query.values() if (margin := _margin(group)) is not None]
        reasoned = [folded(a.text) for a in answers if a.kind != "simple"]
        self.reasoned = len(reasoned)
        self.near_duplicates = sum(near_duplicates(reasoned))
        self.repeats = Counter(repeat for words in reasoned if (repeat := longest_repeat(words)))


def _teaching(label: str, counts: Sequence[_Counts]) -> Teaching:
    answers, reasoned = sum(c.answers for c in counts), sum(c.reasoned for c in counts)
    queries, candidates = sum(c.queries for c in counts), sum(c.candidates for c in counts)
    rejections = sum((c.rejections for c in counts), Counter[str]())
    stand_ins = sum((c.stand_ins for c in counts), Counter[str]())
    margins = [margin for c in counts for margin in c.margins]
    repeats = sum((c.repeats for c in counts), Counter[Words]())
    longest = min(repeats, key=lambda words: (-len(words), words), default=())
    commonest = min(repeats, key=lambda words: (-repeats[words], -len(words), words), default=())
    return Teaching(
        label=label,
        images=sum(c.images for c in counts),
        answers=answers,
        fallback_share=_share(stand_ins["label sentence"], answers),
        queries=queries,
        accepted_share=_share(sum(c.accepted for c in counts), queries),
        candidates=candidates,
        kept_share=_share(sum(c.kept for c in counts), candidates),
        rejections=dict(sorted(rejections.items(), key=lambda pair: (-pair[1], pair[0]))),
        margin=median(margins) if margins else None,
        reasoned=reasoned,
        near_duplicate_share=_share(sum(c.near_duplicates for c in counts), reasoned),
        repeating_share=_share(repeats.total(), reasoned),
        longest_repeat=" ".join(longest),
        longest_repeat_words=len(longest),
        commonest_repeat=" ".join(commonest),
        commonest_repeat_answers=repeats[commonest],
        stood_in_share=_share(stand_ins.total(), answers),
        stand_ins=dict(sorted(stand_ins.items())),
    )


def _margin(group: Sequence[Candidate]) -> float | None:
    """Return the winner's score minus the runner-up's, where a query has both; a wrong name is no runner-up."""
    kept = [c.score for c in group if c.kept]
    others = [c.score for c in group if not c.kept and c.reason.startswith("score ")]
    return max(kept) - max(others) if kept and others else None


def _by_label(records: Iterable[R], labels: Mapping[str, str]) -> dict[str, list[R]]:
    groups: defaultdict[str, list[R]] = defaultdict(list)
    for record in records:
        if record.example_id not in labels:
            raise SeeWhyError(
                f"The run has records of {record.example_id!r}, an image that its data does not have."
                " Audit a run with the data that it was made from."
            )
        groups[labels[record.example_id]].append(record)
    return dict(groups)


def _grams(words: Words) -> Iterable[Words]:
    return (words[i : i + GRAM] for i in range(max(1, len(words) - GRAM + 1)))


def _said_twice(words: Words, length: int) -> Words:
    """Return the first phrase of this length in two places that do not overlap, or ()."""
    seen: dict[Words, int] = {}
    for start in range(len(words) - length + 1):
        phrase = words[start : start + length]
        if seen.setdefault(phrase, start) <= start - length:
            return phrase
    return ()


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
