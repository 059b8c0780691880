"""CS, cognition score, without a judge: are the reasons that an answer gives those that an expert sees in the image?

The paper has GPT-4o judge, from 0 to 1, whether an explanation agrees with the expert concepts. Here CS is the share
of an answer's stated concepts (EE's, `explanation.StatedConcepts`) that the concepts selected for its image entail.

1. The selected concepts are those of the image's true label. A reason that is true of the image and that the expert
   does not list for its class counts as little as a false one: CS asks for the expert's reasons, `stated_true` for
   true ones.
2. An answer that states nothing has a CS of 0, as it has no cognition to score.
3. The name in the answer is not looked at. Accuracy counts it, and the paper's judge does not take it off either: its
   untuned model names 3 of 100 birds and has a CS of 0.67. Reasons of another class cost an answer its CS themselves.
4. Entailment is of words, decided for precision; what needs knowledge of the world ("scarlet" is red) is not seen, so
   that CS is a lower bound. A phrase entails what remains of it, in its order,
   - when modifiers are left out from the front: "bright red crown", "red crown"; of those joined by a comma or 'and'
     each by itself: "short, conical bill", "short bill"; but "dark red crown" does not entail "dark crown";
   - when parts are left out from the end, each from its preposition on: "white belly with spots", "white belly".
   Where something is denied ("no eye ring", "skin without dark spots") or lies between two ("green to yellow skin",
   "red or brown crown"), that part entails itself alone.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

from seewhy.proof.wording import ARTICLES, CUTS, DENIALS, NEGATORS, canonical

Words = tuple[str, ...]

_JOINTS = frozenset([",", "and"])
_INDIVISIBLE = DENIALS | {"to", "or", "nor"}
"""Words of a part that says less, or something else, when any of it is left out."""


def consistency(text: str, selected: Iterable[str], stated: Callable[[str], Sequence[str]]) -> float:
    """CS of one answer: the share of the concepts that `text` states which the image's selected concepts entail.

    `stated` finds the concepts that a text states. 0 where it states none.
    """
    concepts, selected = stated(text), tuple(selected)
    return sum(entailed(concept, selected) for concept in concepts) / len(concepts) if concepts else 0.0


def entailed(concept: str, selected: Iterable[str]) -> bool:
    """Whether any of the selected concepts entails `concept`."""
    return any(entails(premise, concept) for premise in selected)


@lru_cache(maxsize=100_000)
def entails(premise: str, conclusion: str) -> bool:
    """Whether whatever has the concept `premise` has the concept `conclusion` too, by their words."""
    whole, kept = _parts(premise), _parts(conclusion)
    if not kept or len(kept) > len(whole):
        return False
    pairs = list(zip(kept, whole, strict=False))
    if any(DENIALS.intersection(part) for part, _ in pairs):
        first = next(i for i, (part, _) in enumerate(pairs) if DENIALS.intersection(part))
        if kept[first:] != whole[first:]:
            return False
    return all(_remains(part, of) for part, of in pairs)


@cache
def _parts(phrase: str) -> list[Words]:
    """Folded words and joints of a phrase, cut before its prepositions and before what it denies."""
    parts: list[list[str]] = [[]]
    for word in canonical(phrase).split():
        if word in ARTICLES or word in (".", ":"):
            continue
        last = parts[-1][-1:]
        if word in CUTS or (word in NEGATORS and not CUTS.intersection(last)):
            parts.append([])
        parts[-1].append("no" if word in NEGATORS else word)
    return [tuple(part) for part in parts if part]


def _remains(kept: Words, whole: Words) -> bool:
    """Whether `kept` is what remains of a part when modifiers are left out."""
    if _plain(kept) == _plain(whole):
        return True
    prepositions = [CUTS.intersection(part[:1]) for part in (kept, whole)]
    if prepositions[0] != prepositions[1] or _INDIVISIBLE.intersection(whole):
        return False
    after = len(prepositions[0])
    conjuncts: list[list[str]] = [[]]
    for word in whole[after:]:
        if word in _JOINTS:
            conjuncts.append([])
        else:
            conjuncts[-1].append(word)
    return _ends(_plain(kept[after:]), [tuple(c) for c in conjuncts if c], least=1)


def _ends(words: Words, conjuncts: Sequence[Words], least: int = 0) -> bool:
    """Whether `words` are ends of the conjuncts, in their order, `least` words of the last one."""
    if not conjuncts:
        return not words
    *before, last = conjuncts
    return any(
        words[len(words) - n :] == last[len(last) - n :] and _ends(words[: len(words) - n], before)
        for n in range(least, min(len(last), len(words)) + 1)
    )


def _plain(part: Words) -> Words:
    return tuple(word for word in part if word not in _JOINTS)
