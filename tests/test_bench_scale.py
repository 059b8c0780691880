"""`bench.scale` on a handful of images: the loop without the model runs to its end, and its figures are told."""

import json
from pathlib import Path

import pytest
from bench.scale import __main__ as scale
from bench.scale.world import TemplateSampler, bank, make_world, settings

from seewhy.domain.domain import load_domain
from seewhy.domain.questions import Questions
from seewhy.records import Prompt, Sampling

ROOT = Path(__file__).parents[1]


def test_figures_of_a_small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "figures.json"
    options = ["--images", "40", "--classes", "8,50", "--descriptions", "600", "--steps", "start,loop,select"]
    scale.main([*options, "--folder", str(tmp_path / "worlds"), "--json", str(file)])
    figures = json.loads(file.read_text())
    assert figures["second_start_s_40"] > 0
    assert figures["select_ratio_papers_rule"] > 0
    assert figures["loop_peak_gb_40"] >= figures["describe_gb_40"] > 0.1
    (run,) = (tmp_path / "worlds").glob("40-*/run")
    metrics = json.loads((run / "metrics.json").read_text())
    assert [figures["round"] for figures in metrics["rounds"]] == [1, 2]
    assert (run / "images.parquet").exists()


def test_a_world_passes_all_checks_and_its_answers_follow_from_the_prompt(tmp_path: Path) -> None:
    make_world(tmp_path, 30, 10)
    domain = load_domain(settings(tmp_path, tmp_path / "run").data)
    assert [len(domain.split(split)) for split in ("train", "val", "test")] == [30, 1, 1]
    sampler = TemplateSampler(bank(10), Questions.for_noun("bird").describe)
    example = domain.examples[0]
    prompts = [Prompt("a/0", domain.path(example), "What is the name of this bird?")]
    (texts,) = sampler.sample(prompts, Sampling(samples=3), seed=5)
    assert len(set(texts)) == 3
    assert sampler.sample(prompts, Sampling(samples=3), seed=5) == [texts]
    assert any(domain.matcher.is_correct(text, example.label) for text in texts)


def test_growth_is_that_of_the_two_largest_sizes() -> None:
    found = {size: {"linear": {"cpu": size / 100}, "square": {"cpu": size**2 / 1e6}, "quick": {"cpu": 0.1}}
             for size in (10, 1000, 10_000)}  # fmt: skip
    assert scale.growth(found) == pytest.approx({"linear": 1.0, "square": 2.0})
    assert scale.growth({1000: found[1000]}) == {}
