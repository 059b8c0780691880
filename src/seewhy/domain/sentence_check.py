"""Does every class's own label sentence name the class, and no other?

What is taught and what is counted pass through the label matcher. A class whose plainest answer it does not take
for that class can be neither learnt nor measured, so it is refused when the data are loaded.
"""

from collections.abc import Mapping, Sequence

from seewhy.domain.labels import LabelMatcher
from seewhy.domain.problems import shorten
from seewhy.domain.questions import label_sentence
from seewhy.errors import SeeWhyError

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
