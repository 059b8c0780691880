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
8. With `fallback: reasons` the label sentence followed by Z*(X) stands in for an answer to an explain or cot query, and
   the query stays: a class whose name the base does not copy is taught its reasons too. The paper has the bare name.

One call works on one shard of examples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from seewhy.config import SynthesiseConfig
from seewhy.domain.domain import Domain
from seewhy.domain.questions import general_explanation, label_sentence, listed_reasons
from seewhy.method.sampler import Sampler, draw_queries, example_random
from seewhy.method.told import Attempt, Query, attempts
from seewhy.records import Answer, AnswerSource, Example

ROUND = 1


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
    questions = domain.questions
    drawn: list[tuple[Query, str]] = []
    for example in examples:
        random = example_random(query_seed, example.id, "synthesise")
        queries = draw_queries(questions, config.simple_share, random, config.explain_share)
        fallbacks = draw_queries(questions, 1.0, random)
        for number, (kind, query) in enumerate(islice(queries, config.answers_per_image)):
            drawn.append((Query(f"{example.id}/{ROUND}/{number}", example, kind, query), next(fallbacks)[1]))
    made = attempts([query for query, _ in drawn], domain, selected, stated, sampler, config, seed=seed)
    answers = []
    for (name, example, kind, query), simple_query in drawn:
        text, fault, _ = made.get(name, Attempt("", "no concept was selected for this image", None))
        source: AnswerSource = "synthesised"
        if fault and config.fallback == "reasons" and kind != "simple" and selected[example.id]:
            text, source = listed_reasons(example.label, selected[example.id], kind), "listed"
        elif fault:
            kind, query, text, source = "simple", simple_query, label_sentence(example.label), "label sentence"
        answers.append(
            Answer(name, example.id, ROUND, kind, query, text, source, math.nan, fault or f"names {example.label}")
        )
    return answers


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
