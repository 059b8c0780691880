"""How the stages ask a model for text: the `Sampler` protocol, the draw of queries, and what is wrong with a text.

Deviation from the research code: its stages pair texts with images by their position in two lists, and the two
fall out of step. Here every prompt has an id, and `ask` hands the texts back under it.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from random import Random
from typing import Protocol

from seewhy.domain.labels import LabelMatcher
from seewhy.domain.questions import Questions
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, QuestionKind, Sampling


class Sampler(Protocol):
    """A model that answers questions about images, such as `vlm.sampling.BatchSampler`."""

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        """Return `sampling.samples` texts for each prompt, in order."""
        ...

    def rejected_text(self, text: str) -> str | None:
        """Return why this model must not be given `text` (it holds one of its special tokens), or None."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return the number of this model's tokens in a text."""
        ...

    def refused_sizes(self, sizes: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], str]:
        """Return those of some image sizes (width, height) that this model cannot take, with the reason."""
        ...


def ask(sampler: Sampler, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> dict[str, list[str]]:
    """Return prompt id -> its texts. Raises SeeWhyError when the sampler returns too few or too many."""
    answers = sampler.sample(prompts, sampling, seed) if prompts else []
    if len(answers) != len(prompts):
        raise SeeWhyError(f"The sampler answered {len(answers)} of {len(prompts)} prompts; it must answer each one.")
    texts = {prompt.id: list(answer) for prompt, answer in zip(prompts, answers, strict=True)}
    if len(texts) != len(prompts):
        raise SeeWhyError("Two prompts have the same id, so their texts cannot be told apart: make example ids unique.")
    for name, answer in texts.items():
        if len(answer) != sampling.samples:
            raise SeeWhyError(f"Prompt {name!r} got {len(answer)} texts, not {sampling.samples}: mend the sampler.")
    return texts


def example_random(seed: int, example_id: str, purpose: str) -> Random:
    """Return a generator that depends on these three alone, not on the shard or the other examples."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{example_id}".encode()).digest()
    return Random(int.from_bytes(digest, "big"))


def draw_queries(
    questions: Questions, simple_share: float, random: Random, explain_share: float = 0.5
) -> Iterator[tuple[QuestionKind, str]]:
    """Yield endless (kind, query): simple with probability `simple_share`, else explain with `explain_share`, else cot.

    Within a kind every wording comes once before one comes again.
    """
    wordings: Mapping[QuestionKind, Sequence[str]] = {
        "simple": questions.simple,
        "explain": questions.explain,
        "cot": questions.cot,
    }
    decks = {kind: cycle(random.sample(texts, len(texts))) for kind, texts in wordings.items()}
    while True:
        if random.random() < simple_share:
            kind = "simple"
        elif explain_share == 0.5:  # so were the queries of all runs drawn before there was the setting
            kind = random.choice(("explain", "cot"))
        else:
            kind = "explain" if random.random() < explain_share else "cot"
        yield kind, next(decks[kind])


def text_fault(text: str, sampler: Sampler) -> str | None:
    """Return why `text` cannot be used at all, or None."""
    return sampler.rejected_text(text) if text.strip() else "empty"


def foreign_concept(
    text: str,
    listed: Collection[str],
    stated: Callable[[str], Sequence[str]],
    *,
    how: str = "which its class does not list",
) -> str | None:
    """Return that `text` states a concept which its label's list does not have, or None.

    `stated` finds the concepts of the whole bank in a text. No ground truth is used: an expert has listed what the
    class shows. `how` says what the list is.
    """
    foreign = next((concept for concept in stated(text) if concept not in listed), None)
    return None if foreign is None else f"states {foreign!r}, {how}"


def label_fault(text: str, label: str, matcher: LabelMatcher) -> str | None:
    """Return why `text` does not name `label` alone, or None."""
    if matcher.is_correct(text, label):
        return None
    named = matcher.names(text)
    if not named:
        return "names no label"
    return f"names {' and '.join(sorted(named))}, not {label}{' alone' if label in named else ''}"
