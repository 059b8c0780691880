"""Steps 5 and 6: the tuned model answers without knowing the label, and the best answers train the next round.

Rejection sampling without a reward model: a candidate must name the label, and scores by how much it says of Z*(X).

1. The research code takes the best-scoring candidate of a query and then looks whether it names the label. Here the
   best is taken among those that do, so that a wrong candidate of higher score does not waste a right one. The
   label sentence stands in only where none names the label. (`label_first: false` does as the research code.) With
   `fallback: reasons` it is not the bare label sentence that does, but what `told.reasons_for` returns.
2. Names are matched by `LabelMatcher`, not by substring, and special tokens are rejected, not deleted afterwards.
3. Every loser keeps its reason; the negatives of its score are exactly the concepts outside Z*(X) (see `infonce`), each
   once, or with `negatives: per_class` once for each class that lists it, as in the research code.
4. An example without selected concepts has nothing to judge its reasons by: all its candidates lose.
5. With `prefer_listed`, a candidate that states a concept which its class does not list loses to any that states none.
   (The score alone does not ensure that: one false reason among eight right ones costs little.) With `require_listed`
   it always loses.
6. A round's training set has one answer for each of the `queries_per_image` queries, as in the paper. Its simple
   queries are those answered by the bare label sentence alone.

`candidates` works on one shard of examples; `answers` is pure.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from random import Random
from types import MappingProxyType
from typing import Literal

import numpy as np

from seewhy.config import SampleConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.questions import Questions, label_sentence
from seewhy.errors import SeeWhyError
from seewhy.method.encoder import TextEncoder
from seewhy.method.infonce import candidate_scores
from seewhy.method.sampler import Sampler, ask, draw_queries, example_random, foreign_concept, label_fault, text_fault
from seewhy.method.told import Query, StandIn
from seewhy.records import Answer, Candidate, Example, Prompt, Sampling


@dataclass(frozen=True)
class Criteria:
    """What the candidates of a round are judged by."""

    selected: Mapping[str, Sequence[str]]
    """Example id -> Z*(X)."""
    stated: Callable[[str], Sequence[str]]
    """Finds the concepts of all classes that a text states."""
    encoder: TextEncoder
    concepts_CE: np.ndarray
    """The embeddings of all concepts of the bank, in its order."""
    temperature: float
    """tau of InfoNCE."""


def candidates(
    examples: Sequence[Example],
    domain: Domain,
    sampler: Sampler,
    criteria: Criteria,
    config: SampleConfig,
    *,
    round: int,
    seed: int,
    query_seed: int,
    choice: Literal["best", "random"] = "best",
) -> list[Candidate]:
    """Sample and judge `samples_per_query` candidates for each of `queries_per_image` queries about each example.

    The queries (explain and cot) of an example depend on `query_seed` and its id alone; `seed` is for sampling. With
    `choice` "random" any candidate that can be used as text is kept (the control without filtering). Raises SeeWhyError
    when there are fewer wordings than queries to ask.
    """
    questions = domain.questions
    fewest = min(len(questions.explain), len(questions.cot))
    if config.queries_per_image > fewest:
        raise SeeWhyError(
            f"sample.queries_per_image is {config.queries_per_image}, but one of explain and cot has only {fewest} "
            "wordings: lower it, or add wordings in data.questions."
        )
    sampled = _sample(examples, domain, sampler, config, round, seed, query_seed)
    scored = _scored(sampled, domain.concepts, criteria, per_class=config.negatives == "per_class")
    labels = {example.id: example.label for example in examples}
    by_query = groupby(scored, key=lambda candidate: (candidate.example_id, candidate.query))
    if choice == "random":
        return [
            drawn
            for (name, query), group in by_query
            for drawn in draw(tuple(group), example_random(query_seed, name, f"draw/{round}/{query}"))
        ]

    def flaw(text: str, label: str) -> str | None:
        wanted = config.prefer_listed or config.require_listed
        return foreign_concept(text, domain.concepts[label], criteria.stated) if wanted else None

    order = {"strict": config.require_listed, "label_first": config.label_first}
    return [
        judged
        for (name, _), group in by_query
        for judged in judge(tuple(group), labels[name], domain.matcher, flaw, **order)
    ]


def judge(
    group: Sequence[Candidate],
    label: str,
    matcher: LabelMatcher,
    flaw: Callable[[str, str], str | None] = lambda text, label: None,
    *,
    strict: bool = False,
    label_first: bool = True,
) -> list[Candidate]:
    """Return one query's candidates with a verdict and its reason: at most one is kept, the best that names the label.

    Without `label_first` none is kept where the best of all does not name it. A candidate that comes with a reason has
    lost already. Candidates with a flaw, as `flaw(text, label)` says, compete only where all that are left have one,
    and with `strict` not even then. Ties go to the earlier sample.
    """
    reasons = [candidate.reason or _fault(candidate, label, matcher) for candidate in group]
    flaws = {i: flaw(candidate.text, label) for i, candidate in enumerate(group) if not reasons[i]}
    if strict or not all(flaws.values()):
        reasons = [reason or flaws.get(i) for i, reason in enumerate(reasons)]
    first_of: dict[str, int] = {}
    for index, candidate in enumerate(group):
        earlier = first_of.setdefault(candidate.text, index)
        if not reasons[index] and earlier != index:
            reasons[index] = f"same text as sample {group[earlier].sample}"
    running = [index for index, reason in enumerate(reasons) if not reason]
    scored = [i for i, candidate in enumerate(group) if not candidate.reason and not math.isnan(candidate.score)]
    top = max(scored, key=lambda index: (group[index].score, -index), default=None)
    if running and not label_first and top is not None and top not in running:
        for index in running:
            of_top = f"{group[top].score:.2f} of sample {group[top].sample}, which lost"
            reasons[index] = f"score {group[index].score:.2f} no higher than {of_top}"
    elif running:
        best = max(running, key=lambda index: (group[index].score, -index))
        for index in running:
            relation = "equal to" if group[index].score == group[best].score else "below"
            reasons[index] = (
                f"score {group[index].score:.2f} {relation} {group[best].score:.2f} of sample {group[best].sample}"
            )
        others = f", best of {len(running)} that do" if len(running) > 1 else ""
        reasons[best] = f"names {label}{others}"
        return [replace(c, kept=i == best, reason=reasons[i]) for i, c in enumerate(group)]
    return [replace(candidate, kept=False, reason=reason) for candidate, reason in zip(group, reasons, strict=True)]


def draw(group: Sequence[Candidate], random: Random) -> list[Candidate]:
    """Return one query's candidates, one of them kept at random, whatever it names; those with a reason have lost."""
    running = [index for index, candidate in enumerate(group) if not candidate.reason]
    kept = random.choice(running) if running else None
    reasons = {index: "kept at random" if index == kept else "not drawn" for index in running}
    return [replace(c, kept=i == kept, reason=reasons.get(i, c.reason)) for i, c in enumerate(group)]


