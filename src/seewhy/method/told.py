"""Answers of a model that is told the label and Z*(X), and what stands in where a query has no usable answer.

Step 3 asks the untuned base so. From round 2 on a query of which no candidate can be used is put to the tuned model in
the same way (`reasons_for`); the paper has nothing but the label sentence for it, and so teaches a class whose name the
model does not copy no reason at all. Where the name cannot be copied even then, or the answer states a concept that was
not selected, name and concepts stand in as plain text (`questions.listed_reasons`), which is as true as Z*(X).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from seewhy.config import SynthesiseConfig
from seewhy.domain.domain import Domain
from seewhy.domain.questions import listed_reasons, synthesis_prompt
from seewhy.method.sampler import Sampler, ask, foreign_concept, label_fault, text_fault
from seewhy.records import AnswerSource, Example, Prompt, QuestionKind, Sampling

_ECHO_WORDS = 5
"""This many words of the instruction in a row count as repeating it."""


class Query(NamedTuple):
    """One query about one image; `id` is that of its answer."""

    id: str
    example: Example
    kind: QuestionKind
    text: str


class Attempt(NamedTuple):
    """An answer, why it cannot be used (`fault`), and why another one would be better (`flaw`)."""

    text: str
    fault: str | None
    flaw: str | None


class StandIn(NamedTuple):
    """What a query is answered with for want of a usable candidate."""

    text: str
    source: AnswerSource


def attempts(
    queries: Sequence[Query],
    domain: Domain,
    selected: Mapping[str, Sequence[str]],
    stated: Callable[[str], Sequence[str]],
    sampler: Sampler,
    config: SynthesiseConfig,
    *,
    seed: int,
    only_selected: bool = False,
) -> dict[str, Attempt]:
    """Ask for each query up to `tries` times: return the first flawless attempt, else the first without a fault, or the
    first.

    Keys are the queries' ids. An example without selected concepts is not asked about and has none. With
    `only_selected` it is a fault to state a concept that was not selected for the image.
    """
    noun, example_of = domain.questions.noun, {query.id: query.example for query in queries}
    prompts = [
        Prompt(name, domain.path(example), synthesis_prompt(example.label, selected[example.id], text, noun))
        for name, example, _, text in queries
        if selected[example.id]
    ]

    def judged(name: str, text: str) -> Attempt:
        example = example_of[name]
        fault = text_fault(text, sampler) or _echo(text, noun) or label_fault(text, example.label, domain.matcher)
        if only_selected:
            fault = fault or foreign_concept(
                text, selected[example.id], stated, how="which was not selected for its image"
            )
        flaw = fault or foreign_concept(text, domain.concepts[example.label], stated)
        return Attempt(text, flaw if config.require_listed else fault, flaw)

    best: dict[str, Attempt] = {}
    sampling = Sampling(1, config.temperature, config.top_p, config.max_new_tokens)
    for attempt in range(config.tries):
        for name, (text,) in ask(sampler, prompts, sampling, seed + attempt).items():
            made = judged(name, text.strip())
            if name not in best or not made.flaw or (best[name].fault and not made.fault):
                best[name] = made
        prompts = [prompt for prompt in prompts if best[prompt.id].flaw]
    return best


def reasons_for(
    queries: Sequence[Query],
    domain: Domain,
    selected: Mapping[str, Sequence[str]],
    stated: Callable[[str], Sequence[str]],
    sampler: Sampler,
    config: SynthesiseConfig,
    *,
    seed: int,
) -> dict[str, StandIn]:
    """Return what answers queries by id: what the model writes with the label told, naming it and stating nothing but
    selected concepts, or else name and concepts by template.

    Queries about an example without selected concepts are left out: there are no reasons to give.
    """
    made = attempts(queries, domain, selected, stated, sampler, config, seed=seed, only_selected=True)
    return {
        query.id: StandIn(listed_reasons(query.example.label, selected[query.example.id], query.kind), "listed")
        if made[query.id].fault
        else StandIn(made[query.id].text, "rewritten")
        for query in queries
        if query.id in made
    }


def _echo(text: str, noun: str) -> str | None:
    """Return why a text repeats the instruction of step 3 (not the label, concepts or query in it), or None."""
    spoken = f" {' '.join(_words(text))} "
    for segment in synthesis_prompt("\0", ("\0",), "\0", noun).split("\0"):
        words = _words(segment)
        for first in range(len(words) - _ECHO_WORDS + 1):
            echoed = " ".join(words[first : first + _ECHO_WORDS])
            if f" {echoed} " in spoken:
                return f"repeats the instruction ('{echoed}')"
    return None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
