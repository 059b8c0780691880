"""What a run costs, and which settings make it fit: `plan_run(config, gpu)`.

Operations are those that the method needs. With N parameters in the language model's layers, V in the output head, U in
the vision tower, R in the projector, and A the width of all layers' queries:

    a token, forward        2 N                      each weight multiplies and adds once
    a token's attention     4 A c                    c: tokens that it attends to (scores 2 A, values 2 A)
    a next token            2 V
    an image                2 U patches + 2 R tokens (the tower's attention, a tenth of it or less, is left out)
    backward                as much again for activations, and as much again for each trained weight

So an adapter of M parameters is tuned at 4 N + 6 M a token, the whole model at 6 N; gradient checkpointing adds one
more forward pass.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from seewhy.config import RunConfig, TuneConfig
from seewhy.cost import memory
from seewhy.cost.hardware import GPUS, USABLE, UTILISATION, Gpu, Shape, Trained, Utilisation, trainable_on_meta, trained
from seewhy.cost.tokens import Assumed, Lengths, StageTokens, Workload, stages
from seewhy.domain.drafting import requests as draft_requests
from seewhy.domain.problems import raise_problems, size_problems
from seewhy.endpoint import Request
from seewhy.endpoint.usage import estimate_tokens
from seewhy.run.progress import progress
from seewhy.run.sources import made_base_source
from seewhy.vlm.chat import refused_sizes
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import CPU_SEQUENCES, GPU_SEQUENCES

if TYPE_CHECKING:
    from seewhy.cost.scaling import Scaled

FOUR_BIT_SPEED = 0.75
"""Speed of tuning on 4-bit weights, which are dequantised at each use, relative to 16-bit ones. Assumed."""


def attended(stage: StageTokens) -> float:
    """Return the pairs of a token and one that it attends to.

    There are P*P/2 in a prefix and q*P + q*q/2 behind it; a written token attends to prefix, question and answer.
    """
    own = stage.question + (0.0 if stage.kind == "sample" else stage.answer)
    read = stage.prefixes * stage.prefix**2 / 2 + stage.prompts * own * (stage.prefix + own / 2)
    if stage.kind != "sample":
        return read
    return read + stage.answers * stage.answer * (stage.prefix + stage.question + stage.answer / 2)


def image_flops(shape: Shape, stage: StageTokens, patches: float) -> float:
    """Return the operations of all images, forward: 2 U patches + 2 R P each."""
    return stage.prefixes * 2 * (shape.tower * patches + shape.projector * stage.prefix)


def sampling_flops(shape: Shape, stage: StageTokens, patches: float) -> tuple[float, float]:
    """Return the operations of reading and of writing: 2 N a token, 2 V a next token, 4 A a pair that attends."""
    scored = stage.prompts * (stage.answer if stage.kind == "score" else 1)
    together = 4 * shape.attention * attended(stage)
    read = 2 * shape.decoder * stage.read + 2 * shape.head * scored + image_flops(shape, stage, patches)
    written = 2 * (shape.decoder + shape.head) * stage.written
    share = stage.written / (stage.read + stage.written)
    return read + together * (1 - share), written + together * share


def tuning_flops(shape: Shape, trained: Trained, stage: StageTokens, patches: float, config: RunConfig) -> float:
    """Return the operations of all epochs. Attention counts three times: forward, and twice as much backward."""
    settings = config.tune
    full = settings.method == "full"
    again = 2 if settings.gradient_checkpointing else 1
    layers = 2 * shape.decoder * (again + (2 if full else 1)) + 2 * trained.adapter * (again + 2)
    head = 2 * shape.head * (3 if full else 2)
    tower = {"frozen": 1, "lora": 2, "full": 3}[settings.vision_tower]
    projector = 3 if settings.projector == "full" else 2
    images = stage.prefixes * 2 * (tower * shape.tower * patches + projector * shape.projector * stage.prefix)
    together = 4 * shape.attention * attended(stage) * (again + 2)
    return layers * stage.read + head * stage.answers * stage.answer + images + together


def sampling_seconds(
    shape: Shape, stage: StageTokens, patches: float, config: RunConfig, gpu: Gpu, use: Utilisation | None = None
) -> float:
    """Return the seconds of sampling: reading at `use.prefill` of the card's operations, then the steps of each batch.

    A batch takes as many steps as its longest answer may have tokens. A step takes the longest of its operations, of
    reading all weights (16 bits) and the cache once, and of launching its kernels. `use` is the card's own by default.
    """
    use = use or gpu.use
    read, written = sampling_flops(shape, stage, patches)
    seconds = read / (gpu.flops * use.prefill)
    if not stage.answers:
        return 0.0
    if stage.kind == "score":
        return seconds
    batch = min(config.model.batch_size, stage.answers)
    steps = math.ceil(stage.answers / batch) * stage.longest
    images = batch * stage.prefixes / stage.answers
    cached = shape.keys * (images * stage.prefix + batch * (stage.question + stage.answer / 2))
    moved = 2 * (shape.decoder + shape.head + cached)
    step = max(
        written / steps / (gpu.flops * use.prefill), moved / (gpu.bandwidth * use.bandwidth),
        shape.layers * use.layer_seconds,
    )  # fmt: skip
    return seconds + steps * step


def tuning_seconds(flops: float, config: RunConfig, gpu: Gpu) -> float:
    """Return the seconds of tuning, at `use.tuning` of the card's operations; 4-bit weights are slower."""
    return flops / (gpu.flops * gpu.use.tuning * (FOUR_BIT_SPEED if config.tune.method == "qlora" else 1))


