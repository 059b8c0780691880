"""Which label does a text name? Step 8's accuracy, and the test that every training answer must pass (steps 3 and 6).

Deviations from the research code, whose rule is a plain substring:
1. A label counts at word boundaries only, and the longest one wins: "Fish Crow" does not name "Crow".
2. Digits are kept: "737-300" is not "737-400".
3. A negated mention ("not a crow", "unlike the crow") names nothing; an answer that names two labels is wrong.
4. Where a label's word is also a word of the concept bank ("orange rind"), such a phrase names nothing.

Case, punctuation, hyphens, possessives and English plurals are folded, accents are not; any script works. In scripts
without spaces (Chinese, Japanese, Thai, ...) a label may start and end anywhere; a Korean label may be followed by a
particle. Negation and plurals are understood in English; other spellings are what aliases are for.

    matcher = LabelMatcher(domain.labels, domain.concepts.aliases, domain.concepts)
    matcher.is_correct("This is a Fish Crow, not a Raven.", "Fish Crow")  # True
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from seewhy.domain.problems import raise_problems
from seewhy.domain.words import STOP, Tokens, name_key, other_forms, plurals, tokenise

_FILL = (
    "a|an|the|any|one|my|your|its|their|some|another|either|really|actually|likely|probably|truly|quite|necessarily|"
    "typical|be|been|being|to|of|from|with|for|have|has|look|looks|like|seem|appear|resemble|kind|type|species|called|"
    "named|identified|as|it|or|nor|@ or|@ nor"
)
_NEW_CLAUSE = "but|and|is|are|was|were|it|this|that|these|he|she|they|which|who|however|while|because|since|so|yet|@"
_WORD = rf" (?!(?:{_FILL}|{_NEW_CLAUSE})(?: |$))\S+"  # never a filler too, so that matching stays linear
_NEGATED = re.compile(
    r"(?:^| )(?:not(?! (?:only|just|merely|simply) )|no(?! (?:doubt|question|other than) )|none(?! other than )|"
    r"without(?! (?:a |any )?doubt )|never|neither|nor|cannot|unlike|lacks?|lacking|except|excluding|rather than|"
    r"instead of|(?<!none )(?<!no )other than|opposed to|differs? from|differing from|different from|distinct from|"
    r"(?:distinguish|separat|differentiat)\w+ \S+ from|confused with|mistaken for)"
    rf"(?: (?:{_FILL})(?= |$))*+(?:{_WORD}(?: (?:{_FILL})(?= |$))*+){{0,2}}$"
)
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these its his her of in on at by for from with without and or as is are was be when where "
        "which while over under like one no not named called",
    )
)
_COMPARED = frozenset({"like", "sized", "shaped", "coloured", "colored"})
_COPULAS = frozenset({"is", "are", "was", "were", "looks", "look", "appears", "appear"})


@dataclass(frozen=True, slots=True)
class _Form:
    """A spelling of a label. `label` is None for a phrase that holds a label's word and names nothing."""

    label: str | None
    own_stops: bool
    """The label itself holds a comma or bracket, so its words may stand in several clauses."""


