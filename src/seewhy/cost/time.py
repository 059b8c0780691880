"""Operations and hours of a stage.

Operations are those that the method needs, not those that an implementation makes of them. With N parameters in the
language model's layers, V in the output head, U in the vision tower, R in the projector, and A the width of all layers'
queries:

    a token, forward        2 N                      each weight multiplies and adds once
    a token's attention     4 A c                    c: tokens that it attends to (scores 2 A, values 2 A)
    a next token            2 V
    an image                2 U patches + 2 R tokens the tower's attention (a tenth of it or less) is left out
    backward                as much again for activations, and as much again for each weight that is trained

So an adapter of M parameters is tuned at 4 N + 6 M a token, the whole model at 6 N; gradient checkpointing adds one
more forward pass.
"""

import math

from seewhy.config import RunConfig
from seewhy.cost.gpus import UTILISATION, Gpu, Utilisation
from seewhy.cost.shape import Shape, Trained
from seewhy.cost.tokens import StageTokens

UNFOLDING = 0.75
"""Speed of tuning on 4-bit weights, each unfolded where it is multiplied, against 16-bit ones. Assumed."""


def attended(stage: StageTokens) -> float:
    """Pairs of a token and one that it attends to: P*P/2 in a prefix, q*P + q*q/2 behind it, and a written answer's
    tokens attend to prefix, question and what they have written."""
    own = stage.question + (0.0 if stage.kind == "sample" else stage.answer)
    read = stage.prefixes * stage.prefix**2 / 2 + stage.prompts * own * (stage.prefix + own / 2)
    if stage.kind != "sample":
        return read
    return read + stage.answers * stage.answer * (stage.prefix + stage.question + stage.answer / 2)


def image_flops(shape: Shape, stage: StageTokens, patches: float) -> float:
    """Forward, of all images: 2 U patches + 2 R P each."""
    return stage.prefixes * 2 * (shape.tower * patches + shape.projector * stage.prefix)


def sampling_flops(shape: Shape, stage: StageTokens, patches: float) -> tuple[float, float]:
    """Of reading and of writing: 2 N a token, 2 V a next token, 4 A a pair that attends."""
    scored = stage.prompts * (stage.answer if stage.kind == "score" else 1)
    together = 4 * shape.attention * attended(stage)
    read = 2 * shape.decoder * stage.read + 2 * shape.head * scored + image_flops(shape, stage, patches)
    written = 2 * (shape.decoder + shape.head) * stage.written
    share = stage.written / (stage.read + stage.written)
    return read + together * (1 - share), written + together * share


def tuning_flops(shape: Shape, trained: Trained, stage: StageTokens, patches: float, config: RunConfig) -> float:
    """Of all epochs; see above. Attention is counted three times: forward, and twice as much backward."""
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
    shape: Shape, stage: StageTokens, patches: float, config: RunConfig, gpu: Gpu, use: Utilisation = UTILISATION
) -> float:
    """Reading at `use.prefill` of the card's operations; then, for each batch, as many steps as its longest answer may
    have tokens. A step takes the longest of: its operations; reading all weights (16 bits) and the cache once; and the
    time that launching its kernels takes."""
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


def tuning_seconds(flops: float, config: RunConfig, gpu: Gpu, use: Utilisation = UTILISATION) -> float:
    """At `use.tuning` of the card's operations, and more slowly where weights are folded."""
    return flops / (gpu.flops * use.tuning * (UNFOLDING if config.tune.method == "qlora" else 1))
