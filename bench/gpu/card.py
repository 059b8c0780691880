"""What the card itself reaches: a matrix product, a copy, and launches of small kernels one after another."""

import torch

from bench import measure
from bench.gpu.figures import Figures
from seewhy.cost.hardware import here

LAUNCHES = 1_000


def measure_card(device: str, figures: Figures) -> None:
    """The two ceilings (METHOD: operations and bytes a second), and the seconds that Python takes a kernel."""
    on_gpu = device != "cpu"
    with figures.attempt("card"):
        figures.add(machine=measure.machine(device, torch.get_num_threads()))
        side, dtype = (8192, torch.bfloat16) if on_gpu else (256, torch.float32)
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        seconds = measure.median_seconds(lambda: left @ right, 10)
        figures.add(card_matmul_tflops=2 * side**3 / seconds / 1e12)
        seconds = measure.median_seconds(lambda: left.clone(), 10)
        figures.add(card_copy_gb_per_second=2 * left.nbytes / seconds / 1e9)
        small = torch.ones(8, device=device)

        def launches() -> None:
            for _ in range(LAUNCHES):
                small.add_(1)

        figures.add(card_launch_us=measure.median_seconds(launches, 3) / LAUNCHES * 1e6)


def peak_flops(device: str) -> float | None:
    """Return the card's dense bfloat16 FLOPs a second by its data sheet, or None where it is in no table."""
    gpu = here() if device != "cpu" else None
    return gpu.flops if gpu else None
