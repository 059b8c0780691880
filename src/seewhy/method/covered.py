"""Answers about copies of train images with a covered part (`tune.covered`): reasons go when their evidence goes.

A model that has seen only whole images may say of a class what it mostly shows, whether this image does or not. The
untuned base describes a copy, and concepts are selected for it, as of any image; what it then writes, told the label
and what can still be seen, teaches to leave out what cannot. No truth is used, and the paper has nothing of it.

1. A copy shows no more than its image: a concept counts that was selected for both.
2. An answer that states anything else, or does not name the label, gives way to name and concepts by template.
3. A copy of which nothing was selected teaches nothing.

One call works on one shard of copies.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from seewhy.config import SynthesiseConfig
from seewhy.domain.domain import Domain
from seewhy.method.sampler import Sampler, draw_queries, example_random
from seewhy.method.told import Query, reasons_for
from seewhy.records import Answer, Example, QuestionKind

ROUND = 1
MINIMUM = 0
"""Takes the place of `select.minimum`: what is kept of a copy against the rule would be taught though it is covered."""


def still_shown(
    copies: Mapping[Example, Example], selected: Mapping[str, Sequence[str]], again: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return id of a copy -> the concepts selected for its image (`selected`) that were selected for it too (`again`).

    `copies` is copy -> image.
    """
    return {
        copy.id: tuple(concept for concept in selected[image.id] if concept in again[copy.id])
        for copy, image in copies.items()
    }


def answers_each(config: SynthesiseConfig) -> int:
    """Return the number of answers about a copy: as many as a whole image has to explain and cot questions."""
    return max(1, round(config.answers_per_image * (1 - config.simple_share)))


def answers(
    copies: Sequence[Example],
    domain: Domain,
    shown: Mapping[str, Sequence[str]],
    stated: Callable[[str], Sequence[str]],
    sampler: Sampler,
    config: SynthesiseConfig,
    *,
    seed: int,
    query_seed: int,
) -> list[Answer]:
    """Return the answers to explain and cot questions about each copy, in order.

    `shown` is id of a copy -> what can still be seen, and `stated` finds the concepts of all classes in a text. The
    queries of a copy depend on `query_seed` and its id alone; `seed` is for sampling.
    """
    queries = [
        Query(f"{copy.id}/{ROUND}/{number}", copy, kind, query)
        for copy in copies
        for number, (kind, query) in enumerate(_queries(copy, domain, config, query_seed))
    ]
    made = reasons_for(queries, domain, shown, stated, sampler, config, seed=seed)
    found = []
    for name, example, kind, query in queries:
        if name in made:
            text, source = made[name]
            source = "synthesised" if source == "rewritten" else source
            why = f"names {example.label}"
            found.append(Answer(name, example.id, ROUND, kind, query, text, source, math.nan, why))
    return found


def _queries(copy: Example, domain: Domain, config: SynthesiseConfig, seed: int) -> Iterator[tuple[QuestionKind, str]]:
    random = example_random(seed, copy.id, "covered")
    return islice(draw_queries(domain.questions, 0.0, random, config.explain_share), answers_each(config))
