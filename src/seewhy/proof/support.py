"""Does the model have words for the concept bank? Measured after step 1, on the descriptions alone, without any truth.

A phrase is *supported* when every word of it that carries meaning occurs in some description of some image, in any
order, whatever its ending: "striped crown" by "stripes" in one text and "a red crown" in another. That is the weakest
test there is: whatever a description states passes, and so do its paraphrases in the same words. What fails cannot be
selected for what it says, and the model cannot be taught to say it from its own answers (docs/decisions.md).

    found = support(bank.all_concepts, [d.text for d in descriptions])
    found.share, found.unsaid    # 0.25, {"crinkled leaf edges": ("crinkled", "edges"), ...}

Says, right after a stage, that most of its texts are lost: while there is still time to stop.

told = mostly_lost("describe", "texts were dropped", 700, 1000, {"empty": 700})
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from seewhy.domain.text import canonical
from seewhy.proof.audit import kind_of_rejection
from seewhy.records import Answer, Candidate

FILE = "support.json"
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


@dataclass(frozen=True)
class Support:
    """How many of a bank's phrases are in words that the descriptions use."""

    phrases: int
    descriptions: int
    unsaid: Mapping[str, tuple[str, ...]]
    """Each unsupported phrase -> those of its words that no description has."""
    minimum: float = 0.0
    """The share below which the run stops, or was told to go on."""

    @property
    def share(self) -> float:
        """The share of the phrases that are supported; 1 for a bank without phrases."""
        return 1 - len(self.unsaid) / self.phrases if self.phrases else 1.0

    @property
    def too_low(self) -> bool:
        return self.share < self.minimum

    def record(self) -> dict[str, Any]:
        """What support.json holds."""
        unsaid = {phrase: list(words) for phrase, words in self.unsaid.items()}
        counts = {"phrases": self.phrases, "supported": self.phrases - len(unsaid), "descriptions": self.descriptions}
        return {**counts, "share": self.share, "minimum": self.minimum, "unsaid": unsaid}


def support(phrases: Iterable[str], texts: Iterable[str], minimum: float = 0.0) -> Support:
    """Hold each phrase against the words of all texts together."""
    said: set[str] = set()
    count = 0
    for text in texts:
        said.update(map(_stem, canonical(text).split()))
        count += 1
    missing = {phrase: _not_said(phrase, said) for phrase in dict.fromkeys(phrases)}
    return Support(len(missing), count, {phrase: words for phrase, words in missing.items() if words}, minimum)


def read(run: Path) -> Support | None:
    """What a run found, or None where it has not got that far or the file cannot be read."""
    try:
        found = json.loads((run / FILE).read_text(encoding="utf-8"))
        unsaid = {str(phrase): tuple(map(str, words)) for phrase, words in found["unsaid"].items()}
        return Support(int(found["phrases"]), int(found["descriptions"]), unsaid, float(found["minimum"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def verdict(found: Support) -> str:
    """The line that a run prints after its descriptions."""
    return (
        f"Concept bank: {found.phrases - len(found.unsaid)} of {found.phrases} phrases ({100 * found.share:.0f} %) are "
        f"in words that the {found.descriptions:,} descriptions use."
    )


def too_few(found: Support, *, stops: bool, example: str, shipped_base: bool, folder: Path) -> str:
    """What is wrong where too few phrases are supported, the likely causes, and what to do about each.

    `stops` says whether the run ends here, `example` is one description, and `shipped_base` whether the model is the
    small one that comes with the package.
    """
    phrases = [f"  {phrase} (never said: {', '.join(words)})" for phrase, words in list(found.unsaid.items())[:SHOWN]]
    if more := len(found.unsaid) - len(phrases):
        phrases.append(f"  and {more} more, in {folder / FILE}")
    said = f"  What it does say, for instance: {' '.join(example.split())[:200]!r}"
    end = (
        "- To go on all the same: --minimum_support 0 (with our preset also --keep_going true). The descriptions stay."
        if stops
        else "The run goes on all the same, as keep_going is set: stop it (Ctrl-C) if that is not what you want."
    )
    speaks = ": the base that comes with SeeWhy speaks of birds and of fruit, and of nothing else" * shipped_base
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
    """A word without its ending, crudely: 'stripe' and 'striped' are one, and so are 'spot' and 'spotted'."""
    ending = next((e for e in _ENDINGS if word.endswith(e) and len(word) - len(e) >= _SHORTEST), "")
    stem = word.removesuffix(ending)
    if len(stem) > _SHORTEST and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem[:-1] if stem.endswith("e") and len(stem) > _SHORTEST else stem


MOST = 0.5
"""The share of lost texts above which a stage is spoken of."""
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
    """What to print where more than half of a stage's texts are lost, with the commonest causes; else None.

    `reasons` counts why, as far as this process has seen it. `what` is what happened to them: 'texts were dropped'.
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
    """Why round 1's answers fell back to the label sentence."""
    return Counter(answer.reason for answer in answers if answer.source == "label sentence")


def reasons_of_lost_queries(candidates: Iterable[Candidate]) -> Counter[str]:
    """Why the candidates of those queries lost that no candidate won: what made later rounds' answers fall back."""
    of_query: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        of_query[candidate.example_id, candidate.query].append(candidate)
    lost = (group for group in of_query.values() if not any(candidate.kept for candidate in group))
    return Counter(candidate.reason for group in lost for candidate in group)


def unusable(candidates: Sequence[Candidate]) -> Counter[str]:
    """Why candidates could not be used as text at all."""
    faults = ("empty", "holds a marker of the model")
    return Counter(candidate.reason for candidate in candidates if _kind(candidate.reason) in faults)


def _kind(reason: str) -> str:
    if reason.startswith("states ") and reason.endswith("which its class does not list"):
        return "states a concept that its class does not list"
    return kind_of_rejection(reason)
