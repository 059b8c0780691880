"""Mean lengths in tokens of images, questions and fixed answers, by the model's own processor and chat template."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from PIL import Image

from seewhy.config import SelectConfig
from seewhy.cost.workload import Workload, spread
from seewhy.domain.questions import general_explanation, label_sentence, synthesis_prompt
from seewhy.vlm.chat import answer_ids, encode, encode_all
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import common_prefix

SIZES = 24
"""Sizes of images that are put through the processor at most."""
CLASSES = 24
"""Classes whose instructions and fixed answers are tokenised at most."""
SEEN = 0.57
"""Share of a label's concepts that rule "unlisted" is taken to select: that of the field guide's training images, which
show 70 % of what is listed. Elsewhere it depends on how much can be seen, and that is not known before."""


@dataclass(frozen=True)
class Lengths:
    """Mean tokens, but for `longest_prefix`."""

    prefix: float
    """Up to the last token that all prompts about an image have in common."""
    longest_prefix: int
    patches: float
    """What the vision tower reads an image."""
    told: float
    """Behind the prefix, what all instructions of synthesis about an image have in common: label and concepts."""
    question: Mapping[str, float]
    """Kind -> what comes behind the prefix, and in synthesis behind `told`. "reasons" are explain and cot evenly,
    "synthesis" those of `explain_share`."""
    label_sentence: float
    """With its end, as all answers."""
    label_and_list: float
    """What the L+GE control answers."""

    @classmethod
    def of(
        cls, vlm: VisionLanguageModel, work: Workload, selection: SelectConfig, explain_share: float = 0.5
    ) -> "Lengths":
        """`explain_share`: of the questions of synthesis that ask for reasons."""
        sized = spread(work.sizes, SIZES)
        first = Image.new("RGB", max(sized, key=lambda pair: pair[1])[0])
        asked = work.questions
        reasons = [*asked.explain, *asked.cot]
        labels = sorted(work.bank)[:: max(1, len(work.bank) // CLASSES)]
        wordings = {"describe": asked.describe, "simple": asked.simple, "reasons": reasons}
        wordings |= {"explain": asked.explain, "cot": asked.cot}
        wordings = {kind: list(texts) for kind, texts in wordings.items()} | {"evaluation": [asked.evaluation]}
        rows = {kind: _ids(vlm, texts, first) for kind, texts in wordings.items()}
        instructed = [_ids(vlm, _instructions(work, label, reasons, selection), first) for label in labels]
        every = [ids for group in [*rows.values(), *instructed] for ids in group]
        shared = common_prefix(every, vlm.image_token_id)
        together = _mean(common_prefix(ids, vlm.image_token_id) for ids in instructed)
        question = {kind: _mean(map(len, ids)) - shared for kind, ids in rows.items()}
        question["synthesis"] = explain_share * question["explain"] + (1 - explain_share) * question["cot"]
        seen = [(encode(vlm, asked.evaluation, Image.new("RGB", size)), share) for size, share in sized]
        prefixes = [(row["input_ids"].shape[1] - question["evaluation"], share) for row, share in seen]
        lists = [general_explanation(label, work.bank[label]) for label in labels]
        return cls(
            prefix=sum(length * share for length, share in prefixes),
            longest_prefix=round(max(length for length, _ in prefixes)),
            patches=sum(_patches(vlm, row["pixel_values"].numel()) * share for row, share in seen),
            told=together - shared,
            question=question,
            label_sentence=_mean(len(answer_ids(vlm, label_sentence(label))) for label in labels),
            label_and_list=_mean(len(answer_ids(vlm, text)) for text in lists),
        )


def _ids(vlm: VisionLanguageModel, texts: Sequence[str], image: Image.Image) -> list[list[int]]:
    return [row["input_ids"][0].tolist() for row in encode_all(vlm, texts, image)]


def selected_share(selection: SelectConfig) -> float:
    """The share of a label's concepts that a rule can be taken to select. Of rule "image" that of a normal distribution
    above its threshold."""
    return SEEN if selection.rule == "unlisted" else NormalDist().cdf(-selection.threshold_std)


def _instructions(work: Workload, label: str, reasons: Sequence[str], selection: SelectConfig) -> list[str]:
    """Of synthesis about one image of a class, for a few questions."""
    concepts = work.bank[label]
    told = concepts[: max(selection.minimum, round(selected_share(selection) * len(concepts)))]
    return [synthesis_prompt(label, told, question, work.questions.noun) for question in reasons[::8]]


def _patches(vlm: VisionLanguageModel, numbers: int) -> float:
    """Patches among so many numbers of `pixel_values`: three colours of a square, in Qwen twice over (frames)."""
    vision = vlm.model.config.vision_config
    size = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
    return numbers / (3 * size * size * getattr(vision, "temporal_patch_size", 1))


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
