"""Does the model have words for the concept bank? Measured after step 1, on the descriptions alone, without any truth.

A phrase is *supported* when every word of it that carries meaning occurs in some description of some image, in any
order, whatever its ending: "striped crown" by "stripes" in one text and "a red crown" in another. That is the weakest
test there is: whatever a description states passes, and so do its paraphrases in the same words. What fails cannot be
selected for what it says, and the model cannot be taught to say it from its own answers (docs/decisions.md).

    found = support(bank.all_concepts, [d.text for d in descriptions])
    found.share, found.unsaid    # 0.25, {"crinkled leaf edges": ("crinkled", "edges"), ...}
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from seewhy.proof.wording import canonical

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
