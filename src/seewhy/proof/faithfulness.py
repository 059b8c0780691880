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
    """true: visible. hidden: true of the subject, but not to be seen. false: neither. unverified: nobody knows.

    What stands in no list of an image is false only where all that is true of it is listed (`Truth.complete`).
    """
    if truth is None:
        return "unverified"
    words = words_of(concept)
    if words in map(words_of, truth.visible):
        return "true"
    if words in map(words_of, truth.hidden):
        return "hidden"
    return "false" if truth.complete or words in map(words_of, truth.absent) else "unverified"


def count_verdicts(concepts: Iterable[str], truth: Truth) -> tuple[int, int, int]:
    """How many of the concepts stated of one image are (true, hidden, false); the unverified ones are in neither."""
    verdicts = [verdict(concept, truth) for concept in concepts]
    return verdicts.count("true"), verdicts.count("hidden"), verdicts.count("false")


def count_selected(selections: Sequence[Selection], truth: Truth) -> tuple[int, int, int, int]:
    """Of one image's label's concepts, how many are (selected and visible, selected, visible, listed).

    Concepts of which it is not known whether they can be seen are in none of these.
    """
    known = [(s, found == "true") for s in selections if (found := verdict(s.concept, truth)) != "unverified"]
    both = sum(visible and s.selected for s, visible in known)
    return both, sum(s.selected for s, _ in known), sum(visible for _, visible in known), len(known)
