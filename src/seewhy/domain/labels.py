"""Find which labels a text names. Step 8's accuracy, and the test of every training answer (steps 3 and 6), use it.

Deviations from the research code, whose rule is a plain substring:
1. A label counts at word boundaries only, and the longest one wins: "Fish Crow" does not name "Crow".
2. Digits are kept: "737-300" is not "737-400".
3. Only what is asserted is named (`assertion`): "not a crow", "unlike the crow" and "is it a crow?" name nothing. An
   answer that names two labels is wrong, and so is one that leaves another open ("a crow, possibly a raven").
4. If a label's word is also a word of the concept bank ("orange rind"), such a phrase names nothing.
5. A class may be said in other words of its label: as a predicate ("the tomato leaf is healthy"), or with another verb
   ("the leaf shows late blight" for "leaf with late blight"). Its kind is no other class ("a Fish Crow, a small crow"),
   and a generic sentence on another class ("crows are larger") names none if one is named plainly.
6. A label that is a letter or a number counts only if it can be nothing else: "it is an A", not "a bird".

Case, punctuation, hyphens, possessives, plurals, British and American spelling, "&" and number words are normalised;
accents too, unless that makes two labels equal ("Gruyere", "Gruenfink"). Any script works. In scripts without spaces
(Chinese, Japanese, Thai, ...) a label may start and end anywhere; a Korean label may be followed by a particle. Other
spellings need aliases.

    matcher = LabelMatcher(domain.labels, domain.concepts.aliases, domain.concepts)
    matcher.is_correct("This is a Fish Crow, not a Raven.", "Fish Crow")  # True
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seewhy.domain.assertion import Assertions, Status
from seewhy.domain.generics import is_generic
from seewhy.domain.label_forms import Form, Forms, Frames, is_measure, name_halves, reordered, shared_halves, spellings
from seewhy.domain.problems import raise_problems, shorten
from seewhy.domain.questions import label_sentence
from seewhy.domain.text import (
    COLOURS,
    Tokens,
    collapse_umlauts,
    expand_umlauts,
    name_key,
    normalise_word,
    plurals,
    standard_spelling,
    strip_accents,
    tokenise,
)
from seewhy.errors import SeeWhyError

_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these its his her of in on at by for from with without and or as is are was be when where "
        "which while over under like one no not named called",
    )
)
_COMPARED = frozenset({"like", "sized", "shaped", "coloured", "esque", "family"})
_ONE_LIKE = ([], ["this"], ["that"], ["these"], ["the"], ["a"], ["an"])
_COPULAS = frozenset({"is", "are", "was", "were", "looks", "look", "appears", "appear"})
_CHOICES = frozenset({"or", "nor", "versus", "vs"})


_IDENTIFYING = frozenset(
    {"is", "be", "as", "called", "named", "show", "shows", "identify", "say", "says", "think", "believe"}
)
_ENDS = ("", ".", "?", "\n")


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a text: words start..end-1, its label, and its status."""

    start: int
    end: int
    label: str
    status: Status


