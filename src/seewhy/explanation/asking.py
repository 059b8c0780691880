"""Asks the models of a finished run about photos: the answer as it is written, how steady it is, and where it looks.

    asker = Asker(FinishedRun.open("runs/fieldguide"))
    question = Question(picture, asker.run.questions.evaluation, asker.run.method_model())
    for text in asker.stream(question):     # "This", "This is", "This is a", ...
        ...
    explanation = asker.explain(question, answer=text)

The label and the reasons are those of the greedy answer. Confidence is the share of sampled answers that name the same
label and no other, a reason's support the share of them that state it too: they say how steady the model is, not how
often it is right. Where a reason is comes from vlm/attribution.py.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.explanation.explained import Explanation
from seewhy.proof.interventions import mention
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Prompt, Sampling
from seewhy.results import Explained, Reason
from seewhy.run.finished import FinishedRun
from seewhy.run.models import give_back_memory
from seewhy.run.stages import ModelKey
from seewhy.vlm.attribution import can_attribute, gradient, seen_region
from seewhy.vlm.chat import encode, special_token_in
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.streaming import stream

SAMPLES = 8
"""Sampled answers behind confidence and support."""
MOST_TURNS = 12
"""Earlier questions and answers that a model is told at most."""
KEPT_BYTES = 4 * 2**30
"""Weights of models that stay loaded side by side; beyond it, the one that was asked longest ago is released."""


@dataclass(frozen=True)
class Question:
    """A question about a photo, put to one model of a run. `earlier` are the questions and answers before it."""

    picture: Image.Image
    text: str
    model: ModelKey
    earlier: tuple[tuple[str, str], ...] = ()
    name: str = "photo"
    """What errors call the photo."""


class Asker:
    """Puts questions to the models of a run in this process, one at a time; the last ones asked stay loaded."""

    def __init__(self, run: FinishedRun, *, samples: int = SAMPLES, seed: int = 0) -> None:
        self.run = run
        self.samples = samples
        self.seed = seed
        self._loaded: dict[ModelKey, VisionLanguageModel] = {}

    @cached_property
    def stated(self) -> StatedConcepts:
        """Finds the concepts of the run's bank that a text states."""
        return StatedConcepts(self.run.bank.all_concepts, self.run.vocabulary.names)

    def model(self, key: ModelKey) -> VisionLanguageModel:
        """Return a model of the run, loaded. Raises SeeWhyError where it cannot be loaded."""
        vlm = self._loaded.pop(key, None) or self.run.load(key)
        self._loaded[key] = vlm
        while len(self._loaded) > 1 and sum(map(_bytes, self._loaded.values())) > KEPT_BYTES:
            del self._loaded[next(iter(self._loaded))]
            give_back_memory()
        return vlm

    def stream(self, question: Question) -> Iterator[str]:
        """Yield the greedy answer as far as it is written; the last text is the whole answer.

        Raises SeeWhyError for a question that holds a marker of the model, or is too long for it.
        """
        greedy = Sampling(max_new_tokens=self._tokens)
        yield from stream(self._asked(question), question.text, question.picture, greedy, self.seed)

    def explain(self, question: Question, answer: str | None = None, *, samples: int | None = None) -> Explanation:
        """Return the answer, how steady it is, and each reason with its support and its place on the photo.

        `answer` is the greedy one where it has been streamed already. Raises SeeWhyError as `stream` does.
        """
        sampler, prompt = self._sampler(question), [self._prompt(question)]
        if answer is None:
            answer = sampler.sample(prompt, Sampling(max_new_tokens=self._tokens), self.seed)[0][0]
        drawn, samples = self.run.config.sample, samples or self.samples
        often = Sampling(samples, drawn.temperature, drawn.top_p, self._tokens)
        others = sampler.sample(prompt, often, self.seed)[0]
        named = [_only(self.run.matcher.names(text)) for text in others]
        label, concepts = _only(self.run.matcher.names(answer)), self.stated(answer)
        heats, problem = _heats(sampler.vlm, question, answer, concepts)
        reasons = tuple(
            Reason(concept, sum(concept in self.stated(text) for text in others) / samples, None)
            for concept in concepts
        )
        confidence = named.count(label) / samples if label else 0.0
        counts = dict(Counter(name or "" for name in named).most_common())
        said = Explained(question.name, label, confidence, answer, reasons, counts, problem)
        region = seen_region(sampler.vlm, question.picture.size)
        return Explanation(said, question.model.title, question.text, question.picture, heats, region)

    def explain_image(self, image: str | Path | Image.Image, model: ModelKey, samples: int) -> Explanation:
        """Return what a model says of an image, a file or a picture in memory: what `FinishedRun.explain` returns."""
        if samples < 1:
            raise SeeWhyError(f"samples is {samples}, but the confidence needs at least 1 sampled answer.")
        in_memory = isinstance(image, Image.Image)
        picture, name = (image.convert("RGB"), "image") if in_memory else (load_image(image), str(image))
        question = Question(picture, self.run.questions.evaluation, model, name=name)
        return self.explain(question, samples=samples)

    @property
    def _tokens(self) -> int:
        return self.run.config.evaluate.max_new_tokens

    def _prompt(self, question: Question) -> Prompt:
        return Prompt(question.name, question.name, question.text)

    def _sampler(self, question: Question) -> BatchSampler:
        settings, vlm = self.run.config.model, self._asked(question)
        return BatchSampler(vlm, settings.batch_size, lambda _: question.picture, share_image=settings.share_image)

    def _asked(self, question: Question) -> VisionLanguageModel:
        """Return the model with as much of the conversation before it as it has room for, the newest turns first."""
        vlm, turns = self.model(question.model), question.earlier[-MOST_TURNS:]
        turns = tuple(turn for turn in turns if not any(special_token_in(vlm, text) for text in turn))
        while turns:
            within = vlm.in_conversation(turns)
            length = encode(within, question.text, question.picture)["input_ids"].shape[1]
            if length + self._tokens <= vlm.max_length:
                return within
            turns = turns[1:]
        return vlm


def _heats(
    vlm: VisionLanguageModel, question: Question, answer: str, concepts: Sequence[str]
) -> tuple[Mapping[str, np.ndarray], str | None]:
    """Return concept -> its attribution map (R, K), of those whose words are found; or why there are none."""
    if problem := can_attribute(vlm, question.picture):
        return {}, problem
    spans = {concept: found for concept in concepts if (found := mention(concept, answer))}
    heat_CRK = gradient(vlm, question.text, question.picture, answer, list(spans.values()))
    return dict(zip(spans, heat_CRK, strict=True)), None


def _only(names: set[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def _bytes(vlm: VisionLanguageModel) -> int:
    return sum(weight.numel() * weight.element_size() for weight in vlm.model.parameters())
