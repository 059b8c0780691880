"""Where the time of one piece of work goes: kernels, operators, and how much of the time the GPU is busy."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType  # pyright: ignore[reportPrivateImportUsage]
from torch.profiler import ProfilerActivity, profile

from bench import measure
from bench.gpu.figures import Figure

ROWS = 15


def profiled(work: Callable[[], object], name: str, path: Path) -> dict[str, Figure]:
    """Run `work` under the profiler, append tables of its operators to `path` and return figures under `name`.

    `busy` is the time in which a kernel runs over the time of the same work without the profiler, which slows Python.
    """
    plain = measure.median_seconds(work, 1)
    on_gpu = torch.cuda.is_initialized()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds) as record:
        start = time.perf_counter()
        measure.finish()
        work()
        measure.finish()
        slowed = time.perf_counter() - start
    events: Any = record.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    kernels = [
        (event.start_ns(), event.end_ns())
        for event in events
        if event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
    ]
    busy = union(kernels) / 1e9
    figures: dict[str, Figure] = {f"profile_{name}_seconds": plain}
    if on_gpu:
        figures |= {f"profile_{name}_busy": busy / plain, f"profile_{name}_kernels": len(kernels)}
    head = (
        f"== {name}: {plain:.4f} s, {slowed:.4f} s under the profiler; kernels {busy:.4f} s in {len(kernels)} launches"
    )
    orders = ["self_device_time_total", "self_cpu_time_total"] if on_gpu else ["self_cpu_time_total"]
    averages = record.key_averages()
    tables = [_table(averages, order) for order in orders]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join([head, *tables, ""]))
    return figures


def union(spans: list[tuple[int, int]]) -> int:
    """Return the total length of spans that may overlap."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _table(averages: Any, order: str) -> str:
    return averages.table(sort_by=order, row_limit=ROWS, max_name_column_width=80)
