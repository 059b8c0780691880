"""Accuracy (docs/method.md, step 8): does the answer name the label?

Deviation: the research code asks whether the label is a substring of the answer, so that "Fish Crow" counts as a
"Crow". Here an answer is right when it names that label and no other, at word boundaries, the longest label winning.
The reference's rule is kept as a second figure, never the default.
"""

from collections.abc import Sequence

from seewhy.domain.labels import LabelMatcher, lenient_match


def correct(texts: Sequence[str], labels: Sequence[str], matcher: LabelMatcher) -> list[bool]:
    """Whether each text names its label and no other."""
    return [matcher.is_correct(text, label) for text, label in zip(texts, labels, strict=True)]


def leniently_correct(texts: Sequence[str], labels: Sequence[str]) -> list[bool]:
    """Whether each text holds its label by the reference's substring rule."""
    return [lenient_match(text, label) for text, label in zip(texts, labels, strict=True)]
