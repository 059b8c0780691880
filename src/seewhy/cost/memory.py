"""The most memory that a stage holds on its device, in bytes.

    tuning     weights + gradients + optimizer (`Trained`) + what a step adds (`step_peak`) + its images
    merging    4 bytes for every parameter, adapter included, and the optimizer, which is still there
    sampling   weights + cache of the images and of the answers + what one pass adds

What autograd keeps depends on family, adapter, dropout, checkpointing and attention, so `step_peak` runs a step as
tuning.py does, forward and backward, on torch's meta device, and counts every storage that comes and goes. Of a deep
model it runs a few layers, twice: what one adds is what each of the others adds. Three things stand in for a device:

- fused attention keeps queries, keys, values, its output and a float32 number a query and head (Dao et al.,
  "FlashAttention", 2022), and no scores;
- in 16 bits, linear layers do what autocast does: inputs and trained float32 weights are cast, each weight once a step;
- image embeddings are given, and `images_bytes` adds what the projector keeps of them.
"""

import math
import weakref
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seewhy.config import RunConfig
from seewhy.cost.hardware import Shape, Trained, trainable_on_meta
from seewhy.cost.tokens import Lengths, StageTokens, Together, shares_image
from seewhy.vlm import prefix
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import attention_kinds
from seewhy.vlm.sampling import BLOCK


@dataclass(frozen=True)
class Batch:
    """A micro-batch: `rows` sequences of a prefix (with the image) and branches, each of `question + answer` tokens."""

    rows: int
    prefix: int
    branches: int
    question: int
    answer: int

    @property
    def row_tokens(self) -> int:
        return self.prefix + self.branches * (self.question + self.answer)

    @property
    def labelled(self) -> int:
        return self.rows * self.branches * self.answer

    @property
    def columns(self) -> int:
        """Columns that the output head computes: with several rows of uneven lengths, all behind the prefix."""
        return self.branches * (self.answer + (self.question if self.rows > 1 else 0))


def step_peak(
    vlm: VisionLanguageModel,
    learner: nn.Module,
    batch: Batch,
    dtype: torch.dtype,
    *,
    layers: int,
    checkpointing: bool = False,
) -> int:
    """Return the bytes above weights, gradients and optimizer state at the worst moment of a step.

    `learner` is `vlm`'s model from `trainable_on_meta`; `layers` is how many layers the full language model has.
    """
    learner.train()
    for parameter in learner.parameters():
        parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
    decoder: Any = vlm.model.get_decoder()
    held, period = decoder.layers, _period(vlm)
    if len(held) == layers:
        return _peak(vlm, batch, dtype, checkpointing=checkpointing)
    most = _peak(vlm, batch, dtype, checkpointing=checkpointing)
    decoder.layers = held[: 2 * period]
    fewest = _peak(vlm, batch, dtype, checkpointing=checkpointing)
    decoder.layers = held
    return round(most + (most - fewest) / (2 * period) * (layers - len(held)))


def shallow(vlm: VisionLanguageModel) -> int:
    """Drop, in place, the layers of a deep language model beyond four periods; return how many there were."""
    decoder: Any = vlm.model.get_decoder()
    layers = decoder.layers
    decoder.layers = layers[: 4 * _period(vlm)]
    return len(layers)


def _period(vlm: VisionLanguageModel) -> int:
    """Return after how many layers their kinds repeat."""
    kinds = getattr(vlm.model.config.get_text_config(), "layer_types", None) or [""]
    return next(n for n in range(1, len(kinds) + 1) if all(kinds[i] == kinds[i % n] for i in range(len(kinds))))


def _peak(vlm: VisionLanguageModel, batch: Batch, dtype: torch.dtype, *, checkpointing: bool) -> int:
    counter, on_device = _Counter(), _OnDevice(dtype)
    if checkpointing:  # what is computed again in the backward pass needs the mode again, which backward() leaves
        again = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), on_device)}
        vlm.model.gradient_checkpointing_enable(again)
    with prefix.branch_attention(vlm.model), counter, on_device:
        _step(vlm, batch, dtype)
    return counter.peak


def _step(vlm: VisionLanguageModel, batch: Batch, dtype: torch.dtype) -> None:
    """Run `loss.answer_loss` and its backward pass, holding no tensor that is not held there."""
    wanted_N = torch.zeros(batch.labelled, dtype=torch.long, device="meta")
    cross_entropy(_logits(vlm, batch, dtype, wanted_N), wanted_N, reduction="sum").backward()


def _logits(vlm: VisionLanguageModel, batch: Batch, dtype: torch.dtype, wanted_N: torch.Tensor) -> torch.Tensor:
    """Return the logits of the labelled tokens, (N, V) in float32."""
    text = vlm.model.config.get_text_config()
    head: Any = vlm.model.get_output_embeddings()
    logits_BKV = head(_hidden(vlm, batch, dtype)[:, : batch.columns])
    return logits_BKV.reshape(-1, text.vocab_size)[wanted_N].float()


def _hidden(vlm: VisionLanguageModel, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """Return the last hidden states, (B, T, E). Embeddings are computed from text and images, so they are no leaf."""
    shape, width = (batch.rows, batch.row_tokens), vlm.model.config.get_text_config().hidden_size
    leaf_BTE = torch.empty(*shape, width, dtype=dtype, device="meta").requires_grad_()
    decoder: Any = vlm.model.get_decoder()
    return decoder(
        inputs_embeds=leaf_BTE * 1,
        attention_mask=_mask(vlm, batch, dtype),
        position_ids=_positions(vlm, shape),
        use_cache=False,
    ).last_hidden_state


def _mask(vlm: VisionLanguageModel, batch: Batch, dtype: torch.dtype) -> Any:
    """Return the mask as `prefix.attend` makes it: segments, or a dense mask for each kind of attention."""
    kinds = attention_kinds(vlm.model)
    if batch.branches > 1 and kinds == {"full_attention"} and prefix.takes_segments(vlm.model):
        lengths = [batch.prefix, *[batch.question + batch.answer] * batch.branches]
        segments_T = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))  # with content
        return segments_T.repeat(batch.rows, 1)[:, None, None]
    plain = dtype if batch.branches > 1 else torch.bool
    size = (batch.rows, 1, batch.row_tokens, batch.row_tokens)
    masks = {kind: torch.empty(size, dtype=plain, device="meta") for kind in kinds}
    return masks if len(masks) > 1 else masks.popitem()[1]