def lost_queries(judged: Sequence[Candidate], examples: Sequence[Example]) -> list[Query]:
    """Return the queries none of whose candidates was kept, under the ids of their answers."""
    example_of = {example.id: example for example in examples}
    return [
        Query(answer_id, example_of[group[0].example_id], group[0].kind, group[0].query)
        for answer_id, group in _by_query(judged)
        if not any(candidate.kept for candidate in group)
    ]


def answers(
    judged: Sequence[Candidate],
    labels: Mapping[str, str],
    questions: Questions,
    seed: int,
    stand_ins: Mapping[str, StandIn] = MappingProxyType({}),
) -> list[Answer]:
    """Return the round's training set: one answer for each query of each example, in the candidates' order.

    `labels` is example id -> label. A query none of whose candidates was kept is answered by what `stand_ins` has for
    its answer's id, or else becomes a simple one, answered by the plain label sentence; which simple query depends on
    the seed, the round and the example's id alone.
    """
    result: list[Answer] = []
    for (name, round_), of_example in groupby(_by_query(judged), key=lambda query: _origin(query[1][0])):
        fallbacks = draw_queries(questions, 1.0, example_random(seed, name, f"answers/{round_}"))
        for answer_id, group in of_example:
            winner = next((candidate for candidate in group if candidate.kept), None)
            if winner:
                kind, query, text, score = winner.kind, winner.query, winner.text, winner.score
                result.append(Answer(answer_id, name, round_, kind, query, text, "sampled", score, winner.reason))
                continue
            counts = Counter(candidate.reason for candidate in group)
            reason = "; ".join(f"{why} ({count})" for why, count in sorted(counts.items()))
            if answer_id in stand_ins:
                kind, query = group[0].kind, group[0].query
                text, source = stand_ins[answer_id]
            else:
                kind, query = next(fallbacks)
                text, source = label_sentence(labels[name]), "label sentence"
            result.append(Answer(answer_id, name, round_, kind, query, text, source, math.nan, reason))
    return result


