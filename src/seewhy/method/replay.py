"""Self-replay: the untuned base answers general questions about the train images, and tuning is mixed with its answers.

Tuning on names and reasons alone makes a model answer every question with a name. What the base said of the same images
before is a target that no outside data are needed for: its descriptions from step 1, taken as they are, and its greedy
answers to general questions about parts, concepts and the whole picture (`domain/general.py`). Whether an answer is
right is not asked: the model shall keep saying what it said. (The paper mixes in LLaVA-Instruct; rehearsing a model's
own outputs is that of Huang et al., "Mitigating Catastrophic Forgetting in LLMs with Self-Synthesized Rehearsal", ACL
2024.)

The class is never asked for, and the answers are not selected, filtered or scored by the method. What no model should
learn is set aside, with the reason: an empty text, a special token, words repeated to the end, another class's name,
and a text that was cut off before its first sentence ended; a longer one is kept up to its last full sentence.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from seewhy.config import DescribeConfig
from seewhy.domain.domain import Domain
from seewhy.domain.general import GeneralQuestions
from seewhy.domain.text import tokenise
from seewhy.method.sampler import Sampler, ask, example_random, text_fault
from seewhy.records import Description, Example, Prompt, Replayed, ReplayKind, Sampling

ORDER: tuple[ReplayKind, ...] = (
    "part", "description", "feature", "part", "picture", "part", "description", "feature",
)  # fmt: skip
"""The kinds of an image's turns, from a place drawn for each image: of eight, three parts, two descriptions, two
concepts and one whole picture."""
_TRIES = 20
"""Draws of a question that was not put to the image before."""
_LONGEST_LOOP, _LOOPS = 24, 3
"""A text that says up to so many words three times in a row at its end repeats itself."""
_SENTENCE = re.compile(r"[.!?\u3002\uff01\uff1f][\"')\]\u201d\u2019]*(?=\s|$)")


def replay(
    examples: Sequence[Example],
    domain: Domain,
    general: GeneralQuestions,
    descriptions: Mapping[str, Sequence[Description]],
    sampler: Sampler,
    config: DescribeConfig,
    *,
    turns: int,
    seed: int,
    query_seed: int,
) -> list[Replayed]:
    """Return `turns` turns about each example, in order: descriptions of it, and the base's answers to questions.

    `descriptions` are those of step 1 by example id; an example with too few of them has fewer turns. The questions
    depend on `query_seed` and the example's id alone.
    """
    taken: dict[str, list[tuple[ReplayKind, str, str | None]]] = {}
    for example in examples:
        random = example_random(query_seed, example.id, "replay")
        taken[example.id] = _turns(example, domain, general, descriptions.get(example.id, ()), turns, random, sampler)
    prompts = [
        Prompt(f"{example.id}/replay/{number}", domain.path(example), query)
        for example in examples
        for number, (_, query, text) in enumerate(taken[example.id])
        if text is None
    ]
    answers = ask(sampler, prompts, Sampling(max_new_tokens=config.max_new_tokens), seed)
    found = []
    for example in examples:
        for number, (kind, query, text) in enumerate(taken[example.id]):
            said = answers[f"{example.id}/replay/{number}"][0] if text is None else text
            whole = until_cut(said.strip(), sampler, config.max_new_tokens)
            found.append(Replayed(example.id, kind, query, whole, fault_of(whole, example.label, domain, sampler)))
    return found


def until_cut(text: str, sampler: Sampler, max_new_tokens: int) -> str:
    """Return a text that reached its limit of tokens up to its last full sentence, and any other as it is.

    Nothing is left of one whose first sentence has no end.
    """
    if sampler.count_tokens(text) < max_new_tokens - 1:  # the end token, and a space that was stripped
        return text
    ends = [found.end() for found in _SENTENCE.finditer(text)]
    return text[: ends[-1]] if ends else ""


def fault_of(text: str, label: str, domain: Domain, sampler: Sampler) -> str:
    """Return why the base's text is no target, or nothing."""
    if fault := text_fault(text, sampler):
        return "empty, or cut off in its first sentence" if fault == "empty" else fault
    if repeats_to_its_end(text):
        return "repeats itself to its end"
    others = domain.matcher.names(text) - {label}
    return f"names {' and '.join(sorted(others))}, not {label}" if others else ""


def repeats_to_its_end(text: str) -> bool:
    """Return whether a text ends in the same one to 24 words said three times in a row, the last time perhaps cut."""
    words = tokenise(text).words
    for period in range(1, min(_LONGEST_LOOP, len(words) // _LOOPS) + 1):
        tail = words[-_LOOPS * period :]
        if all(word == tail[place] for place, word in enumerate(tail[period:])):
            return True
    return False


def drawn(pool: Iterable[Replayed], wanted: int, random: Random) -> list[Replayed]:
    """Draw `wanted` turns without a fault, as evenly over the images as can be; all of them if there are fewer."""
    of_example: dict[str, list[Replayed]] = {}
    for turn in pool:
        if not turn.fault:
            of_example.setdefault(turn.example_id, []).append(turn)
    ranked = [
        (place, random.random(), turn)
        for turns in of_example.values()
        for place, turn in enumerate(random.sample(turns, len(turns)))
    ]
    return [turn for _, _, turn in sorted(ranked, key=lambda one: one[:2])[:wanted]]


def _turns(
    example: Example,
    domain: Domain,
    general: GeneralQuestions,
    described: Sequence[Description],
    turns: int,
    random: Random,
    sampler: Sampler,
) -> list[tuple[ReplayKind, str, str | None]]:
    """Return (kind, query, text) of an example's turns; the text of a question is None until it is asked."""
    left = random.sample(described, len(described))
    start = random.randrange(len(ORDER))
    found: list[tuple[ReplayKind, str, str | None]] = []
    asked: set[str] = set()
    for place in range(start, start + turns):
        kind = ORDER[place % len(ORDER)]
        if kind == "description":
            if left:
                description = left.pop()
                found.append((kind, description.query, description.text))
            continue
        tried = (general.ask(kind, domain.concepts[example.label], random) for _ in range(_TRIES))
        query = next((q for q in tried if q not in asked and not sampler.rejected_text(q)), None)
        if query is not None:
            asked.add(query)
            found.append((kind, query, None))
    return found