def _positions(vlm: VisionLanguageModel, shape: tuple[int, int]) -> torch.Tensor:
    has_axes = getattr(vlm.model.base_model, "get_rope_index", None) is not None
    return torch.zeros(*([3] if has_axes else []), *shape, dtype=torch.long, device="meta")


class _Counter(TorchDispatchMode):
    """Counts the bytes of storages that operations made and that are still held, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._held: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(t.untyped_storage()) for t in _tensors((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._held and id(storage) not in given:
                self._held[key] = weakref.ref(storage, partial(self._freed, key, storage.nbytes()))
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
        return made

    def _freed(self, key: int, size: int, _reference: Any) -> None:
        self._held.pop(key, None)
        self.now -= size


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class _OnDevice(TorchFunctionMode):
    """Stands in for fused attention, and for autocast of linear layers in 16 bits."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self._cast: dict[int, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            return _FusedAttention.apply(*args[:3])
        if func is linear and self.dtype != torch.float32:
            inputs, weight, *bias = args
            return func(
                inputs.to(self.dtype), self._sixteen(weight), *(b.to(self.dtype) for b in bias if b is not None)
            )
        return func(*args, **kwargs)

    def _sixteen(self, weight: torch.Tensor) -> torch.Tensor:
        if weight.dtype == self.dtype:
            return weight
        if id(weight) not in self._cast:
            self._cast[id(weight)] = weight.to(self.dtype)
        return self._cast[id(weight)]


class _FusedAttention(torch.autograd.Function):
    """Attention that keeps and returns tensors of the sizes of fused attention."""

    @staticmethod
    def forward(context: Any, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(query)
        context.save_for_backward(query, keys, values, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in context.saved_tensors[:3])


@dataclass(frozen=True)
class TuningMemory:
    """The memory of tuning, in bytes. `step` is what the worst moment of a step adds to the rest."""

    weights: float
    gradients: float
    optimizer: float
    step: float
    merge: float
    """What merging holds, on the device, or with QLoRA in the machine's memory."""
    merges_on_host: bool

    @property
    def peak(self) -> float:
        tuning = self.weights + self.gradients + self.optimizer + self.step
        return tuning if self.merges_on_host else max(tuning, self.merge)


def batch_of(
    config: RunConfig, prefix: int, question: float, answer: float, images: int, pairs: int, *, shared: bool
) -> Batch:
    """Return the fullest micro-batch of tuning on so many images with so many questions each."""
    size = (math.ceil(question), math.ceil(answer))
    if not shared:
        return Batch(min(config.tune.micro_batch_size, config.tune.batch_size), prefix, 1, *size)
    together = Together.of(config, images, pairs)
    return Batch(max(1, together.rows), prefix, max(1, together.branches), *size)


def tuning(
    vlm: VisionLanguageModel, held: Trained, shape: Shape, config: RunConfig, lengths: Lengths, stage: StageTokens
) -> TuningMemory:
    """Return the memory of a tuning stage with answers of the largest length. `vlm`, on meta, is used up."""
    shared = shares_image(config, vlm, "tune")
    dtype = vlm.model.dtype
    replayed = config.tune.replay_ratio if config.tune.replay else 0.0
    pairs = round(stage.prompts / max(1, stage.images * config.tune.epochs) / (1 + replayed))
    size = (lengths.longest_prefix, stage.question, stage.longest)
    batch = batch_of(config, *size, stage.images, pairs, shared=shared)
    layers = shallow(vlm)
    learner = trainable_on_meta(vlm, config.tune)
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
    """Return the bytes of a batch's images: pixels (3 x 14 x 14 numbers a patch) and what is kept for backward.

    The projector keeps about four numbers of the language model's width a token. A trained tower keeps about 34 numbers
    of its width a patch and layer; with 12 width^2 parameters a layer, its width times layers is
    sqrt(parameters * layers / 12), for 24 layers.
    """
    pixels = 3 * 14 * 14 * lengths.patches
    kept = 4 * shape.width * lengths.prefix if config.tune.projector == "full" else shape.width * lengths.prefix
    tower = 34 * math.sqrt(shape.tower * 24 / 12) * lengths.patches if config.tune.vision_tower != "frozen" else 0
    return batch.rows * (pixels + kept + tower) * dtype.itemsize


def sampling(vlm: VisionLanguageModel, shape: Shape, config: RunConfig, lengths: Lengths, stage: StageTokens) -> float:
    """Return the memory of sampling: weights, cache of I images and B answers, and the larger of reading and writing.

    cache     2 * layers * key heads * size numbers a token: I (P) + B (q + longest answer, grown in blocks of 64)
    reading   a layer's passing tensors: 4 of the language model's width and 3 of its inner width a token
    writing   scores of B answers in one layer (float32 and the model's dtype); logits, as probabilities sorted
    """
    size = vlm.model.dtype.itemsize
    text = vlm.model.config.get_text_config()
    shared = shares_image(config, vlm, "sample")
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
    """Return the configuration with other settings of tuning."""
    return replace(config, tune=replace(config.tune, **settings))  # pyright: ignore[reportArgumentType]
