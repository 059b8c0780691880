"""GPUs by their data sheets and this CPU by measurement; a model's shape, and what tuning holds whatever the batch."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from seewhy.config import TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.vlm.adapter import projector_names, trainable, vision_tower_of
from seewhy.vlm.loading import BITS
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.speed import SEQUENCES, CpuSpeed, cpu_speed, machine_memory


@dataclass(frozen=True)
class Utilisation:
    """Shares of the data sheet's figures that the steps reach: assumed, but for `layer_seconds`; `python -m bench.gpu`
    prints what a card of yours reaches."""

    tuning: float = 0.40
    """Of `flops`, forward and backward of a large batch."""
    prefill: float = 0.50
    """Of `flops`, reading images and questions."""
    bandwidth: float = 0.60
    """Of `bandwidth`, writing one token for a batch."""
    layer_seconds: float = 1.4e-3
    """Seconds that Python and the launches of one layer's kernels take, whatever the batch: no token is faster.
    Measured beside an H200: 43 to 51 ms for 32 layers (docs/performance.md)."""


UTILISATION = Utilisation()


@dataclass(frozen=True)
class Gpu:
    """A card: `memory` in bytes, `flops` of dense 16-bit matrix products a second, `bandwidth` in bytes a second.

    A CPU is one too, whose figures are measured, so that all of them are reached.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float
    use: Utilisation = UTILISATION
    is_cpu: bool = False


def _gpu(name: str, gibibytes: float, tera_flops: float, terabytes_a_second: float) -> Gpu:
    return Gpu(name, gibibytes * 2**30, tera_flops * 1e12, terabytes_a_second * 1e12)


GPUS = {
    gpu.name: gpu
    for gpu in (
        _gpu("B200", 180, 2250, 7.7),
        _gpu("H200", 141, 989, 4.8),
        _gpu("H100", 80, 989, 3.35),
        _gpu("H100-PCIe", 80, 756, 2.0),
        _gpu("A100-80", 80, 312, 2.04),
        _gpu("A100-40", 40, 312, 1.56),
        _gpu("L40S", 48, 362, 0.864),
        _gpu("A6000", 48, 155, 0.768),
        _gpu("A10", 24, 125, 0.6),
        _gpu("L4", 24, 121, 0.3),
        _gpu("RTX5090", 32, 210, 1.79),
        _gpu("RTX4090", 24, 165, 1.01),
        _gpu("RTX3090", 24, 71, 0.936),
    )
}
"""Dense bfloat16 products with float32 sums, without the data sheets' sparsity."""

USABLE = 0.92
"""Share of a card's memory that tensors may fill; the rest is the CUDA context and gaps. Assumed."""


def find_gpu(name: str) -> Gpu:
    """Return the card of that name; case, spaces, hyphens and "NVIDIA" do not count. Raises SeeWhyError."""
    wanted = _key(name)
    for gpu in GPUS.values():
        if wanted in (_key(gpu.name), f"{_key(gpu.name)}gb"):
            return gpu
    near = [gpu.name for gpu in GPUS.values() if wanted and _key(gpu.name).startswith(wanted)]
    hint = f" Do you mean {' or '.join(near)}?" if near else ""
    raise SeeWhyError(f"There is no GPU {name!r} in the table.{hint} Known: {', '.join(GPUS)}.")


def measured_processor() -> Gpu:
    """Return this machine's CPU as a measurement of ten seconds finds it."""
    return processor(cpu_speed(), machine_memory() or math.inf)


def processor(speed: CpuSpeed, memory: float) -> Gpu:
    """Return a CPU with `memory` bytes. Writing is told as the reading of 16-bit weights, once for each step."""
    use = Utilisation(tuning=speed.tuning / speed.reading, prefill=1.0, bandwidth=1.0, layer_seconds=0.0)
    name = f"CPU with {speed.threads} thread{'s' if speed.threads > 1 else ''}"
    return Gpu(name, memory, speed.reading, speed.writing / SEQUENCES, use, is_cpu=True)


def here() -> Gpu | None:
    """Return the card in this machine, or None where it is not in the table."""
    if not torch.cuda.is_available():
        return None
    return gpu_of_device(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1])


