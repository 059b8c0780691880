"""What this machine's CPU does with the layers of a small language model: a measurement of about ten seconds.

`seewhy plan` tells hours by it where a run computes on the CPU, and `seewhy doctor` shows it. The layers are as wide as
those of SmolVLM-256M, with random weights in float32.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import DynamicCache, LlamaConfig, LlamaModel

WIDTH, LAYERS = 576, 8
READ, PREFIX = 512, 128
"""Tokens that are read at once, and those that stand in the cache while one is written."""
SEQUENCES = 16
"""That are written at once: what `model.batch_size` is on a CPU."""
SECONDS = 10.0


@dataclass(frozen=True)
class CpuSpeed:
    """What a CPU reaches, in operations a second: a multiplication and its addition are two."""

    reading: float
    """Forward, of `READ` tokens."""
    tuning: float
    """Forward and backward through layers that are not trained themselves, as an adapter's gradients need."""
    writing: float
    """Forward, of one token for each of `SEQUENCES` sequences."""
    threads: int


def cpu_speed(seconds: float = SECONDS) -> CpuSpeed:
    """Measure this machine's CPU with as many threads as torch uses now."""
    config = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=1536, num_hidden_layers=LAYERS, num_attention_heads=9,
        num_key_value_heads=3, vocab_size=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = LlamaModel(config).eval().requires_grad_(requires_grad=False)
        tokens_BTE = torch.randn(1, READ, WIDTH)
        written_BTE = torch.randn(SEQUENCES, 1, WIDTH)
        prefix_BTE = torch.randn(SEQUENCES, PREFIX, WIDTH)
    operations = 2 * sum(parameter.numel() for layer in model.layers for parameter in layer.parameters())
    cache = DynamicCache(config=config)

    @torch.no_grad()
    def read() -> None:
        model(inputs_embeds=tokens_BTE, use_cache=False)

    def tune() -> None:
        inputs_BTE = tokens_BTE.clone().requires_grad_()
        model(inputs_embeds=inputs_BTE, use_cache=False).last_hidden_state.sum().backward()

    @torch.no_grad()
    def write() -> None:
        model(inputs_embeds=written_BTE, past_key_values=cache, use_cache=True)
        cache.crop(-1)

    with torch.no_grad():
        model(inputs_embeds=prefix_BTE, past_key_values=cache, use_cache=True)
    each = seconds / 3
    return CpuSpeed(
        reading=operations * READ * _a_second(read, each),
        tuning=2 * operations * READ * _a_second(tune, each),
        writing=operations * SEQUENCES * _a_second(write, each),
        threads=torch.get_num_threads(),
    )


def machine_memory() -> int | None:
    """Return the bytes of this machine's memory, where the system says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _a_second(work: Callable[[], None], seconds: float) -> float:
    """Return how often a work is done in a second, after once to warm up."""
    work()
    start, runs = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < seconds or not runs:
        work()
        runs += 1
    return runs / taken