TEXT_BYTES = 5
"""Bytes of a written token in a shard, with what stands beside it. Assumed."""
LARGEST_BATCH = 256
"""Largest batch that is proposed: beyond it, a batch waits for its longest answer."""
CONCEPTS = 20
"""Concepts a class that `seewhy concepts draft` is assumed to be asked for."""


@dataclass(frozen=True)
class StageCost:
    """The cost of one stage. `peak` in bytes; `seconds` is None without a GPU."""

    tokens: StageTokens
    flops: float
    seconds: float | None
    peak: float


@dataclass(frozen=True)
class RunCost:
    """The cost of a run, as `seewhy plan` shows it."""

    model: str
    dtype: str
    gpu: Gpu | None
    shape: Shape
    trained: Trained
    stages: Sequence[StageCost]
    tuning: memory.TuningMemory
    disk: Mapping[str, float]
    calls: Mapping[str, Mapping[str, int]]
    overrides: Mapping[str, Any]
    """Settings that make it fit; empty where it fits as it is."""
    fits: bool
    """Whether it fits as it is."""
    fits_changed: bool
    """Whether it fits with `overrides`."""
    faster: tuple[int, float] | None
    """A larger model.batch_size that fits and saves a tenth of the time, and the seconds that the run then takes."""
    images: Mapping[str, int]
    assumed: Assumed
    scaled: "Scaled | None" = None
    """The time on several GPUs, where it was asked for."""

    @property
    def peak(self) -> float:
        return max(stage.peak for stage in self.stages)

    @property
    def seconds(self) -> float | None:
        return None if self.gpu is None else sum(stage.seconds or 0.0 for stage in self.stages)

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers: bytes, seconds, tokens."""
        rows = [
            {
                "name": str(stage.tokens.key),
                **{name: value for name, value in vars(stage.tokens).items() if name != "key"},
                "tokens_read": stage.tokens.read,
                "tokens_read_separately": stage.tokens.read_separately,
                "tokens_written": stage.tokens.written,
                **{key: getattr(stage, key) for key in ("flops", "seconds", "peak")},
            }
            for stage in self.stages
        ]
        own = ("model", "dtype", "disk", "calls", "overrides", "fits", "fits_changed", "faster", "images", "peak")
        parts = {key: asdict(getattr(self, key)) for key in ("shape", "trained", "tuning", "assumed")}
        of_gpu = ("name", "memory", "flops", "bandwidth")
        gpu = None if self.gpu is None else {key: getattr(self.gpu, key) for key in of_gpu}
        use = UTILISATION if self.gpu is None else self.gpu.use
        scaled = None if self.scaled is None else asdict(self.scaled)
        found = {"seconds": self.seconds, "scaled": scaled, **{key: getattr(self, key) for key in own}}
        return {**found, **parts, "gpu": gpu, "utilisation": asdict(use), "stages": rows}


def plan_run(config: RunConfig, gpu: Gpu | None, assumed: Assumed = Assumed(), work: Workload | None = None) -> RunCost:  # noqa: B008
    """Return the cost of a run on a card, or without times and limit where there is none. Reads no weights, no pixels.

    Raises SeeWhyError naming every image of a size that the model's processor refuses.
    """
    work = Workload.read(config) if work is None else work
    return Planner(config, work, gpu, assumed, lambda dtype: outline(config, dtype)).cost()


def outline(config: RunConfig, dtype: torch.dtype) -> VisionLanguageModel:
    """Load the processor and the shape of a run's model."""
    settings = config.model
    return VisionLanguageModel.outline(
        made_base_source(settings.name_or_path), dtype=dtype,
        revision=settings.revision, trust_remote_code=settings.trust_remote_code, max_pixels=settings.max_pixels,
        tiles=settings.tiles,
    )  # fmt: skip


