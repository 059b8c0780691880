"""The tokens of every stage, counted from the data set's lists, the headers of its images and the model's processor.

    prefix P      tokens up to the last that all prompts about an image have in common: the image, what stands before it
    question q_k  tokens of a prompt of kind k behind the prefix, on average over its wordings
    answer a      tokens of an answer with its end: `Assumed.length` of the longest that the settings allow

Sampling computes `prefixes * P + prompts * q` tokens and writes `answers * a`; tuning computes `prefixes * P + pairs *
(q + a)` an epoch. Shared, an image has one prefix for all its prompts in one batch (in tuning `Together`); else one for
each. Answers of synthesis are asked for up to `tries` times, a share `Assumed.again` of them after each.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import Literal

from PIL import Image

from seewhy.config import SELF, RunConfig, SelectConfig
from seewhy.domain.concepts import fit_concepts
from seewhy.domain.covering import COVERED
from seewhy.domain.domain import read_bank
from seewhy.domain.general import GeneralQuestions
from seewhy.domain.images import image_size
from seewhy.domain.inspection import map_images
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.problems import Size
from seewhy.domain.questions import Questions, general_explanation, label_sentence, listed_reasons, synthesis_prompt
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.method.covered import answers_each
from seewhy.method.replay import ORDER
from seewhy.run.stages import ARMS, Arm, StageKey, Stages, replay_turns
from seewhy.vlm.chat import Row, answer_ids, encode, encode_all
from seewhy.vlm.data import epoch_of, micro_batches_of
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import common_prefix, why_not_shared

COUNTED = 1_000
"""Images, evenly spread over the list, whose sizes stand for all."""


@dataclass(frozen=True)
class Workload:
    """A run's data: numbers and sizes of images, wordings of questions, concepts of each class."""

    images: Mapping[str, int]
    """Split -> number of images."""
    sizes: Mapping[Size, int]
    questions: Questions
    bank: Mapping[str, Sequence[str]]
    files: Sequence[tuple[str, Size]] = ()
    """Every image, as errors name it, with its size."""

    @classmethod
    def read(cls, config: RunConfig) -> "Workload":
        """Read a run's data. Raises SeeWhyError where it is missing or a header cannot be read."""
        with TemporaryDirectory() as scratch:
            data = with_guide(config.data, Path(scratch) / "fieldguide")
            reading = read_data(data)
            bank, _ = fit_concepts(read_bank(data, reading)[0], sorted({row.label for row in reading.rows}))
            if not reading.rows:
                raise SeeWhyError(f"{data.source} has no images that can be used: `seewhy data check` says why.")
            found = list(map_images(size_of, reading.root, [row.image for row in reading.rows]))
        files = [(row.where, size) for row, size in zip(reading.rows, found, strict=True)]
        sizes = Counter(found[:: max(1, len(found) // COUNTED)])
        images = Counter(row.split for row in reading.rows)
        return cls(images, sizes, Questions.for_noun(data.noun, data.questions), dict(bank), files)


def size_of(path: Path) -> Size:
    """Return the width and height at which an image is read, from its header."""
    try:
        return image_size(path)
    except SeeWhyError as error:
        raise SeeWhyError(
            f"Image {path} cannot be read ({error}): `seewhy data check` lists all that cannot."
        ) from error


def spread(sizes: Mapping[Size, int], most: int) -> list[tuple[Size, float]]:
    """Return at most `most` sizes that stand for all, from narrow to wide and small to large, with their shares."""
    total = sum(sizes.values())
    ordered = sorted(sizes, key=lambda size: (size[0] / size[1], size[0] * size[1]))
    if len(ordered) <= most:
        return [(size, sizes[size] / total) for size in ordered]
    every = [size for size in ordered for _ in range(sizes[size])]
    return [(every[int((place + 0.5) * total / most)], 1 / most) for place in range(most)]


SIZES = 24
"""Most image sizes that are put through the processor."""
CLASSES = 24
"""Most classes whose instructions and fixed answers are tokenised."""
SEEN = 0.57
"""Share of a label's concepts that rule "unlisted" is assumed to select: that of the field guide's training images,
which show 70 % of what is listed. Elsewhere it depends on how much can be seen."""


@dataclass(frozen=True)
class Lengths:
    """Mean numbers of tokens, but for `longest_prefix`."""

    prefix: float
    """Up to the last token that all prompts about an image have in common."""
    longest_prefix: int
    patches: float
    """Patches an image that the vision tower reads."""
    instruction: float
    """What all instructions of synthesis about an image have in common behind the prefix: label and concepts."""
    question: Mapping[str, float]
    """Tokens by kind behind the prefix, and in synthesis behind `instruction`. "reasons" are explain and cot evenly,
    "synthesis" in the ratio of `explain_share`, "general" those of self-replay."""
    label_sentence: float
    """The answer of label sentences, with its end as all answers."""
    label_and_list: float
    """The answer of the L+GE control."""
    label_and_selected: float
    """The answer by template that gives the reasons of an image."""

    @classmethod
    def of(
        cls, vlm: VisionLanguageModel, work: Workload, selection: SelectConfig, explain_share: float = 0.5
    ) -> "Lengths":
        """Tokenise a sample of the data. `explain_share` is that of the questions of synthesis that ask for reasons."""
        sized = spread(work.sizes, SIZES)
        first = Image.new("RGB", max(sized, key=lambda pair: pair[1])[0])
        asked = work.questions
        reasons = [*asked.explain, *asked.cot]
        labels = sorted(work.bank)[:: max(1, len(work.bank) // CLASSES)]
        wordings = {"describe": asked.describe, "simple": asked.simple, "reasons": reasons}
        wordings |= {"general": _general(work)}
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
        few = [listed_reasons(label, _selected(work, label, selection), "explain") for label in labels]
        return cls(
            prefix=sum(length * share for length, share in prefixes),
            longest_prefix=round(max(length for length, _ in prefixes)),
            patches=sum(_patches(vlm, row) * share for row, share in seen),
            instruction=together - shared,
            question=question,
            label_sentence=_mean(len(answer_ids(vlm, label_sentence(label))) for label in labels),
            label_and_list=_mean(len(answer_ids(vlm, text)) for text in lists),
            label_and_selected=_mean(len(answer_ids(vlm, text)) for text in few),
        )


def _ids(vlm: VisionLanguageModel, texts: Sequence[str], image: Image.Image) -> list[list[int]]:
    return [row["input_ids"][0].tolist() for row in encode_all(vlm, texts, image)]


def _general(work: Workload) -> list[str]:
    """Return general questions in the ratio in which self-replay asks them."""
    general, random = GeneralQuestions.of(work.questions.noun, work.bank), Random(0)
    lists = list(work.bank.values())
    return [general.ask(k, random.choice(lists), random) for k in ORDER for _ in range(CLASSES) if k != "description"]


def selected_share(selection: SelectConfig) -> float:
    """Return the share of a label's concepts that a rule is assumed to select; for "image" of normal scores."""
    return SEEN if selection.rule == "unlisted" else NormalDist().cdf(-selection.threshold_std)


def _selected(work: Workload, label: str, selection: SelectConfig) -> Sequence[str]:
    """Return as many concepts of a class as a rule is assumed to select."""
    concepts = work.bank[label]
    return concepts[: max(selection.minimum, round(selected_share(selection) * len(concepts)))]


def _instructions(work: Workload, label: str, reasons: Sequence[str], selection: SelectConfig) -> list[str]:
    """Return instructions of synthesis about one image of a class, for a few questions."""
    named = _selected(work, label, selection)
    return [synthesis_prompt(label, named, question, work.questions.noun) for question in reasons[::8]]


def _patches(vlm: VisionLanguageModel, row: Row) -> float:
    """Return the patches of an encoded image: three colours of a square, in Qwen of two frames.

    A tower of convolutions has none: there it is the image's tokens.
    """
    vision = vlm.model.config.vision_config
    patch = getattr(vision, "patch_size", None)
    if patch is None:
        return float((row["input_ids"] == vlm.image_token_id).sum())
    size = patch if isinstance(patch, int) else patch[0]
    return row["pixel_values"].numel() / (3 * size * size * getattr(vision, "temporal_patch_size", 1))


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


@dataclass(frozen=True)
class Assumed:
    """Assumptions that no configuration states."""

    length: float = 0.6
    """Mean length of a text, as a share of its max_new_tokens."""
    fallback: float = 0.1
    """Share of training answers for which something stands in, as none of the model's can be used."""
    general: float = 0.2
    """Mean length of an answer to a general question, as a share of the longest description."""
    again: float = 0.3
    """Share of the answers of synthesis that are asked for once more, after each try."""


@dataclass(frozen=True)
class StageTokens:
    """What one stage computes. `kind` is sampling, tuning, or scoring (the likelihood of given answers)."""

    key: StageKey
    kind: Literal["sample", "tune", "score"]
    images: int
    """Number of different images."""
    prefixes: float
    """How often an image is computed."""
    prompts: int
    """Questions that are computed; in tuning, pairs of all epochs."""
    answers: int
    """Texts that are written; in tuning and scoring those that are read."""
    prefix: float
    question: float
    answer: float
    longest: int
    """The longest answer that may be written."""

    @property
    def read(self) -> float:
        """Tokens that are computed in parallel."""
        own = self.question + (0 if self.kind == "sample" else self.answer)
        return self.prefixes * self.prefix + self.prompts * own

    @property
    def written(self) -> float:
        """Tokens that are computed one after the other."""
        return self.answers * self.answer if self.kind == "sample" else 0.0

    @property
    def read_separately(self) -> float:
        """`read` without sharing: every prompt computes its image."""
        return self.read + (self.prompts - self.prefixes) * self.prefix


SIMULATED = 1_000
"""Most images whose steps are drawn to count how many fit together."""


@dataclass(frozen=True)
class Together:
    """How pairs about an image are grouped in tuning, where the image is shared."""

    prefixes: float
    """How often an image is computed in an epoch, on average."""
    rows: int
    """Images in the fullest micro-batch."""
    branches: int
    """Pairs about one image in one row at most."""

    @classmethod
    def of(cls, config: RunConfig, images: int, pairs: int) -> "Together":
        """Group so many images with so many pairs each as `vlm/data.py` does."""
        tune = config.tune
        replayed = round(tune.replay_ratio * pairs) if tune.replay else 0
        micro = min(tune.micro_batch_size, tune.batch_size)
        if tune.replay == SELF:  # about the same images
            pairs, replayed = pairs + replayed, 0
        return _together(min(images, SIMULATED), pairs, replayed, tune.batch_size, micro)


@cache
def _together(images: int, pairs: int, replayed: int, batch_size: int, micro: int) -> Together:
    """`replayed`: turns without an image, for each image."""
    turns = images * pairs
    groups = [list(range(first, first + pairs)) for first in range(0, turns, max(1, pairs))]
    texts = [[turns + number] for number in range(images * replayed)]
    steps = epoch_of([*groups, *texts], [1] * (turns + len(texts)), batch_size, Random(0))
    batches = [
        [len(group) for _, group in batch if group[0] < turns]
        for step in steps
        for batch in micro_batches_of(step, micro)
    ]
    return Together(
        prefixes=sum(map(len, batches)) / max(1, images),
        rows=max(map(len, batches), default=0),
        branches=max((length for batch in batches for length in batch), default=0),
    )


def shares_image(config: RunConfig, vlm: VisionLanguageModel, use: Literal["tune", "sample"]) -> bool:
    """Return whether questions about one image share it in this stage."""
    return config.model.share_image and why_not_shared(vlm.model, use) is None


def stages(
    config: RunConfig, work: Workload, vlm: VisionLanguageModel, lengths: Lengths, assumed: Assumed
) -> list[StageTokens]:
    """Return the stages that compute something, in the order of the run: those of `run.stages.Stages`."""
    shared = shares_image(config, vlm, "sample")
    tuned_shared = shares_image(config, vlm, "tune")
    split = config.evaluate.split
    n, measured = work.images.get("train", 0), work.images.get(split, 0)
    copies = round_up(config.tune.covered * n)

    share = config.synthesise.simple_share

    def mixed(simple: float, rest: str) -> float:
        return simple * lengths.question["simple"] + (1 - simple) * lengths.question[rest]

    def sampled(
        key: StageKey, images: int, kind: str, each: float, samples: int, longest: int, tries: int = 1,
        length: float = assumed.length,
    ) -> StageTokens:  # fmt: skip
        instruction = lengths.instruction if kind in ("synthesis", "told") else 0.0
        if kind == "synthesis":
            question = mixed(share, kind)
        else:
            question = lengths.question["reasons" if kind == "told" else kind]
        repeats = min(samples, config.model.batch_size)
        at_once = max(1, config.model.batch_size // repeats)
        passes = math.ceil(samples / repeats)
        shares = [assumed.again**attempt for attempt in range(tries)]
        prompts = round_up(passes * images * each * sum(shares))
        seen = sum(1 - (1 - asked) ** each for asked in shares)  # images with a question that is asked again
        prefixes = passes * images * math.ceil(each / at_once) * seen if shared else prompts
        answers = round_up(images * each * samples * sum(shares))
        return StageTokens(
            key, "sample", images, prefixes, prompts, answers, lengths.prefix + instruction, question,
            length * longest, longest,
        )  # fmt: skip

    def tuned(key: StageKey, arm: Arm, round: int) -> StageTokens:
        first = round == 1
        each = config.synthesise.answers_per_image if first else config.sample.queries_per_image
        longest = config.synthesise.max_new_tokens if first else config.sample.max_new_tokens
        simple = share if first else 0.0
        gives_reasons = (config.synthesise if first else config.sample).fallback == "reasons"
        listed = assumed.fallback * (1 - simple) if gives_reasons else 0.0
        simple += assumed.fallback * (1 - simple) - listed
        answer = {
            "": (assumed.fallback - listed) * lengths.label_sentence
            + listed * lengths.label_and_selected
            + (1 - assumed.fallback) * assumed.length * longest,
            "label": lengths.label_sentence,
            "label and list": simple * lengths.label_sentence + (1 - simple) * lengths.label_and_list,
        }[arm.template]
        replayed = config.tune.replay_ratio if config.tune.replay else 0.0
        of_copies = config.tune.epochs * copies * answers_each(config.synthesise)
        pairs = round_up(config.tune.epochs * n * each * (1 + replayed) + of_copies)
        question = mixed(simple, "synthesis" if first else "reasons")
        if config.tune.replay == SELF:
            described = ORDER.count("description") / len(ORDER)
            general = described * lengths.question["describe"] + (1 - described) * lengths.question["general"]
            said = (described * assumed.length + (1 - described) * assumed.general) * config.describe.max_new_tokens
            question = (question + replayed * general) / (1 + replayed)
            answer = (answer + replayed * said) / (1 + replayed)
            longest = max(longest, config.describe.max_new_tokens)
        again = Together.of(config, n, each).prefixes
        prefixes = config.tune.epochs * (n * again + copies) if tuned_shared else pairs
        return StageTokens(key, "tune", n, prefixes, pairs, pairs, lengths.prefix, question, answer, longest)

    found = []
    for key in Stages.of(config, "", "", ""):
        ask, longest = config.describe, config.evaluate.max_new_tokens
        images = copies if key.split == COVERED else work.images.get(key.split, 0)
        if key.kind == "describe":
            each, samples = ask.prompts_per_image, ask.samples_per_prompt
            found.append(sampled(key, images, "describe", each, samples, ask.max_new_tokens))
        elif key.kind == "replay" and (turns := replay_turns(config)):
            each = round_up(turns * (1 - ORDER.count("description") / len(ORDER)))
            found.append(sampled(key, n, "general", each, 1, ask.max_new_tokens, length=assumed.general))
        elif key.kind == "answers" and key.split == COVERED:
            made, each = config.synthesise, answers_each(config.synthesise)
            found.append(sampled(key, copies, "told", each, 1, made.max_new_tokens, made.tries))
        elif key.kind == "answers" and key.model and key.model.round == 1:
            made = config.synthesise
            found.append(sampled(key, n, "synthesis", made.answers_per_image, 1, made.max_new_tokens, made.tries))
        elif key.kind == "answers" and config.sample.fallback == "reasons":
            told, each = config.synthesise, config.sample.queries_per_image
            some = 1 - (1 - assumed.fallback) ** each  # of the images have a query that is lost
            lost = each * assumed.fallback / some if some else 0.0
            found.append(sampled(key, round_up(some * n), "told", lost, 1, told.max_new_tokens, told.tries))
        elif key.kind == "candidates":
            made = config.sample
            each, samples = made.queries_per_image, made.samples_per_query
            found.append(sampled(key, n, "reasons", each, samples, made.max_new_tokens))
        elif key.kind == "model" and key.model:
            found.append(tuned(key, ARMS[key.model.arm], key.model.round))
        elif key.kind == "predictions":
            found.append(sampled(key, images, "evaluation", 1, 1, longest))
        elif key.kind == "likelihoods":
            one = (measured, measured, measured, measured, lengths.prefix, lengths.question["evaluation"])
            found.append(StageTokens(key, "score", *one, assumed.length * longest, longest))
    return [stage for stage in found if stage.images]  # a run leaves out what it has no images for


def round_up(value: float) -> int:
    return math.ceil(value - 1e-9)
