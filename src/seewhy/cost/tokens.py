"""Tokens of every stage.

    prefix P      tokens up to the last that all prompts about an image have in common: the image, what stands before it
    question q_k  tokens of a prompt of kind k behind the prefix, on average over its wordings (lengths.py)
    answer a      tokens of an answer with its end: `Assumed.length` of the longest that the settings allow

Sampling computes `prefixes * P + prompts * q` tokens and writes `answers * a`; tuning computes `prefixes * P + pairs *
(q + a)` an epoch. Shared, an image has one prefix for all its prompts that stand in one batch (in tuning `Together`);
else one for each. Answers of synthesis are asked for up to `tries` times: a share `Assumed.again` of them after each.
"""

import math
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

from seewhy.config import RunConfig
from seewhy.cost.lengths import Lengths
from seewhy.cost.workload import Workload
from seewhy.plan import CONTROLS, OURS, Arm, Plan
from seewhy.vlm.decoding import can_share
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import why_not_shared
from seewhy.vlm.schedule import epoch_of, micro_batches_of


@dataclass(frozen=True)
class Assumed:
    """What no configuration says."""

    length: float = 0.6
    """Mean length of a text, as a share of its max_new_tokens."""
    fallback: float = 0.1
    """Share of training answers that are the plain label sentence."""
    again: float = 0.3
    """Share of the answers of synthesis that are asked for once more, after each try."""


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


SIMULATED = 1_000
"""Images whose steps are drawn at most, to see how many fit together."""


@dataclass(frozen=True)
class Together:
    """How the pairs of an image stand together in tuning, where its image is shared."""

    prefixes: float
    """Times that an image is computed in an epoch, on average."""
    rows: int
    """Images in the fullest micro-batch."""
    branches: int
    """Pairs about one image in one row at most."""

    @classmethod
    def of(cls, config: RunConfig, images: int, pairs: int) -> "Together":
        """Of so many images with so many pairs each, as `vlm/schedule.py` puts them together."""
        tune = config.tune
        replayed = round(tune.replay_ratio * pairs) if tune.replay else 0
        micro = min(tune.micro_batch_size, tune.batch_size)
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


def stages(
    config: RunConfig, work: Workload, vlm: VisionLanguageModel, lengths: Lengths, assumed: Assumed
) -> list[StageTokens]:
    """The stages that compute something, in the order of the run: those of `plan.Plan`."""
    shared = config.model.share_image and can_share(vlm)
    tuned_shared = config.model.share_image and why_not_shared(vlm.model) is None
    split = config.evaluate.split
    n, measured = work.images.get("train", 0), work.images.get(split, 0)

    share = config.synthesise.simple_share

    def mixed(simple: float, rest: str) -> float:
        return simple * lengths.question["simple"] + (1 - simple) * lengths.question[rest]

    def sampled(
        name: str, images: int, kind: str, each: int, samples: int, longest: int, tries: int = 1
    ) -> StageTokens:
        told, question = 0.0, lengths.question[kind]
        if kind == "synthesis":
            told, question = lengths.told, mixed(share, kind)
        repeats = min(samples, config.model.batch_size)
        at_once = max(1, config.model.batch_size // repeats)
        passes = math.ceil(samples / repeats)
        shares = [assumed.again**attempt for attempt in range(tries)]
        prompts = round_up(passes * images * each * sum(shares))
        seen = sum(1 - (1 - asked) ** each for asked in shares)  # images with a question that is asked again
        prefixes = passes * images * math.ceil(each / at_once) * seen if shared else prompts
        answers = round_up(images * each * samples * sum(shares))
        return StageTokens(
            name, "sample", images, prefixes, prompts, answers, lengths.prefix + told, question,
            assumed.length * longest, longest,
        )  # fmt: skip

    def tuned(name: str, arm: Arm, round: int) -> StageTokens:
        first = round == 1
        each = config.synthesise.answers_per_image if first else config.sample.queries_per_image
        longest = config.synthesise.max_new_tokens if first else config.sample.max_new_tokens
        simple = share if first else 0.0
        simple += assumed.fallback * (1 - simple)
        answer = {
            "": assumed.fallback * lengths.label_sentence + (1 - assumed.fallback) * assumed.length * longest,
            "label": lengths.label_sentence,
            "label and list": simple * lengths.label_sentence + (1 - simple) * lengths.label_and_list,
        }[arm.template]
        replayed = config.tune.replay_ratio if config.tune.replay else 0.0
        pairs = round_up(config.tune.epochs * n * each * (1 + replayed))
        question = mixed(simple, "synthesis" if first else "reasons")
        again = Together.of(config, n, each).prefixes
        prefixes = config.tune.epochs * n * again if tuned_shared else pairs
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
            each, samples = ask.prompts_per_image, ask.samples_per_prompt
            found.append(sampled(name, images, "describe", each, samples, ask.max_new_tokens))
        elif kind == "answers" and round == 1:
            made = config.synthesise
            found.append(sampled(name, n, "synthesis", made.answers_per_image, 1, made.max_new_tokens, made.tries))
        elif kind == "candidates":
            made = config.sample
            each, samples = made.queries_per_image, made.samples_per_query
            found.append(sampled(name, n, "reasons", each, samples, made.max_new_tokens))
        elif kind == "model":
            found.append(tuned(name, arm, round))
        elif kind.startswith("predictions-"):
            images = work.images.get(kind.partition("-")[2], 0)
            found.append(sampled(name, images, "evaluation", 1, 1, longest))
        elif kind.startswith("likelihoods-"):
            one = (measured, measured, measured, measured, lengths.prefix, lengths.question["evaluation"])
            found.append(StageTokens(name, "score", *one, assumed.length * longest, longest))
    return [stage for stage in found if stage.images]  # a run leaves out what it has no images for


def round_up(value: float) -> int:
    return math.ceil(value - 1e-9)
