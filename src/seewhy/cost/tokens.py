"""Tokens of every stage, read off the model's own processor and chat template.

    prefix P      tokens up to the last that all prompts about an image have in common: the image, what stands before it
    question q_k  tokens of a prompt of kind k behind the prefix, on average over its wordings
    answer a      tokens of an answer with its end: `Assumed.length` of the longest that the settings allow

Sampling computes `prefixes * P + prompts * q` tokens and writes `answers * a`; tuning computes `prefixes * P + pairs *
(q + a)` an epoch. Shared, an image has one prefix for all its prompts that fit into one batch; else one for each.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from seewhy.config import RunConfig
from seewhy.cost.workload import Workload, spread
from seewhy.domain.questions import label_sentence, synthesis_prompt
from seewhy.plan import CONTROLS, OURS, Arm, Plan
from seewhy.vlm.chat import answer_ids, encode, encode_all
from seewhy.vlm.decoding import can_share
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import common_prefix, why_not_shared

SIZES = 24
"""Sizes of images that are put through the processor at most."""
CLASSES = 40
"""Classes whose concepts are put into the synthesis prompt at most."""
SELECTED = 0.345
"""Share of a normal distribution above mean + 0.4 std: how many of a label's concepts are told in synthesis."""


@dataclass(frozen=True)
class Assumed:
    """What no configuration says."""

    length: float = 0.6
    """Mean length of a text, as a share of its max_new_tokens."""
    fallback: float = 0.1
    """Share of training answers that are the plain label sentence."""


@dataclass(frozen=True)
class Lengths:
    """Mean tokens; see above."""

    prefix: float
    longest_prefix: int
    patches: float
    """What the vision tower reads an image."""
    question: Mapping[str, float]
    label_sentence: float

    @classmethod
    def of(cls, vlm: VisionLanguageModel, work: Workload, minimum: int) -> "Lengths":
        """`minimum`: fewest concepts that are selected for an image."""
        sized = spread(work.sizes, SIZES)
        first = Image.new("RGB", max(sized, key=lambda pair: pair[1])[0])
        wordings = _wordings(work, minimum)
        rows = {kind: encode_all(vlm, texts, first) for kind, texts in wordings.items()}
        ids = [row["input_ids"][0].tolist() for group in rows.values() for row in group]
        shared = common_prefix(ids, vlm.image_token_id)
        behind = {k: _mean(row["input_ids"].shape[1] for row in group) - shared for k, group in rows.items()}
        tail = rows["evaluation"][0]["input_ids"].shape[1] - shared
        seen = [(encode(vlm, work.questions.evaluation, Image.new("RGB", size)), share) for size, share in sized]
        prefixes = [(row["input_ids"].shape[1] - tail, share) for row, share in seen]
        return cls(
            prefix=sum(length * share for length, share in prefixes),
            longest_prefix=max(length for length, _ in prefixes),
            patches=sum(_patches(vlm, row["pixel_values"].numel()) * share for row, share in seen),
            question=behind,
            label_sentence=_mean(len(answer_ids(vlm, label_sentence(label))) for label in work.bank),
        )


@dataclass(frozen=True)
class StageTokens:
    """What one stage computes. `kind`: sampling, tuning, or reading answers to find how likely they are (scoring)."""

    name: str
    kind: Literal["sample", "tune", "score"]
    images: int
    """Different ones."""
    prefixes: float
    """Times that an image is computed."""
    prompts: int
    """Questions that are computed; in tuning pairs, in all epochs."""
    answers: int
    """Texts that are written; in tuning and scoring those that are read."""
    prefix: float
    question: float
    answer: float
    longest: int
    """The longest answer that may be written."""

    @property
    def read(self) -> float:
        """Tokens computed many at a time."""
        own = self.question + (0 if self.kind == "sample" else self.answer)
        return self.prefixes * self.prefix + self.prompts * own

    @property
    def written(self) -> float:
        """Tokens computed one after the other."""
        return self.answers * self.answer if self.kind == "sample" else 0.0

    @property
    def read_separately(self) -> float:
        """As `read`, had every prompt its image computed for itself."""
        return self.read + (self.prompts - self.prefixes) * self.prefix


