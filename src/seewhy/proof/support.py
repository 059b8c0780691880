"""Warnings while there is still time to stop a run: a model without words for the bank, a stage that loses most texts.

A phrase of the bank is *supported* when every word of it that carries meaning occurs in some description of some image,
in any order and with any ending: "striped crown" by "stripes" in one text and "a red crown" in another. That is the
weakest test there is: whatever a description states passes. What fails cannot be selected, and the model cannot be
taught to say it from its own answers (docs/decisions.md). No truth is used.

    found = support(bank.all_concepts, [d.text for d in descriptions])
    found.share, found.unsaid    # 0.25, {"crinkled leaf edges": ("crinkled", "edges"), ...}
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path

from seewhy.domain.text import canonical
from seewhy.proof.audit import kind_of_rejection
from seewhy.records import Answer, Candidate
from seewhy.results import Support

SHOWN = 12
"""Phrases that a message names; the rest are counted."""

_SMALL = frozenset([
    "a", "an", "the", "its", "their", "his", "her", "this", "that", "these", "and", "or", "but", "as", "than", "not",
    "no", "without", "with", "of", "on", "over", "at", "in", "into", "between", "under", "through", "along", "from",
    "by", "around", "down", "up", "when", "where", "near", "across", "above", "below", "opposite", "to", "is", "are",
    "be", "very", "almost", "about", "most", "more", "less", "one", ".", ",", ":",
])  # fmt: skip
"""Words of a phrase that need not be said for the phrase to be."""
_ENDINGS = ("ness", "like", "ish", "ing", "ed", "ly", "y", "en")
_SHORTEST = 3
"""Letters that a word keeps when it loses its ending."""


def support(phrases: Iterable[str], texts: Iterable[str], minimum: float = 0.0, *, count: int | None = None) -> Support:
    """Return which phrases are supported by the words of all texts together. No more texts are read than it takes.

    `count` is their number; by default they are counted.
    """
    if count is None:
        texts = list(texts)
        count = len(texts)
    phrases, said = list(dict.fromkeys(phrases)), set[str]()
    due = {_stem(word) for phrase in phrases for word in _not_said(phrase, said)}
    for text in texts:
        if not due:
            break
        stems = set(map(_stem, canonical(text).split()))
        said |= stems
        due -= stems
    missing = {phrase: _not_said(phrase, said) for phrase in phrases}
    unsaid = {phrase: words for phrase, words in missing.items() if words}
    share = 1 - len(unsaid) / len(missing) if missing else 1.0
    return Support(len(missing), len(missing) - len(unsaid), count, share, minimum, unsaid)


def verdict(found: Support) -> str:
    """Return the line that a run prints after its descriptions."""
    return (
        f"Concept bank: {found.supported} of {found.phrases} phrases ({100 * found.share:.0f} %) are "
        f"in words that the {found.descriptions:,} descriptions use."
    )


def too_few(found: Support, *, stops: bool, example: str, speaks_of: str, folder: Path) -> str:
    """Return what is wrong where too few phrases are supported, the likely causes, and what to do about each.

    `stops` says whether the run ends here, `example` is one description, and `speaks_of` says what a small base knows,
    where the model is one.
    """
    phrases = [f"  {phrase} (never said: {', '.join(words)})" for phrase, words in list(found.unsaid.items())[:SHOWN]]
    if more := len(found.unsaid) - len(phrases):
        phrases.append(f"  and {more} more, in {folder / Support.FILE}")
    said = f"  What it does say, for instance: {' '.join(example.split())[:200]!r}"
    end = (
        "- To go on all the same: --minimum_support 0 (with our preset also --keep_going true). The descriptions stay."
        if stops
        else "The run goes on all the same, as keep_going is set: stop it (Ctrl-C) if that is not what you want."
    )
    speaks = f": {speaks_of}, and of nothing else" if speaks_of else ""
    return "\n".join(
        [
            f"{verdict(found)} At least {100 * found.minimum:.0f} % should be (minimum_support), or the model will be "
            "taught bare names and lose its reasons. Phrases that it has no words for:",
            *phrases,
            said,
            "Likely causes and what to do:",
            f"- The model has no words for this domain{speaks}. Set model.name_or_path to a vision-language model that "
            "describes such images in these terms.",
            "- The phrases are not said as one would describe a picture. Reword them in data.concepts: one part and "
            "its look, in plain words ('brown spots with a yellow edge').",
            f"{end} After a change of the model or the bank give another --output, or --discard_stale true.",
        ]
    )


def _not_said(phrase: str, said: set[str]) -> tuple[str, ...]:
    words = dict.fromkeys(word for word in canonical(phrase).split() if word not in _SMALL)
    return tuple(word for word in words if _stem(word) not in said)


@cache
def _stem(word: str) -> str:
    """Return a word without its ending: 'stripe' and 'striped' have one stem, and so have 'spot' and 'spotted'."""
    ending = next((e for e in _ENDINGS if word.endswith(e) and len(word) - len(e) >= _SHORTEST), "")
    stem = word.removesuffix(ending)
    if len(stem) > _SHORTEST and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem[:-1] if stem.endswith("e") and len(stem) > _SHORTEST else stem


MOST = 0.5
"""The share of lost texts above which a stage is reported."""
CAUSES = 3
"""Causes that are named."""

_REMEDIES = {
    "empty": "the model ends its answer at once: look at its chat template, or raise the temperature",
    "holds a marker of the model": "its texts hold special tokens: switch its thinking off, or look at its template",
    "names no label": "it does not say the class's name as it is spelt: add aliases, or take a larger model",
    "names another label": "it calls the images something else: a larger model, or fewer classes to begin with",
    "names its label and another": "it names several classes: add what tells them apart, or sample at a lower "
    "temperature",
    "repeats the instruction": "it does not follow the instruction: take a larger or instruction-tuned model",
    "no concept was selected for the image": "the descriptions support none of the class's phrases: see what they say",
    "states a concept that its class does not list": "its reasons are those of other classes: complete the lists in "
    "the bank, or leave require_listed off",
}
"""Why a text is lost (`kind_of_rejection`) -> what it means and what to do."""


def mostly_lost(stage: str, what: str, lost: int, of: int, reasons: Mapping[str, int]) -> str | None:
    """Return a warning where more than half of a stage's texts are lost, with the most frequent causes; else None.

    `what` is what happened to them: 'texts were dropped'. `reasons` counts why, as far as this process has seen it.
    """
    if not of or lost / of <= MOST:
        return None
    kinds: Counter[str] = Counter()
    for reason, count in reasons.items():
        kinds[_kind(reason)] += count
    lines = [f"{stage}: {lost:,} of {of:,} {what} ({100 * lost / of:.0f} %). The likeliest causes:"]
    for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))[:CAUSES]:
        remedy = _REMEDIES.get(kind)
        lines.append(f"- {kind} ({count:,}){f': {remedy}' if remedy else ''}.")
    if not kinds:
        lines[0] = lines[0].removesuffix(" The likeliest causes:") + " Their reasons were logged when they were made."
    return "\n".join([*lines, "Stop it now (Ctrl-C) if that is not what you expect: what is done so far is kept."])


def fallback_reasons(answers: Iterable[Answer]) -> Counter[str]:
    """Count why the label sentence, bare or with the selected concepts, stands in for answers."""
    return Counter(answer.reason for answer in answers if answer.source in ("label sentence", "listed"))


def reasons_of_lost_queries(candidates: Iterable[Candidate]) -> Counter[str]:
    """Count why the candidates of queries without a winner lost: the reasons why later rounds' answers fell back.

    The candidates of a query stand together.
    """
    counted = Counter[str]()
    for _, group in groupby(candidates, key=lambda candidate: (candidate.example_id, candidate.query)):
        of_query = list(group)
        if not any(candidate.kept for candidate in of_query):
            counted.update(candidate.reason for candidate in of_query)
    return counted


def unusable(candidates: Iterable[Candidate]) -> Counter[str]:
    """Count why candidates could not be used as text at all."""
    faults = ("empty", "holds a marker of the model")
    return Counter(candidate.reason for candidate in candidates if _kind(candidate.reason) in faults)


def _kind(reason: str) -> str:
    if reason.startswith("states ") and reason.endswith("which its class does not list"):
        return "states a concept that its class does not list"
    return kind_of_rejection(reason)