def _origin(candidate: Candidate) -> tuple[str, int]:
    return candidate.example_id, candidate.round


def _by_query(judged: Sequence[Candidate]) -> Iterator[tuple[str, list[Candidate]]]:
    """Yield the candidates of each query, in order, with the id of its answer."""
    for (name, round_), of_example in groupby(judged, key=_origin):
        for number, (_, group) in enumerate(groupby(of_example, key=lambda candidate: candidate.query)):
            yield f"{name}/{round_}/{number}", list(group)


def _sample(
    examples: Sequence[Example],
    domain: Domain,
    sampler: Sampler,
    config: SampleConfig,
    round: int,
    seed: int,
    query_seed: int,
) -> list[Candidate]:
    """Return candidates that are not judged yet, in order; one that may not be used as text has its reason already."""
    asked = []
    for example in examples:
        queries = draw_queries(domain.questions, 0.0, example_random(query_seed, example.id, f"candidates/{round}"))
        for number, (kind, query) in enumerate(islice(queries, config.queries_per_image)):
            asked.append((kind, example, Prompt(f"{example.id}/{round}/{number}", domain.path(example), query)))
    sampling = Sampling(config.samples_per_query, config.temperature, config.top_p, config.max_new_tokens)
    texts = ask(sampler, [prompt for _, _, prompt in asked], sampling, seed)
    return [
        Candidate(
            example.id,
            round,
            kind,
            prompt.text,
            sample,
            text.strip(),
            score=math.nan,
            kept=False,
            reason=text_fault(text, sampler) or "",
        )
        for kind, example, prompt in asked
        for sample, text in enumerate(texts[prompt.id])
    ]


def _scored(sampled: Sequence[Candidate], bank: ConceptBank, criteria: Criteria, *, per_class: bool) -> list[Candidate]:
    """Return the candidates with their scores: NaN for those that have lost already or have nothing to be judged by.

    With `per_class` a concept is as many negatives as classes list it.
    """
    usable = [index for index, candidate in enumerate(sampled) if not candidate.reason]
    if not usable:
        return list(sampled)
    row_of = {concept: row for row, concept in enumerate(bank.all_concepts)}
    texts_YE = criteria.encoder.embed_texts([sampled[index].text for index in usable])
    selected = [criteria.selected[sampled[index].example_id] for index in usable]
    rows_Y = [np.array([row_of[concept] for concept in concepts], dtype=np.int64) for concepts in selected]
    times_C = None
    if per_class:
        listed = Counter(concept for concepts in bank.values() for concept in concepts)
        times_C = np.array([listed[concept] for concept in bank.all_concepts])
    scores_Y = candidate_scores(texts_YE, criteria.concepts_CE, rows_Y, criteria.temperature, times_C)
    scores = dict(zip(usable, scores_Y, strict=True))
    return [replace(c, score=float(scores[i])) if i in scores else c for i, c in enumerate(sampled)]


def _fault(candidate: Candidate, label: str, matcher: LabelMatcher) -> str | None:
    fault = label_fault(candidate.text, label, matcher)
    if fault is None and math.isnan(candidate.score):
        return "no concept was selected for this image to judge it by"
    return fault
