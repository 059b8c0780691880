"""Step 3: the base model writes round 1's training set, given the label and Z*(X).

1. Each answer carries its example and its query; the research code writes most answers about another image.
2. An answer that does not name the label, and no other, falls back to a simple query with the plain label sentence; in
   the research code this branch can never run. `fallback_share` counts them.
3. So does an answer that holds a special token of the model, or repeats the instruction it was given.
4. Simple queries are put to the model with the instruction too, as in the research code.
5. An answer to an explain or cot query that names the label is kept even where it cites none of Z*(X) word for word, as
   in the paper: a free paraphrase cannot be told from a missing reason here. `proof` measures it, and from round 2 on
   rejection sampling prefers answers that say more of Z*(X).
6. An answer that falls back, or states a concept that its class does not list, is asked for again, up to `tries` times
   in all, and the best one counts. The paper asks once. With `require_listed` the second kind falls back in the end.
7. An example without selected concepts is not asked about: there are no reasons to give, and only its name is taught.

One call works on one shard of examples.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from seewhy.config import SynthesiseConfig
from seewhy.domain.domain import Domain
from seewhy.domain.questions import general_explanation, label_sentence, synthesis_prompt
from seewhy.method.sampler import Sampler, ask, draw_queries, example_random, foreign_concept, label_fault, text_fault
from seewhy.records import Answer, Example, Prompt, Sampling

ROUND = 1
_ECHO_WORDS = 5
"""This many words of the instruction in a row count as repeating it."""


def synthesise(
    examples: Sequence[Example],
    domain: Domain,
    selected: Mapping[str, Sequence[str]],
    stated: Callable[[str], Sequence[str]],
    sampler: Sampler,
    config: SynthesiseConfig,
    *,
    seed: int,
    query_seed: int,
) -> list[Answer]:
    """Return `answers_per_image` answers about each example, in order.

    `selected` is example id -> Z*(X), and `stated` finds the concepts of all classes in a text. The queries of an
    example depend on `query_seed` and its id alone; `seed` is for sampling.
    """
    questions, noun = domain.questions, domain.questions.noun
    drawn = []
    for example in examples:
        random = example_random(query_seed, example.id, "synthesise")
        queries = draw_queries(questions, config.simple_share, random, config.explain_share)
        fallbacks = draw_queries(questions, 1.0, random)
        for number, (kind, query) in enumerate(islice(queries, config.answers_per_image)):
            drawn.append((example, f"{example.id}/{ROUND}/{number}", kind, query, next(fallbacks)[1]))
    prompts = [
        Prompt(name, domain.path(example), synthesis_prompt(example.label, selected[example.id], query, noun))
        for example, name, _, query, _ in drawn
        if selected[example.id]
    ]
    label_of = {name: example.label for example, name, _, _, _ in drawn}

    def judged(name: str, text: str) -> "_Attempt":
        label = label_of[name]
        fault = text_fault(text, sampler) or _echo(text, noun) or label_fault(text, label, domain.matcher)
        flaw = fault or foreign_concept(text, domain.concepts[label], stated)
        return _Attempt(text, flaw if config.require_listed else fault, flaw)

    attempts = _attempts(prompts, sampler, config, seed, judged)
    answers = []
    for example, name, kind, query, simple_query in drawn:
        text, fault, _ = attempts.get(name, _Attempt("", "no concept was selected for this image", None))
        if fault:
            kind, query, text = "simple", simple_query, label_sentence(example.label)
        source = "label sentence" if fault else "synthesised"
        reason = fault or f"names {example.label}"
        answers.append(Answer(name, example.id, ROUND, kind, query, text, source, math.nan, reason))
    return answers


class _Attempt(NamedTuple):
    """An answer, why it cannot be used (`fault`), and why another one would be better (`flaw`)."""

    text: str
    fault: str | None
    flaw: str | None


def _attempts(
    prompts: Sequence[Prompt],
    sampler: Sampler,
    config: SynthesiseConfig,
    seed: int,
    judged: Callable[[str, str], _Attempt],
) -> dict[str, _Attempt]:
    """Return for each prompt id the first flawless attempt, or else the first without a fault, or the first."""
    best: dict[str, _Attempt] = {}
    sampling = Sampling(1, config.temperature, config.top_p, config.max_new_tokens)
    for attempt in range(config.tries):
        for name, (text,) in ask(sampler, prompts, sampling, seed + attempt).items():
            made = judged(name, text.strip())
            if name not in best or not made.flaw or (best[name].fault and not made.fault):
                best[name] = made
        prompts = [prompt for prompt in prompts if best[prompt.id].flaw]
    return best


def fallback_share(answers: Sequence[Answer]) -> float:
    """Return the share of the answers that are plain label sentences; 0 where there are no answers."""
    return sum(answer.source == "label sentence" for answer in answers) / max(1, len(answers))


def label_answers(
    answers: Sequence[Answer], labels: Mapping[str, str], lists: Mapping[str, Sequence[str]] | None = None
) -> list[Answer]:
    """Return the training set of the NL control, or with `lists` of L+GE: the method's queries, answered by template.

    NL answers with the label sentence; L+GE adds the class's whole list, except for simple queries. `labels` is example
    id -> label, `lists` label -> concepts.
    """
    taught = []
    for answer in answers:
        label = labels[answer.example_id]
        text = label_sentence(label)
        if lists is not None and answer.kind != "simple":
            text = general_explanation(label, lists[label])
        reason = "NL control" if lists is None else "L+GE control"
        taught.append(replace(answer, text=text, source="label sentence", score=math.nan, reason=reason))
    return taught


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
