"""GPUs by name, as their makers' data sheets have them, and how much of that a run is taken to reach."""

import re
from dataclasses import dataclass

from seewhy.errors import SeeWhyError


@dataclass(frozen=True)
class Gpu:
    """One card. `memory` in bytes; `flops`: dense 16-bit matrix products a second; `bandwidth`: bytes a second."""

    name: str
    memory: float
    flops: float
    bandwidth: float


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
"""Share of a card's memory that tensors may fill: the rest is the CUDA context and gaps between blocks. Assumed."""


@dataclass(frozen=True)
class Utilisation:
    """Shares of the data sheet's figures that the steps reach. Assumed: no figure of ours has been taken on a GPU yet;
    `python -m bench.tuning --device cuda --size 7b` prints what a card of yours reaches."""

    tuning: float = 0.40
    """Of `flops`, forward and backward of a large batch."""
    prefill: float = 0.50
    """Of `flops`, reading images and questions."""
    bandwidth: float = 0.60
    """Of `bandwidth`, writing one token for a batch."""
    layer_seconds: float = 0.7e-3
    """Seconds that Python and the launches of one layer's kernels take, whatever the batch: no token is faster."""


UTILISATION = Utilisation()


def find_gpu(name: str) -> Gpu:
    """The card of that name; case, spaces, hyphens and "NVIDIA" do not count. Raises SeeWhyError with those known."""
    wanted = _key(name)
    for gpu in GPUS.values():
        if wanted in (_key(gpu.name), f"{_key(gpu.name)}gb"):
            return gpu
    near = [gpu.name for gpu in GPUS.values() if wanted and _key(gpu.name).startswith(wanted)]
    hint = f" Do you mean {' or '.join(near)}?" if near else ""
    raise SeeWhyError(f"There is no GPU {name!r} in the table.{hint} Known: {', '.join(GPUS)}.")


def here() -> Gpu | None:
    """The card in this machine, where there is one of the table."""
    import torch

    if not torch.cuda.is_available():
        return None
    return gpu_of_device(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1])


def gpu_of_device(name: str, memory: int) -> Gpu | None:
    """The card that a driver calls `name` ("NVIDIA A100-SXM4-80GB"), by its longest known name and its memory."""
    named = [gpu for gpu in GPUS.values() if _key(gpu.name.partition("-")[0]) in _key(name)]
    return min(named, key=lambda gpu: (abs(gpu.memory - memory) // 2**33, "PCIe" in gpu.name), default=None)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold().replace("nvidia", "").replace("geforce", ""))
