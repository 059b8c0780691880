"""A scripted sampler and a countable encoder for the tests of the method."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.questions import Questions
from seewhy.records import Example, Prompt, Sampling

LABELS = ("Crow", "Fish Crow", "Heron")
BANK = {
    "Crow": ("black bill", "black legs", "square tail"),
    "Fish Crow": ("black bill", "short legs"),
    "Heron": ("yellow bill", "long legs", "grey back", "white crown"),
}
ALL_CONCEPTS = tuple(sorted({concept for concepts in BANK.values() for concept in concepts}))
QUESTIONS = Questions.for_noun("bird")
MATCHER = LabelMatcher(LABELS)


class FakeSampler:
    """Answers with `write(prompt, sample)` and remembers what it was asked. `<image>` is its one special token."""

    def __init__(self, write: Callable[[Prompt, int], str]) -> None:
        self.write = write
        self.prompts: list[Prompt] = []
        self.samplings: list[Sampling] = []

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        self.prompts.extend(prompts)
        self.samplings.append(sampling)
        return [[self.write(prompt, sample) for sample in range(sampling.samples)] for prompt in prompts]

    def rejected_text(self, text: str) -> str | None:
        return "holds special token <image>" if "<image>" in text else None

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def refused_sizes(self, sizes: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], str]:
        return {}


def stated(text: str) -> list[str]:
    """The concepts that stand in a text word for word."""
    return [concept for concept in ALL_CONCEPTS if concept in text]


class WordEncoder:
    """Bags of the bank's words: a text is near a concept when it has the concept's words."""

    words = sorted({word for concept in ALL_CONCEPTS for word in concept.split()})

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        counts = [[re.findall(r"\w+", text).count(word) for word in self.words] for text in texts]
        counts_XW = np.array(counts, dtype=np.float32).reshape(len(texts), len(self.words))
        return counts_XW / np.maximum(np.linalg.norm(counts_XW, axis=1, keepdims=True), 1e-12)

    def embed_concepts(self, concepts: Sequence[str]) -> np.ndarray:
        return self.embed_texts(concepts)


def example(name: str, label: str = "Crow") -> Example:
    return Example(name, f"{name}.png", "0" * 64, label, "train")


_EXAMPLES = (example("c"), example("a", "Heron"), example("b", "Fish Crow"))
DOMAIN = Domain("birds", Path("/images"), _EXAMPLES, ConceptBank(BANK), QUESTIONS)
