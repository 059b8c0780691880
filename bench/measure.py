"""What all benchmarks share: interleaved times, peak memory in a process of its own, the machine, tables and figures.

Contenders take turns, and the order moves on by one each time, so that whatever else the machine does hits them alike;
a figure is a ratio of medians. Memory is what a contender adds to a process that has loaded its model and nothing else.
"""

import gc
import json
import os
import platform
import resource
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

REPETITIONS, QUICK_REPETITIONS = 5, 3
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["seewhy.vlm.tuning", "seewhy.vlm.sampling"])  # imported once for all of them


def parser(module: str, description: str) -> ArgumentParser:
    """The options that every benchmark has."""
    examples = f"examples:\n  python -m {module}\n  python -m {module} --quick --json figures.json"
    made = ArgumentParser(
        f"python -m {module}", description=f"{description}\n\n{examples}", formatter_class=RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, as one flat object")
    made.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    made.add_argument("--quick", action="store_true", help="rougher figures in under a minute on two idle cores")
    made.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    made.add_argument(
        "--repetitions", type=int, help=f"times each is run ({REPETITIONS}; {QUICK_REPETITIONS} if quick)"
    )
    return made


def numbers(text: str) -> list[int]:
    """`64,576` as a list."""
    return [int(part) for part in text.split(",")]


def begin(options: Namespace) -> int:
    """Says on what machine this is and sets the threads. Returns how often each contender is to run."""
    limit_threads(options.threads)
    Console().print(machine(options.device, options.threads), soft_wrap=True, highlight=False)
    return options.repetitions or (QUICK_REPETITIONS if options.quick else REPETITIONS)


def machine(device: str, threads: int) -> str:
    if device == "cuda":
        place = torch.cuda.get_device_name()
    else:
        place = f"{_processor()}, {os.cpu_count()} cores, {threads} threads"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
    return f"{place}; Python {platform.python_version()}, {versions}"


def limit_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def interleaved(
    contenders: Mapping[str, Callable[[], object]], repetitions: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each run of each contender, the first `warm_up` left out."""
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm_up + repetitions):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            taken = seconds_of(contenders[name])
            if turn >= warm_up:
                seconds[name].append(taken)
    return seconds


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds of one run; the last one's garbage is collected before it."""
    gc.collect()
    finish()
    start = time.perf_counter()
    work()
    finish()
    return time.perf_counter() - start


def median_seconds(work: Callable[[], object], repetitions: int, *, warm_up: int = 1) -> float:
    """Return the median seconds of some runs, the first `warm_up` left out."""
    for _ in range(warm_up):
        work()
    return statistics.median(seconds_of(work) for _ in range(repetitions))


def reset_peak() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_gb() -> float:
    """Return the most GPU memory that was allocated since `reset_peak`, in GB; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_initialized() else 0.0


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """How many times as long the median run of `slow` takes."""
    return statistics.median(seconds[slow]) / statistics.median(seconds[fast])


def peaks(prepared: Mapping[str, tuple[Any, ...]], threads: int, device: str) -> dict[str, float]:
    """Peak memory in GB of each contender, in a fresh process of its own.

    A contender is `(prepare, *arguments)`: what `prepare` returns is run twice (a second step meets the gradients of
    the first). On a CPU it is the highest resident memory above that after loading; on a GPU, all that was allocated.
    """
    at_once = len(prepared) if device == "cpu" else 1
    with ProcessPoolExecutor(at_once, PROCESSES, max_tasks_per_child=1) as pool:
        waiting = {name: pool.submit(_peak, threads, *call) for name, call in prepared.items()}
        return {name: result.result() / 1e9 for name, result in waiting.items()}


def _peak(threads: int, prepare: Callable[..., Callable[[], object]], *arguments: Any) -> int:
    limit_threads(threads)
    work = prepare(*arguments)
    gc.collect()
    on_gpu = torch.cuda.is_initialized()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    loaded = psutil.Process().memory_info().rss
    work()
    work()
    return torch.cuda.max_memory_allocated() if on_gpu else highest_resident() - loaded


def highest_resident() -> int:
    """Highest resident memory of this process. Linux lets ru_maxrss begin at the parent's, VmHWM not."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """Prints a table; numbers to three figures."""
    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else figure(cell) for cell in row))
    Console().print(table)


def note(text: str) -> None:
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


def figure(value: float) -> str:
    """A number to three figures, without an exponent where it has few digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def report(figures: Mapping[str, float], path: Path | None) -> None:
    """Prints the figures under their names, and writes them where asked to."""
    for name, value in figures.items():
        note(f"{name} = {value:.4g}")
    if path:
        path.write_text(json.dumps(figures, indent=2) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def finish() -> None:
    """Wait until the GPU has done all that it was asked."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
