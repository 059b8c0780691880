"""The most memory that a stage holds on its device, in bytes.

tuning     weights + gradients + optimizer (shape.Trained) + what a step adds (simulate.step_peak) + its images
merging    4 bytes for every parameter, adapter included, and the optimizer, which is still there
sampling   weights + cache of the images and of the answers + what one pass adds
"""

import math
from dataclasses import dataclass, replace

import torch

from seewhy.config import RunConfig
from seewhy.cost.lengths import Lengths
from seewhy.cost.shape import Shape, Trained, ready
from seewhy.cost.simulate import Batch, shallow, step_peak
from seewhy.cost.tokens import StageTokens, Together
from seewhy.vlm.decoding import BLOCK, can_share
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import why_not_shared


@dataclass(frozen=True)
class TuningMemory:
    """Bytes; `step` is what the worst moment of a step adds to what is always there."""

    weights: float
    gradients: float
    optimizer: float
    step: float
    merge: float
    """All that merging holds: on the device, or with QLoRA in the machine's memory."""
    merges_on_host: bool

    @property
    def peak(self) -> float:
        tuning = self.weights + self.gradients + self.optimizer + self.step
        return tuning if self.merges_on_host else max(tuning, self.merge)


def batch_of(
    config: RunConfig, prefix: int, question: float, answer: float, images: int, pairs: int, *, shared: bool
) -> Batch:
    """The fullest micro-batch of tuning on so many images with so many questions each."""
    size = (math.ceil(question), math.ceil(answer))
    if not shared:
        return Batch(min(config.tune.micro_batch_size, config.tune.batch_size), prefix, 1, *size)
    together = Together.of(config, images, pairs)
    return Batch(max(1, together.rows), prefix, max(1, together.branches), *size)


def tuning(
    vlm: VisionLanguageModel, held: Trained, shape: Shape, config: RunConfig, lengths: Lengths, stage: StageTokens
) -> TuningMemory:
    """Of a tuning stage with every answer as long as it may be; `vlm` (on the meta device) is used up."""
    shared = config.model.share_image and why_not_shared(vlm.model) is None
    dtype = vlm.model.dtype
    replayed = config.tune.replay_ratio if config.tune.replay else 0.0
    pairs = round(stage.prompts / max(1, stage.images * config.tune.epochs) / (1 + replayed))
    size = (lengths.longest_prefix, stage.question, stage.longest)
    batch = batch_of(config, *size, stage.images, pairs, shared=shared)
    layers = shallow(vlm)
    learner = ready(vlm, config.tune)
    again = config.tune.gradient_checkpointing
    step = step_peak(vlm, learner, batch, dtype, layers=layers, checkpointing=again)
    step += images_bytes(shape, config, lengths, batch, dtype)
    whole = 4 * (shape.total + (held.parameters if config.tune.method != "full" else 0))
    return TuningMemory(
        weights=held.weights,
        gradients=held.gradients,
        optimizer=held.optimizer,
        step=max(step, 4 * held.parameters),  # AdamW's own passing tensors, when activations are gone
        merge=whole + (0 if config.tune.method == "qlora" else held.optimizer),
        merges_on_host=config.tune.method == "qlora",
    )


def images_bytes(shape: Shape, config: RunConfig, lengths: Lengths, batch: Batch, dtype: torch.dtype) -> float:
    """Of a batch's images: pixels (3 x 14 x 14 numbers a patch), and what the projector keeps for its backward pass
    (about four numbers of the language model's width a token). A trained tower keeps about 34 numbers of its width a
    patch and layer; with 12 width^2 parameters a layer, its width times layers is sqrt(parameters * layers / 12), for
    24 layers."""
    pixels = 3 * 14 * 14 * lengths.patches
    kept = 4 * shape.width * lengths.prefix if config.tune.projector == "full" else shape.width * lengths.prefix
    tower = 34 * math.sqrt(shape.tower * 24 / 12) * lengths.patches if config.tune.vision_tower != "frozen" else 0
    return batch.rows * (pixels + kept + tower) * dtype.itemsize


def sampling(vlm: VisionLanguageModel, shape: Shape, config: RunConfig, lengths: Lengths, stage: StageTokens) -> float:
    """Weights, the cache of I images and B answers, and the larger of what reading and writing add.

    cache     2 * layers * key heads * size numbers a token: I (P) + B (q + longest answer, grown in blocks of 64)
    reading   a layer's passing tensors: 4 of the language model's width and 3 of its inner width a token
    writing   scores of B answers in one layer (float32 and the model's dtype); logits, as probabilities sorted
    """
    size = vlm.model.dtype.itemsize
    text = vlm.model.config.get_text_config()
    shared = config.model.share_image and can_share(vlm)
    answers = min(config.model.batch_size, max(1, stage.answers))
    each = stage.answers / max(1, stage.prompts)
    images = math.ceil(answers * stage.prefixes / max(1, stage.answers)) if shared else math.ceil(answers / each)
    prefix = lengths.longest_prefix + math.ceil(stage.prefix - lengths.prefix)  # with what synthesis tells
    question = math.ceil(stage.question)
    own = (question + stage.longest) // BLOCK * BLOCK + BLOCK + (0 if shared else prefix)
    cache = shape.keys * size * (answers * own + (images * prefix if shared else 0))
    read = images * prefix if shared else math.ceil(answers / each) * (prefix + question)
    reading = read * (4 * text.hidden_size + 3 * text.intermediate_size) * size
    scores = answers * text.num_attention_heads * (prefix + own) * (2 * size + 4)
    writing = scores + answers * shape.vocabulary * (size + 4 * 5)
    return shape.total * size + cache + max(reading, writing)


def with_tuning(config: RunConfig, **settings: object) -> RunConfig:
    """The configuration with other settings of tuning."""
    return replace(config, tune=replace(config.tune, **settings))  # pyright: ignore[reportArgumentType]
