"""How long a run takes on several GPUs: what divides among them, and what does not.

sampling    divides by shards: the last ones leave some GPUs idle, ceil(S / N) of S shards one after the other
tuning      divides by the turns of a step, ceil(B / N) of B; after each step the gradients are added up, each GPU
            sending and receiving 2 (N - 1) / N of their bytes
loading     every worker reads the model of each stage, all at once
merging     one GPU's worker merges the adapter and writes the model: reads it once, writes it once
selecting   one process embeds the descriptions
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from seewhy.config import RunConfig
from seewhy.cost.estimate import RunCost, StageCost
from seewhy.cost.hardware import UTILISATION
from seewhy.errors import SeeWhyError

DISK = 1.0e9
"""Bytes a second at which a worker reads a model, and one writes it. Assumed."""
LINK = 1.0e11
"""Bytes a second between two GPUs of one machine. Assumed."""
NETWORK = 2.5e10
"""Bytes a second between two machines, for each GPU: 200 Gbit/s. Assumed."""
GPUS_A_MACHINE = 8
"""GPUs that share the faster links. Assumed."""
ENCODER = 335e6
"""Parameters of the text encoder: those of E5-large."""


@dataclass(frozen=True)
class Scaled:
    """The seconds of a run on several GPUs."""

    gpus: int
    seconds: float
    divided: float
    """Seconds of what divides among the GPUs, with the idle time of uneven parts."""
    alone: Mapping[str, float]
    """What does not divide -> its seconds."""
    alone_share: float
    """Share of the whole that does not divide."""

    @property
    def gpu_hours(self) -> float:
        """Hours of all GPUs together."""
        return self.seconds * self.gpus / 3600


def scale(cost: RunCost, config: RunConfig, gpus: int) -> Scaled:
    """Return how long a run takes on so many GPUs of one kind. Raises SeeWhyError without a kind."""
    if cost.gpu is None:
        raise SeeWhyError("--gpus needs to know the card: give --gpu H100, A100-80, L4, ...")
    tuned = [stage for stage in cost.stages if stage.tokens.kind == "tune"]
    sampled = [stage for stage in cost.stages if stage.tokens.kind != "tune"]
    divided = sum(_divided(stage, math.ceil(stage.tokens.images / config.shard_size), gpus) for stage in sampled)
    divided += sum(_divided(stage, config.tune.batch_size, gpus) for stage in tuned)
    weights = cost.shape.total * (4 if cost.dtype == "float32" else 2)
    link = LINK if gpus <= GPUS_A_MACHINE else NETWORK
    sent = 2 * (gpus - 1) / gpus * cost.trained.gradients / link
    steps = sum(math.ceil(stage.tokens.prompts / config.tune.batch_size) for stage in tuned)
    described = sum(stage.tokens.written for stage in cost.stages if stage.tokens.key.kind == "describe")
    alone = {
        "loading models": len(cost.stages) * weights / DISK,
        "merging and writing models": len(tuned) * 2 * weights / DISK,
        "selecting concepts": 2 * ENCODER * described / (cost.gpu.flops * UTILISATION.prefill),
        "adding up gradients": steps * sent,
    }
    seconds = divided + sum(alone.values())
    return Scaled(gpus, seconds, divided, alone, sum(alone.values()) / seconds if seconds else 0.0)


def _divided(stage: StageCost, parts: int, gpus: int) -> float:
    """Return the seconds of a stage that is cut into equal parts, which GPUs take one after the other."""
    return (stage.seconds or 0.0) * math.ceil(parts / gpus) / max(1, parts)