class LabelMatcher:
    """Finds the labels that a text names. Built once; a text costs microseconds, whatever the number of labels.

    `aliases` are further names of a label. `concepts` (label -> phrases) tells a label from the same word used to
    describe: with the concept "orange rind" in the bank, neither "an orange rind" nor "its rind is orange" names the
    label "Orange". Raises `SeeWhyError` where two labels or aliases are the same name.
    """

    def __init__(
        self,
        labels: Iterable[str],
        aliases: Mapping[str, Sequence[str]] | None = None,
        concepts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        labels, aliases = list(labels), aliases or {}
        raise_problems("labels", name_problems(labels, aliases))
        names = _names(labels, aliases)
        self._forms: dict[tuple[str, ...], _Form] = {}
        for name, label in names:
            self._forms[name_key(name)] = _Form(label, STOP.search(name) is not None)
        for name, label in names:
            for form in other_forms(name_key(name)):
                self._forms.setdefault(form, _Form(label, STOP.search(name) is not None))
        self._longest: dict[str, int] = {}
        self._index(self._forms)
        self._after: dict[str, set[str]] = defaultdict(set)
        self._before: dict[str, set[str]] = defaultdict(set)
        describing = [
            form
            for label, phrases in (concepts or {}).items()
            for phrase in phrases
            if (form := self._learn_description(label, phrase))
        ]
        for form in describing:
            self._forms.setdefault(form, _Form(None, own_stops=True))
        self._index(describing)

    def names(self, text: str) -> set[str]:
        """The labels that `text` names, negated mentions and descriptions apart."""
        return set(self._named(text))

    def states(self, text: str, label: str) -> bool:
        """Whether `text` names `label`, alone or among others."""
        return label in self.names(text)

    def is_correct(self, text: str, label: str) -> bool:
        """Whether `text` names `label` and no other."""
        return self.names(text) == {label}

    def _named(self, text: str) -> Iterator[str]:
        tokens = tokenise(text)
        prefix, clause, done = "", -1, 0  # what stands before a mention in its clause, earlier mentions as "@"
        for start, end, label in self._mentions(tokens):
            if tokens.clauses[start] != clause:
                clause, prefix = tokens.clauses[start], ""
                done = next(i for i in range(start + 1) if tokens.clauses[i] == clause)
            prefix += "".join(f" {word}" for word in tokens.words[done:start])
            if label and not _NEGATED.search(prefix) and not self._describes(tokens, start, end, label):
                yield label
            prefix, done = prefix + " @", end

    def _mentions(self, tokens: Tokens) -> list[tuple[int, int, str | None]]:
        """(start, end, label) of the spellings in the text, in order; of two that overlap the longer."""
        words, found = tokens.words, []
        for start, word in enumerate(words):
            longest = self._longest.get(word, 0)
            if not longest or not tokens.may_start[start]:
                continue
            for end in range(min(start + longest, len(words)), start, -1):
                form = self._forms.get(tuple(words[start:end]))
                one_clause = tokens.clauses[start] == tokens.clauses[end - 1]
                if form and tokens.may_end[end - 1] and (one_clause or form.own_stops):
                    found.append((start, end, form.label))
                    break
        taken: set[int] = set()
        kept = []
        for start, end, label in sorted(found, key=lambda span: (span[0] - span[1], span[0])):
            if taken.isdisjoint(range(start, end)):
                taken.update(range(start, end))
                kept.append((start, end, label))
        return sorted(kept)

    def _describes(self, tokens: Tokens, start: int, end: int, label: str) -> bool:
        """Whether a mention is a word of description, as in "orange rind", "the rind is orange" and "crow-like"."""
        words, clauses = tokens.words, tokens.clauses
        after = words[end] if end < len(words) and clauses[end] == clauses[end - 1] else ""
        before, verb = words[start - 1] if start else "", words[start - 1] if start else ""
        subject = words[start - 2] if start > 1 else ""
        if start and clauses[start - 1] != clauses[start]:
            before = verb = subject = ""
        described = self._after.get(label, ())
        return (
            after in _COMPARED
            or after in described
            or before in self._before.get(label, ())
            or (verb in _COPULAS and subject in described)
        )

    def _learn_description(self, own: str, phrase: str) -> tuple[str, ...]:
        """Notes the words beside a label inside a concept; returns the concept's words if they name nothing.

        At the end of its own class's concept ("sweet orange") a label still names.
        """
        tokens, describes = tokenise(phrase), False
        words = tokens.words
        for start, end, label in self._mentions(tokens):
            last = end == len(words)
            if label is None or end - start == len(words) or (last and label == own):
                continue
            describes = True
            if not last and words[end] not in _FUNCTION_WORDS:
                self._after[label] |= {words[end], *plurals(words[end])}
            if start and label != own and words[start - 1] not in _FUNCTION_WORDS:
                self._before[label].add(words[start - 1])
        return tuple(words) if describes else ()

    def _index(self, forms: Iterable[tuple[str, ...]]) -> None:
        for form in forms:
            self._longest[form[0]] = max(self._longest.get(form[0], 0), len(form))


def name_problems(labels: Iterable[str], aliases: Mapping[str, Sequence[str]]) -> list[str]:
    """What makes these labels and aliases ambiguous: names without a letter, and names that fold to the same words."""
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
    """(name, label) of every label and alias."""
    return [(name, label) for label in labels for name in (label, *aliases.get(label, ()))]


def lenient_match(text: str, label: str) -> bool:
    """The research code's rule: lower-case, hyphens to spaces, all but letters and spaces dropped, then a substring.

    Two changes keep it from matching every text: letters of all scripts count, and a label without a letter
    ("737-300") keeps its digits.
    """
    has_letter = any(character.isalpha() for character in label)
    return _letters(label, has_letter=has_letter) in _letters(text, has_letter=has_letter)


def _letters(text: str, *, has_letter: bool) -> str:
    text = unicodedata.normalize("NFKC", text).lower().replace("-", " ")
    return re.sub(r"[^\w ]|_|\d" if has_letter else r"[^\w ]|_", "", text).strip()