def stages(config: RunConfig, work: Workload, vlm: VisionLanguageModel, assumed: Assumed) -> list[StageTokens]:
    """The stages that compute something, in the order of the run: those of `plan.Plan`."""
    lengths = Lengths.of(vlm, work, config.select.minimum)
    shared = config.model.share_image and can_share(vlm)
    tuned_shared = config.model.share_image and why_not_shared(vlm.model) is None
    split = config.evaluate.split
    n, measured = work.images.get("train", 0), work.images.get(split, 0)

    def sampled(
        name: str, images: int, kinds: Mapping[str, float], each: int, samples: int, longest: int
    ) -> StageTokens:
        prompts = images * each
        repeats = min(samples, config.model.batch_size)
        at_once = max(1, config.model.batch_size // repeats)
        again = math.ceil(samples / repeats)
        prefixes = again * (images * math.ceil(each / at_once) if shared else prompts)
        question = sum(lengths.question[kind] * share for kind, share in kinds.items())
        answer = assumed.length * longest
        return StageTokens(
            name, "sample", images, prefixes, again * prompts, prompts * samples, lengths.prefix, question, answer,
            longest,
        )  # fmt: skip

    def tuned(name: str, arm: Arm, round: int) -> StageTokens:
        first = round == 1
        each = config.synthesise.answers_per_image if first else config.sample.queries_per_image
        longest = config.synthesise.max_new_tokens if first else config.sample.max_new_tokens
        simple = config.synthesise.simple_share if first else 0.0
        fallback = 1.0 if arm.template else assumed.fallback
        if not arm.template:
            simple += fallback * (1 - simple)
        question = simple * lengths.question["simple"] + (1 - simple) * lengths.question["reasons"]
        answer = fallback * lengths.label_sentence + (1 - fallback) * assumed.length * longest
        replayed = config.tune.replay_ratio if config.tune.replay else 0.0
        pairs = round_up(config.tune.epochs * n * each * (1 + replayed))
        micro = min(config.tune.micro_batch_size, config.tune.batch_size)
        prefixes = config.tune.epochs * n * (math.ceil(each / micro) if tuned_shared else each)
        return StageTokens(name, "tune", n, prefixes, pairs, pairs, lengths.prefix, question, answer, longest)

    found = []
    by_prefix = {arm.prefix: arm for arm in CONTROLS.values()}
    for name in Plan.of(config, "", "", ""):
        path, _, kind = name.rpartition("/")
        before, _, number = path.partition("round-")
        arm, round = by_prefix.get(before, OURS), int(number or 0)
        ask, longest = config.describe, config.evaluate.max_new_tokens
        if name == "describe" or name.startswith("describe-"):
            images = work.images.get(name.partition("-")[2] or "train", 0)
            one = {"describe": 1.0}
            found.append(sampled(name, images, one, ask.prompts_per_image, ask.samples_per_prompt, ask.max_new_tokens))
        elif kind == "answers" and round == 1:
            made = config.synthesise
            found.append(sampled(name, n, {"synthesis": 1.0}, made.answers_per_image, 1, made.max_new_tokens))
        elif kind == "candidates":
            made = config.sample
            one = {"reasons": 1.0}
            found.append(sampled(name, n, one, made.queries_per_image, made.samples_per_query, made.max_new_tokens))
        elif kind == "model":
            found.append(tuned(name, arm, round))
        elif kind.startswith("predictions-"):
            images = work.images.get(kind.partition("-")[2], 0)
            found.append(sampled(name, images, {"evaluation": 1.0}, 1, 1, longest))
        elif kind.startswith("likelihoods-"):
            one = (measured, measured, measured, measured, lengths.prefix, lengths.question["evaluation"])
            found.append(StageTokens(name, "score", *one, assumed.length * longest, longest))
    return [stage for stage in found if stage.images]  # a run leaves out what it has no images for


def round_up(value: float) -> int:
    return math.ceil(value - 1e-9)


def _wordings(work: Workload, minimum: int) -> dict[str, list[str]]:
    """Kind -> the questions of it; those that ask for reasons are explain and cot evenly, of synthesis all kinds."""
    asked = work.questions
    reasons = [*asked.explain, *asked.cot]
    labels = sorted(work.bank)[:: max(1, len(work.bank) // CLASSES)]
    told = [
        synthesis_prompt(label, _selected(work.bank[label], minimum), reasons[place % len(reasons)], asked.noun)
        for place, label in enumerate(labels * math.ceil(len(reasons) / len(labels)))
    ]
    return {
        "describe": list(asked.describe),
        "simple": list(asked.simple),
        "reasons": reasons,
        "synthesis": told,
        "evaluation": [asked.evaluation],
    }


def _selected(concepts: Sequence[str], minimum: int) -> Sequence[str]:
    return concepts[: max(minimum, round(SELECTED * len(concepts)))]


def _patches(vlm: VisionLanguageModel, numbers: int) -> float:
    """Patches among so many numbers of `pixel_values`: three colours of a square, in Qwen twice over (frames)."""
    vision = vlm.model.config.vision_config
    size = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
    return numbers / (3 * size * size * getattr(vision, "temporal_patch_size", 1))


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
