"""The benchmarks run on settings small enough for a test and write the figures that docs/performance.md is made of."""

import json
import mmap
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from threadpoolctl import threadpool_limits

from seewhy.method import infonce
from tiny import tiny_llava

ROOT = Path(__file__).parents[1]
SCRIPTS = ("tuning", "sampling", "selection", "loop", "serving")


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`bench` can be imported, and the threads are afterwards what they were."""
    monkeypatch.syspath_prepend(str(ROOT))
    threads = torch.get_num_threads()
    with threadpool_limits():
        yield
    torch.set_num_threads(threads)


def figures_of(script: str, tmp_path: Path, *options: str) -> dict[str, float]:
    path = tmp_path / "figures.json"
    import_module(f"bench.{script}").main(
        ["--quick", "--repetitions", "1", "--threads", "1", "--json", str(path), *options]
    )
    figures = json.loads(path.read_text())
    assert all(isinstance(value, float) and np.isfinite(value) for value in figures.values())
    return figures


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_has_an_example(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"bench.{script}").main(["--help"])
    assert ended.value.code == 0
    assert f"python -m bench.{script} --quick --json" in capsys.readouterr().out


@pytest.mark.slow
def test_tuning_without_trl(tmp_path: Path) -> None:
    figures = figures_of("tuning", tmp_path, "--settings", "16x1,16x3", "--without-trl")
    assert figures["tuning_ratio_q1"] == figures["tuning_ratio_separate_16x1"]
    assert figures["tuning_token_limit_16x1"] == 1
    assert figures["tuning_token_limit_16x3"] == pytest.approx(3 * 120 / (20 + 300), rel=0.01)
    assert figures["tuning_loss_difference"] < 1e-5
    assert figures["tuning_gradient_difference"] < 1e-4
    assert figures["tuning_memory_ratio_separate_16x3"] > 0


def test_tuning_against_trl(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="TRL is an extra: pip install -e '.[bench]'")
    figures = figures_of("tuning", tmp_path, "--settings", "16x3")
    assert {"tuning_ratio_trl_16x3", "tuning_memory_ratio_trl"} <= figures.keys()
    assert figures["tuning_loss_difference"] < 1e-5
    assert figures["tuning_gradient_difference"] < 1e-4


@pytest.mark.slow
def test_sampling(tmp_path: Path) -> None:
    figures = figures_of("sampling", tmp_path, "--image-tokens", "16", "--queries", "2", "--new-tokens", "4")
    ratios = {"sampling_ratio_generate_16", "sampling_ratio_generate_batched_16", "sampling_ratio_separate_16"}
    assert ratios <= figures.keys()


@pytest.mark.slow
def test_selection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.selection.PLAIN_IMAGES", 2)
    figures = figures_of("selection", tmp_path, "--images", "30", "--descriptions", "1000,2000")
    assert figures["selection_score_difference"] < 1e-4
    assert {"selection_ratio_30", "selection_growth_exponent", "selection_peak_gb_2k"} <= figures.keys()


@pytest.mark.slow
def test_loop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.loop.QUICK_IMAGES", {"train": 1, "val": 1, "test": 1})
    short = [text for step in ("describe", "synthesise", "evaluate") for text in (f"--{step}.max_new_tokens", "4")]
    short += ["--describe.samples_per_prompt", "1", "--synthesise.answers_per_image", "2", "--tune.lora_rank", "4"]
    short += ["--minimum_support", "0"]  # random weights say nothing
    model = tiny_llava(tmp_path / "model")
    figures = figures_of("loop", tmp_path, "--model.name_or_path", str(model), *short)
    assert figures["loop_ratio_unshared"] == figures["loop_seconds_unshared"] / figures["loop_seconds_shared"]


@pytest.mark.skipif(sys.platform != "linux", reason="which pages are in memory is read from /proc")
def test_a_mapped_file_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(infonce, "_MAPPED_BYTES", mmap.PAGESIZE)
    path = tmp_path / "texts.npy"
    np.save(path, np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32))
    texts_DE = np.load(path, mmap_mode="r")
    infonce.concept_scores(texts_DE, np.arange(20_000) // 20, texts_DE[:50], [np.array([0, 1])] * 1000, 1.0)
    mapped = [place.rss for place in psutil.Process().memory_maps() if place.path == str(path)]
    assert sum(mapped) < texts_DE.nbytes / 4


def test_growth_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    selection = import_module("bench.selection")
    found = {size: (size**1.5, 0.0) for size in (10, 1_000, 5_000, 10_000)}
    assert selection.growth_exponent(found) == pytest.approx(1.5)
    assert [selection.short(size) for size in (1_000_000, 250_000, 1_500)] == ["1m", "250k", "1500"]


def test_operations_are_counted_where_heads_share_their_keys():
    tuning = import_module("bench.tuning")
    query = torch.randn(2, 8, 16, 32, requires_grad=True)
    grouped = [torch.randn(2, 2, 16, 32, requires_grad=True) for _ in range(2)]

    def attention(*keys_and_values: torch.Tensor, enable_gqa: bool) -> float:
        attend: Any = torch.nn.functional.scaled_dot_product_attention
        return tuning.flops(lambda: attend(query, *keys_and_values, enable_gqa=enable_gqa).sum().backward())

    repeated = [each.detach().repeat_interleave(4, 1).requires_grad_() for each in grouped]
    assert attention(*grouped, enable_gqa=True) == attention(*repeated, enable_gqa=False) > 0
