"""Are the stated concepts true of *this* image, and were the right ones selected?

The paper has annotators judge the selected concepts, and nobody the stated ones. Here both are counted
against `Truth`, where it is known.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from seewhy.proof.wording import words_of
from seewhy.records import Selection, Truth

Verdict = Literal["true", "hidden", "false", "unverified"]


def verdict(concept: str, truth: Truth | None) -> Verdict:
    """true: visible. hidden: true of the subject, but not to be seen. false: neither. unverified: nobody knows."""
    if truth is None:
        return "unverified"
    if words_of(concept) in map(words_of, truth.visible):
        return "true"
    return "hidden" if words_of(concept) in map(words_of, truth.hidden) else "false"


def count_verdicts(concepts: Iterable[str], truth: Truth) -> tuple[int, int, int]:
    """How many of the concepts stated of one image are (true, hidden, false)."""
    verdicts = [verdict(concept, truth) for concept in concepts]
    return verdicts.count("true"), verdicts.count("hidden"), verdicts.count("false")


def count_selected(selections: Sequence[Selection], truth: Truth) -> tuple[int, int, int, int]:
    """Of one image's label's concepts, how many are (selected and visible, selected, visible, listed)."""
    visible = [verdict(s.concept, truth) == "true" for s in selections]
    selected = [s.selected for s in selections]
    both = sum(v and s for v, s in zip(visible, selected, strict=True))
    return both, sum(selected), sum(visible), len(selections)