class Planner:
    """Estimates a run. `outline` makes a model on the meta device, which a simulation of tuning uses up."""

    def __init__(self, config: RunConfig, work: Workload, gpu: Gpu | None, assumed: Assumed, outline: Any) -> None:
        self.config, self.work, self.gpu, self.assumed = config, work, gpu, assumed
        asked = config.model.dtype
        on_cpu = config.model.device == "cpu" or (gpu is not None and gpu.is_cpu)
        self.dtype = (torch.float32 if on_cpu else torch.bfloat16) if asked == "auto" else getattr(torch, asked)
        self.outline = lambda: outline(self.dtype)
        self.vlm = self.outline()
        refused = refused_sizes(self.vlm, {size for _, size in work.files})
        where = f"{config.data.source} and the processor of model {self.vlm.name}"
        raise_problems(where, size_problems(work.files, refused))
        self.shape = Shape.of(self.vlm)
        self.lengths = Lengths.of(self.vlm, work, config.select, config.synthesise.explain_share)
        self.tuning = cache(self._tuning)
        self.held = cache(self._held)
        if config.model.batch_size == 0:
            batch_size = CPU_SEQUENCES if on_cpu or gpu is None else self._fitting_batch(gpu.memory * USABLE)
            self.config = replace(config, model=replace(config.model, batch_size=batch_size))

    def cost(self) -> RunCost:
        config, gpu = self.config, self.gpu
        rows = self.stages(config)
        worst = self.tuning(config)
        held = self.held(without_batch(config.tune))
        costs = [self._stage(row, held, worst) for row in rows]
        limit = None if gpu is None else gpu.memory * USABLE
        fits = limit is None or max(cost.peak for cost in costs) <= limit
        overrides = {} if fits or limit is None else self.changes(limit)
        return RunCost(
            model=self.vlm.name, dtype=str(self.dtype).removeprefix("torch."), gpu=gpu, shape=self.shape, trained=held,
            stages=costs, tuning=worst, disk=self._disk(rows, held), calls=self._calls(), overrides=overrides or {},
            fits=fits, fits_changed=fits or overrides is not None, images=dict(self.work.images),
            assumed=self.assumed, faster=self.faster(costs, overrides, limit),
        )  # fmt: skip

    def changes(self, limit: float) -> dict[str, Any] | None:
        """Return the fewest settings that bring every stage below `limit` (bytes), or None where none does.

        Those that change the result least come first: smaller micro-batches, checkpointing, then 4-bit weights.
        """
        overrides: dict[str, Any] = {}
        attempts = list(self._smaller_tuning())
        with progress("settings that might fit", total=len(attempts), done=0) as advance:
            for settings in attempts:
                if self.tuning(memory.with_tuning(self.config, **settings)).peak <= limit:
                    overrides |= {f"tune.{name}": value for name, value in settings.items()}
                    break
                advance(1)
            else:
                return None
        size = self._fitting_batch(limit)
        if self._sampling_peak(size) > limit:
            return None
        return overrides | ({"model.batch_size": size} if size != self.config.model.batch_size else {})

    def faster(
        self, costs: Sequence[StageCost], overrides: Mapping[str, Any] | None, limit: float | None
    ) -> tuple[int, float] | None:
        """Return the largest batch of sampling below `limit`, by doubling, where it saves a tenth of the time."""
        gpu, size = self.gpu, self.config.model.batch_size
        if gpu is None or gpu.is_cpu or limit is None or overrides is None or "model.batch_size" in overrides:
            return None
        while 2 * size <= LARGEST_BATCH and self._sampling_peak(2 * size) <= limit:
            size *= 2
        config = replace(self.config, model=replace(self.config.model, batch_size=size))
        patches = self.lengths.patches
        sampled = [row for row in self.stages(config) if row.kind != "tune"]
        seconds = sum(sampling_seconds(self.shape, row, patches, config, gpu) for row in sampled)
        seconds += sum(cost.seconds or 0.0 for cost in costs if cost.tokens.kind == "tune")
        before = sum(cost.seconds or 0.0 for cost in costs)
        return (size, seconds) if seconds < 0.9 * before else None

    def _smaller_tuning(self) -> Iterator[dict[str, Any]]:
        tune = self.config.tune
        first = min(tune.micro_batch_size, tune.batch_size)
        sizes = [size for size in range(first, 0, -1) if tune.batch_size % size == 0]
        yield {}
        pairs = min(self.config.synthesise.answers_per_image, first)
        for method in dict.fromkeys((tune.method, "qlora")):
            changed = {} if method == tune.method else {"method": method}
            for again in dict.fromkeys((tune.gradient_checkpointing, True)):
                more = {} if again == tune.gradient_checkpointing else {"gradient_checkpointing": again}
                for size in sizes if again else [size for size in sizes if size >= pairs]:
                    yield {**changed, **more, **({} if size == first else {"micro_batch_size": size})}

    def stages(self, config: RunConfig) -> list[StageTokens]:
        """Return the stages of the same data, model and assumptions under other settings."""
        return stages(config, self.work, self.vlm, self.lengths, self.assumed)

    def _tuning(self, config: RunConfig) -> memory.TuningMemory:
        """Return the memory of the tuning stage that needs most."""
        rows = [row for row in self.stages(config) if row.kind == "tune"]
        if not rows:
            return memory.TuningMemory(0, 0, 0, 0, 0, merges_on_host=False)
        worst = max(rows, key=lambda row: (row.longest + row.question) * row.prompts)
        held = self.held(without_batch(config.tune))
        return memory.tuning(self.outline(), held, self.shape, config, self.lengths, worst)

    def _held(self, tune: TuneConfig) -> Trained:
        vlm = self.outline()
        return trained(vlm, trainable_on_meta(vlm, tune), tune)

    def _fitting_batch(self, limit: float) -> int:
        """Return the batch of sampling, or the most of an automatic one, halved until it is below `limit` or 1."""
        size = self.config.model.batch_size or GPU_SEQUENCES
        while size > 1 and self._sampling_peak(size) > limit:
            size //= 2
        return size

    def _sampling_peak(self, batch_size: int) -> float:
        config = replace(self.config, model=replace(self.config.model, batch_size=batch_size))
        rows = self.stages(config)
        sampled = [row for row in rows if row.kind != "tune"]
        return max(memory.sampling(self.vlm, self.shape, config, self.lengths, row) for row in sampled)

    def _stage(self, row: StageTokens, held: Trained, worst: memory.TuningMemory) -> StageCost:
        config, patches = self.config, self.lengths.patches
        if row.kind == "tune":
            flops = tuning_flops(self.shape, held, row, patches, config)
            seconds = None if self.gpu is None else tuning_seconds(flops, config, self.gpu)
            return StageCost(row, flops, seconds, worst.peak)
        seconds = None
        if self.gpu is not None:
            seconds = sampling_seconds(self.shape, row, patches, config, self.gpu)
        peak = memory.sampling(self.vlm, self.shape, config, self.lengths, row)
        return StageCost(row, sum(sampling_flops(self.shape, row, patches)), seconds, peak)

    def _disk(self, rows: Sequence[StageTokens], held: Trained) -> dict[str, float]:
        """Return the bytes of the run folder: a model and a float32 adapter a tuning stage, the texts, and for a while
        two checkpoints of one stage (trained weights and the optimizer's two numbers for each)."""
        count = sum(row.kind == "tune" for row in rows)
        adapters = 0 if self.config.tune.method == "full" else 4 * held.parameters * count
        return {
            "models": self.shape.total * self.dtype.itemsize * count,
            "adapters": adapters,
            "texts": sum(row.written for row in rows) * TEXT_BYTES,
            "checkpoints": 2 * 12 * held.parameters if count else 0,
        }

    def _calls(self) -> dict[str, dict[str, int]]:
        """Return the requests of the verbs that ask a remote language model: one a class, one an answer."""
        drafted = draft_requests(sorted(self.work.bank), self.work.questions.noun, CONCEPTS)
        measured = self.work.images.get(self.config.evaluate.split, 0)
        models = sum(row.key.kind == "predictions" for row in self.stages(self.config))
        judged = self._judged(measured * models)
        return {"concepts draft": _calls(drafted), "judge": judged}

    def _judged(self, answers: int) -> dict[str, int]:
        from seewhy.proof.judge import requests
        from seewhy.records import Prediction

        words = " word" * round(self.assumed.length * self.config.evaluate.max_new_tokens * 0.75)
        label = next(iter(self.work.bank))
        one = Prediction(label, self.work.questions.evaluation, words)
        found = _calls(requests([one], {label: self.work.bank[label]}, self.work.questions.noun))
        return {name: value * answers for name, value in found.items()}


def without_batch(tune: TuneConfig) -> TuneConfig:
    """Return the settings with those that change only what a step adds at their least."""
    return replace(tune, micro_batch_size=1, batch_size=1, gradient_checkpointing=False)


def _calls(requests: Sequence[Request]) -> dict[str, int]:
    tokens = sum(estimate_tokens(str(message["content"])) for request in requests for message in request.messages)
    return {
        "requests": len(requests),
        "tokens_in": tokens,
        "tokens_out": sum(request.expected_tokens for request in requests),
    }


def smallest_gpu(peak: float) -> str | None:
    """Return the card with the least memory that holds so many bytes, or None."""
    large = [gpu for gpu in GPUS.values() if gpu.memory * USABLE >= peak]
    return min(large, key=lambda gpu: gpu.memory).name if large else None