def gpu_of_device(name: str, memory: int) -> Gpu | None:
    """Return the card that a driver calls `name` ("NVIDIA A100-SXM4-80GB"), by its known name and its memory."""
    named = [gpu for gpu in GPUS.values() if _key(gpu.name.partition("-")[0]) in _key(name)]
    return min(named, key=lambda gpu: (abs(gpu.memory - memory) // 2**33, "PCIe" in gpu.name), default=None)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold().replace("nvidia", "").replace("geforce", ""))


@dataclass(frozen=True)
class Shape:
    """Parameters of a model's parts, and widths that decide what its tokens cost."""

    decoder: int
    """Parameters of the language model's layers, which multiply every token."""
    head: int
    """Parameters of the output head, which multiply a token whose next one is computed."""
    embeddings: int
    """Parameters of the input embeddings, which multiply nothing; 0 where they are the head's."""
    tower: int
    """Parameters of the vision tower without its mergers."""
    projector: int
    layers: int
    width: int
    attention: int
    """Width of the queries of all layers: heads * size of a head, summed."""
    keys: int
    """Width of keys and values of all layers, which a cache holds for each token."""
    vocabulary: int

    @classmethod
    def of(cls, vlm: VisionLanguageModel) -> "Shape":
        model: Any = vlm.model
        text = model.config.get_text_config()
        decoder, tower = model.get_decoder(), vision_tower_of(model)
        projectors = [model.get_submodule(name) for name in projector_names(model)]
        inside = {id(p) for part in projectors for p in part.parameters()}
        embedded, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return cls(
            decoder=_count(p for p in decoder.parameters() if p is not embedded),
            head=head.numel(),
            embeddings=0 if embedded is head else embedded.numel(),
            tower=_count(p for p in tower.parameters() if id(p) not in inside),
            projector=_count(p for part in projectors for p in part.parameters()),
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            attention=text.num_hidden_layers * text.num_attention_heads * size,
            keys=2 * text.num_hidden_layers * text.num_key_value_heads * size,
            vocabulary=text.vocab_size,
        )

    @property
    def total(self) -> int:
        return self.decoder + self.head + self.embeddings + self.tower + self.projector


@dataclass(frozen=True)
class Trained:
    """What tuning holds whatever the batch."""

    parameters: int
    """Trained parameters."""
    adapter: int
    """Trained parameters of the adapter."""
    weights: float
    """Bytes of all weights: 4 a trained one; the others in the model's dtype, or 4.13 bits each with QLoRA."""

    @property
    def gradients(self) -> int:
        """4 bytes a trained parameter."""
        return 4 * self.parameters

    @property
    def optimizer(self) -> int:
        """AdamW's two moments: 8 bytes a trained parameter."""
        return 8 * self.parameters

    @property
    def fixed(self) -> float:
        return self.weights + self.gradients + self.optimizer


def trainable_on_meta(vlm: VisionLanguageModel, config: TuneConfig) -> nn.Module:
    """Return `vlm`'s model, on the meta device and changed in place, as tuning trains it."""
    with torch.device(vlm.device):
        return trainable(vlm.model, config)


def trained(vlm: VisionLanguageModel, learner: nn.Module, config: TuneConfig) -> Trained:
    """Return what tuning of a model made by `trainable_on_meta` holds."""
    parameters = dict(learner.named_parameters())
    four_bit = _four_bit(vlm) if config.method == "qlora" else set()
    held = (p.numel() * (BITS / 8 if id(p) in four_bit else p.element_size()) for p in parameters.values())
    adapter = _count(p for name, p in parameters.items() if p.requires_grad and "lora_" in name)
    return Trained(_count(p for p in parameters.values() if p.requires_grad), adapter, sum(held))


def _four_bit(vlm: VisionLanguageModel) -> set[int]:
    """Return the ids of the weights that QLoRA holds in 4 bits."""
    linears = (module for module in vlm.model.get_decoder().modules() if type(module) is nn.Linear)
    return {id(module.weight) for module in linears if not module.weight.requires_grad}


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
