"""What a user should know of a data set and need not mend: each a list of one sentence, or of none.

`load_domain` says them once, and `seewhy data check` lists them.

Does every class's own label sentence name the class, and no other?

What is taught and what is counted pass through the label matcher. A class whose plainest answer it does not take
for that class can be neither learnt nor measured, so it is refused when the data are loaded.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seewhy.domain.images import WINDOW, is_deep
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.loaders.truth import left_out
from seewhy.domain.problems import shorten
from seewhy.domain.questions import label_sentence
from seewhy.errors import SeeWhyError
from seewhy.records import Example

_HYPHENATED = re.compile(r"[^\W\d_]-[^\W\d_]")


def copies_notes(copies: Sequence[str]) -> list[str]:
    """A note on copies in splits that are published, which are kept."""
    if not copies:
        return []
    more = f", and {len(copies) - 1:,} more" if len(copies) > 1 else ""
    return [f"{copies[0]}{more}; the published splits are kept as they are, `seewhy data check` lists all copies."]


def unused_notes(classes: Sequence[str]) -> list[str]:
    """A note on classes of the bank of which the data set has no image."""
    if not classes:
        return []
    return [f"the bank has concepts of {listed(classes)}, of which there is no image; they are passed over."]


def deep_notes(modes: Iterable[str]) -> list[str]:
    """A note on images of 16 or 32 bits a pixel: one for all of them."""
    count = sum(map(is_deep, modes))
    if not count:
        return []
    low, high = WINDOW
    have = "image has" if count == 1 else "images have"
    return [
        f"{count:,} {have} 16 or 32 bits a pixel, and models see 8: of each image the {low}th percentile becomes black "
        f"and the {high}th white, so that brightness is not comparable between images. Where it has to be, convert "
        "them to 8 bits by a scale of your own."
    ]


def spoken_notes(labels: Iterable[str]) -> list[str]:
    """A note on labels that seem to be file names rather than what one would say, and how they will be said."""
    odd = [label for label in labels if "_" in label or (" " not in label and _HYPHENATED.search(label))]
    if not odd:
        return []
    better = re.sub(r"[-_]+", " ", odd[0])
    more = f" (and {len(odd) - 1:,} more labels with a hyphen or underscore)" if len(odd) > 1 else ""
    said, folder = f'"{label_sentence(odd[0])}"', better.replace(" ", "_")
    return [
        f"label '{odd[0]}' will be said as it is written: {said}{more}. If '{better}' is what one says, rename its "
        f"class folders to '{folder}', or the label in the table to '{better}', and so in the concept file."
    ]


def left_out_notes(truth: str | None, root: Path, examples: Sequence[Example]) -> list[str]:
    """A note on lines of the truth file about images that the data set leaves out."""
    names = left_out(Path(truth), examples, root) if truth else []
    if not names:
        return []
    return [f"{truth} speaks of {listed(names)}, which the data set leaves out; those lines are passed over."]


def listed(names: Sequence[str], shown: int = 3) -> str:
    """The first names in quotes, and how many more there are."""
    first = ", ".join(f"'{shorten(name)}'" for name in names[:shown])
    return first + (f" and {len(names) - shown:,} more" if len(names) > shown else "")


_CHECKED = 200
"""Problems for which another name is looked for; more are reported without."""


def sentence_problems(
    labels: Sequence[str], aliases: Mapping[str, Sequence[str]], concepts: Mapping[str, Sequence[str]]
) -> list[str]:
    """What is wrong with classes whose label sentence is not taken for them, with another name to give each.

    Raises `SeeWhyError` where the names are ambiguous, as `LabelMatcher` does.
    """
    matcher = LabelMatcher(labels, aliases, concepts)
    problems = []
    for label in labels:
        sentence = label_sentence(label)
        if matcher.is_correct(sentence, label):
            continue
        named = sorted(matcher.names(sentence) - {label})
        taken = f"is taken for {' and '.join(map(repr, named))}" if named else "is not taken for naming it"
        owners = {other: [name for name in aliases.get(other, ()) if name in label] for other in named}
        remedy = (
            f"rename the class{_another_name(label, labels, aliases, concepts) if len(problems) < _CHECKED else ''}"
        )
        for other, names in owners.items():
            if names:
                remedy += f", or remove the alias {names[0]!r} from {other!r}"
        problems.append(
            f"class '{shorten(label)}': its plain answer \"{shorten(sentence, 100)}\" {taken}, so that no answer could "
            f"count as right; {remedy}."
        )
    return problems


def _another_name(
    label: str,
    labels: Sequence[str],
    aliases: Mapping[str, Sequence[str]],
    concepts: Mapping[str, Sequence[str]],
) -> str:
    """ ", for instance to 'class I', with 'I' as an alias" for the first such name that would do, or nothing."""
    plain = " ".join("".join(c if c.isalnum() or c in " -'/" else " " for c in label).split())
    for name in (plain, f"class {plain}", f"{plain} class", f"type {plain}"):
        if not plain or name == label or name in labels:
            continue
        renamed = [name if other == label else other for other in labels]
        listed = {(name if other == label else other): phrases for other, phrases in concepts.items()}
        others = {other: names for other, names in aliases.items() if other != label}
        try:
            trial = LabelMatcher(renamed, {**others, name: (*aliases.get(label, ()), label)}, listed)
            kept = f", with {label!r} as an alias"
        except SeeWhyError:
            try:
                trial, kept = LabelMatcher(renamed, {**others, name: aliases.get(label, ())}, listed), ""
            except SeeWhyError:
                continue
        if trial.is_correct(label_sentence(name), name):
            return f", for instance to {name!r}{kept}"
    return ""