class LabelMatcher:
    """Finds the labels that a text names, in microseconds a text, however many labels there are.

    `aliases` are further names of a label. `concepts` (label -> phrases) tells a label from the same word used to
    describe: with the concept "orange rind" in the bank, neither "an orange rind" nor "its rind is orange" names the
    label "Orange". Raises `SeeWhyError` where two labels or aliases are the same name.

    Example:
        >>> matcher = seewhy.LabelMatcher(["Crow", "Raven"], {"Raven": ["Corvus corax"]})
        >>> matcher.is_correct("This is Corvus corax, not a crow.", "Raven")
        True
    """

    def __init__(
        self,
        labels: Iterable[str],
        aliases: Mapping[str, Sequence[str]] | None = None,
        concepts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        labels, aliases = list(labels), aliases or {}
        raise_problems("labels", name_problems(labels, aliases))
        names, self._accented = _plain_names(_names(labels, aliases))
        self._keys = {label: name_key(name) for name, label in reversed(names)}
        self._forms, self._frames = Forms(), Frames()
        for rank in (True, False):  # every name as it is before the other spellings of any
            for name, label in names:
                own, *others = spellings(name, label)
                for form in [own] if rank else others:
                    self._forms.add(form)
        self._add_other_words(names)
        for name, label in _names(labels, aliases):
            for other in {expand_umlauts(name), collapse_umlauts(strip_accents(name))} - {name}:
                for form in spellings(other, label):
                    self._forms.add(form)
        self._after: dict[str, set[str]] = defaultdict(set)
        self._before: dict[str, set[str]] = defaultdict(set)
        describing = [
            form
            for label, phrases in (concepts or {}).items()
            for phrase in phrases
            if (form := self._learn_description(label, phrase))
        ]
        for words in describing:
            self._forms.add(Form(None, words, own_stops=True))

    def names(self, text: str) -> set[str]:
        """Return the labels that `text` names, denied mentions, comparisons and descriptions apart."""
        return {mention.label for mention in self.mentions(text) if mention.status is Status.ASSERTED}

    def states(self, text: str, label: str) -> bool:
        """Return whether `text` names `label`, alone or among others."""
        return label in self.names(text)

    def is_correct(self, text: str, label: str) -> bool:
        """Return whether `text` names `label` and no other, and leaves no other open."""
        asserted, possible = set(), set()
        for mention in self.mentions(text):
            if mention.status is Status.ASSERTED:
                asserted.add(mention.label)
            elif mention.status is Status.UNCERTAIN:
                possible.add(mention.label)
        return asserted == {label} and possible <= asserted

    def mentions(self, text: str) -> list[Mention]:
        """Return every mention of a label in `text`, in order; words of description are none."""
        tokens = tokenise(text)
        words = self._folded(tokens)
        spans = self._spans(words, tokens)
        if not any(form.label for *_, form in spans):
            return []
        reading = Assertions(tokens, [(start, end) for start, end, form in spans if form.label])
        found = [
            Mention(start, end, form.label, reading.status(start, end))
            for start, end, form in spans
            if form.label and not self._describes(words, tokens, start, end, form.label)
        ]
        found = [mention for mention in found if not self._is_kind(mention, found, words)]
        last = max((m.start for m in found if m.status is Status.ASSERTED), default=-1)
        found = [m for m in found if not (m.status is Status.UNCERTAIN and m.start < last and _is_asked(m, tokens))]
        return self._shown(found, words, tokens)

    def _shown(self, found: list[Mention], words: Sequence[str], tokens: Tokens) -> list[Mention]:
        """Return the mentions without the subjects of statements on a class in general, and those of an echoed list."""
        asserted = [mention for mention in found if mention.status is Status.ASSERTED]
        general = {m for m in asserted if self._is_general(m, words, tokens, loose=False)}
        listed = {m for m in asserted if _is_choice(m, words, tokens)}
        if len({m.label for m in listed}) > 1 and any(m not in listed for m in asserted):
            general |= listed
        shown = {m.label for m in asserted if m not in general}
        if len({m.label for m in asserted if m not in general}) > 1:
            loose = {m for m in asserted if self._is_general(m, words, tokens, loose=True)}
            loose |= {m for m in asserted if (n := _joined_with(m, asserted, words)) is not None and n in loose}
            identified = {m.label for m in asserted if _identifies(m, words, tokens)} or shown - {
                m.label for m in loose
            }
            general |= {m for m in loose if identified - {m.label}}
        return [m for m in found if m not in general]

    def _is_general(self, mention: Mention, words: Sequence[str], tokens: Tokens, *, loose: bool) -> bool:
        start, end = mention.start, mention.end
        if not loose and tuple(words[start:end]) == self._keys[mention.label] and words[end - 1].endswith("s"):
            return False  # a class that is called in the plural: "waffles have ..."
        return is_generic(words, tokens.marks, start, end, loose=loose)

    def _folded(self, tokens: Tokens) -> list[str]:
        """Return the words in the standard spelling, without accents but for those that tell labels apart."""
        if kept := self._accented:
            return [standard_spelling(word) if word in kept else normalise_word(word) for word in tokens.words]
        return [normalise_word(word) for word in tokens.words]

    def _spans(self, words: Sequence[str], tokens: Tokens) -> list[tuple[int, int, Form]]:
        """Return (start, end, form) of the spellings in a text, in order; of two that overlap the longer."""
        found = []
        for start in range(len(words)):
            for place in (self._forms, self._frames):
                if longest := place.longest(words, tokens, start):
                    found.append((start, *longest))
        taken: set[int] = set()
        kept = []
        for start, end, form in sorted(found, key=lambda span: (span[0] - span[1], span[0])):
            if taken.isdisjoint(range(start, end)):
                taken.update(range(start, end))
                kept.append((start, end, form))
        return sorted(kept, key=lambda span: span[0])

    def _is_kind(self, mention: Mention, others: Sequence[Mention], words: Sequence[str]) -> bool:
        """Return whether a mention is but the kind of what is named: "crow" in "the Fish Crow is a small crow"."""
        if _CHOICES.intersection(
            [*words[max(0, mention.start - 3) : mention.start], *words[mention.end : mention.end + 3]]
        ):
            return False
        key = self._keys[mention.label]
        return mention.status is Status.ASSERTED and any(
            other.status is Status.ASSERTED
            and len(self._keys[other.label]) > len(key)
            and self._keys[other.label][-len(key) :] == key
            for other in others
        )

    def _describes(self, words: Sequence[str], tokens: Tokens, start: int, end: int, label: str) -> bool:
        """Return whether a mention only describes: "orange rind", "the rind is orange", "crow-like"."""
        after = words[end] if end < len(words) and not tokens.marks[end] else ""
        before = words[start - 1] if start and not tokens.marks[start] else ""
        subject = words[start - 2] if before and start > 1 else ""
        described = self._after.get(label, ())
        return (
            (after in _COMPARED and not (after == "like" and words[end + 1 : end + 2] in _ONE_LIKE))
            or after in described
            or before in self._before.get(label, ())
            or (before in _COPULAS and subject in described)
            or is_measure(words, end)
            or (
                after in COLOURS
                and (end + 1 == len(words) or bool(tokens.marks[end + 1]) or words[end + 1] in _COPULAS)
            )
        )

    def _learn_description(self, own: str, phrase: str) -> tuple[str, ...]:
        """Record the words beside a label inside a concept; return the concept's words if they name nothing.

        At the end of its own class's concept ("sweet orange") a label still names.
        """
        tokens, describes = tokenise(phrase), False
        words = self._folded(tokens)
        for start, end, form in self._spans(words, tokens):
            last = end == len(words)
            if form.label is None or end - start == len(words) or (last and form.label == own):
                continue
            describes = True
            if not last and words[end] not in _FUNCTION_WORDS:
                self._after[form.label] |= {words[end], *plurals(words[end])}
            if start and form.label != own and words[start - 1] not in _FUNCTION_WORDS:
                self._before[form.label].add(words[start - 1])
        return tuple(words) if describes else ()

    def _add_other_words(self, names: Sequence[tuple[str, str]]) -> None:
        """Add labels as a predicate and in two halves: "the leaf is healthy", "the leaf shows late blight"."""
        heads = set()
        for name, label in names:
            for head, tail, state in name_halves(name):
                self._frames.add(label, head, tail, state=state)
                heads.add(head)
            if words := reordered(name):
                self._forms.add(Form(label, words))
        for label, head, tail, state in shared_halves(names):
            self._frames.add(label, head, tail, state=state)
        for name, label in names:
            key = name_key(name)
            if len(key) > 1 and key[1:] in heads:  # the rest is a thing that other labels say something of
                self._frames.add(label, key[1:], key[:1], state=True)


def _identifies(mention: Mention, words: Sequence[str], tokens: Tokens) -> bool:
    """Return whether a mention says what is shown: "it is a crow", "species: crow", or "crow" as a sentence."""
    mark, after = tokens.marks[mention.start], tokens.marks[mention.end]
    before = words[max(0, mention.start - 3) : mention.start]
    return bool(_IDENTIFYING.intersection(before)) or ":" in mark or (mark + "." in _ENDS and after[:1] in _ENDS)


def _joined_with(mention: Mention, others: Sequence[Mention], words: Sequence[str]) -> Mention | None:
    """Return the mention that an "and" joins to this one: "neutrophils and eosinophils"."""
    return next((m for m in others if m.start == mention.end + 1 and words[mention.end] in ("and", "or")), None)


def _is_choice(mention: Mention, words: Sequence[str], tokens: Tokens) -> bool:
    """Return whether a mention is an item of an echoed list: "A) river B) lake", "A. river"."""
    start, end = mention.start, mention.end
    opens = start == 0 or tokens.marks[start - (start > 0 and len(words[start - 1]) == 1)][-1:] not in (":",)
    if len(words[start]) == 1 and end == start + 1 and end < len(words):
        mark, opening = tokens.marks[end], tokens.marks[start][-1:]
        return mark in (")", ".)") or (mark[:1] in (".", ":") and mark == "." and opening in ("", "\n") and start > 0)
    letter = start > 0 and len(words[start - 1]) == 1 and tokens.marks[start] in (")", ".")
    return letter and opens


def _is_asked(mention: Mention, tokens: Tokens) -> bool:
    """Return whether a mention is in a question."""
    return next((mark for mark in "".join(tokens.marks[mention.end :]) if mark in _ENDS[1:]), "") == "?"


def name_problems(labels: Iterable[str], aliases: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what makes labels and aliases ambiguous: names without a letter, and equal names of two labels."""
    problems: list[str] = []
    owners: dict[tuple[str, ...], tuple[str, str]] = {}
    for name, label in _names(labels, aliases):
        key = name_key(name)
        other, other_label = owners.setdefault(key, (name, label))
        if not key:
            problems.append(f"label '{label}': the name '{name}' holds no letter or digit; give it one.")
        elif other_label != label and (name, other) == (label, other_label):
            problems.append(f"labels '{other}' and '{name}' differ only in case or punctuation; merge or rename them.")
        elif other_label != label:
            problems.append(f"'{name}' names both '{other_label}' and '{label}'; remove that alias from one of them.")
    return problems


def _names(labels: Iterable[str], aliases: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return (name, label) of every label and alias."""
    return [(name, label) for label in labels for name in (label, *aliases.get(label, ()))]


def _plain_names(names: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], frozenset[str]]:
    """Return the names without accents, unless that makes names of two labels equal, and the words that keep theirs."""
    owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, label in names:
        owners[name_key(strip_accents(name))].add(label)
    kept = {name for name, _ in names if len(owners[name_key(strip_accents(name))]) > 1}
    words = frozenset(word for name in kept for word in tokenise(name).words if not word.isascii())
    return [(name if name in kept else strip_accents(name), label) for name, label in names], words


def name_ranges(text: str, names: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Return where any of the names stands in a text, (start, end) in characters, in order: the leftmost, and of
    those that start there the longest. Case and what separates words do not count; plurals and other spellings are not
    found."""
    longest_first = sorted(
        (words for name in names if (words := re.findall(r"[^\W_]+", name))), key=lambda w: -len(" ".join(w))
    )
    if not longest_first:
        return ()
    either = "|".join(r"[\W_]+".join(map(re.escape, words)) for words in longest_first)
    return tuple(found.span() for found in re.finditer(rf"(?<!\w)(?:{either})(?!\w)", text, re.IGNORECASE))


def lenient_match(text: str, label: str) -> bool:
    """Match as the research code does: lower case, hyphens to spaces, only letters and spaces, then a substring.

    Two changes keep it from matching every text: letters of all scripts count, and a label without a letter
    ("737-300") keeps its digits.
    """
    has_letter = any(character.isalpha() for character in label)
    return _letters(label, has_letter=has_letter) in _letters(text, has_letter=has_letter)


def _letters(text: str, *, has_letter: bool) -> str:
    text = unicodedata.normalize("NFKC", text).lower().replace("-", " ")
    return re.sub(r"[^\w ]|_|\d" if has_letter else r"[^\w ]|_", "", text).strip()


_CHECKED = 200
"""Problems for which another name is suggested."""


def sentence_problems(
    labels: Sequence[str], aliases: Mapping[str, Sequence[str]], concepts: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what is wrong with classes whose label sentence is not taken for them, with another name to give each.

    Raises SeeWhyError if the names are ambiguous, as `LabelMatcher` does.
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
    """Return ", for instance to 'class I', with 'I' as an alias" for the first such name that would do, or nothing."""
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
