import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fixtures_data import image_folder, tiny_encoder
from seewhy.config import (
    DataConfig,
    DescribeConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    SampleConfig,
    SelectConfig,
    SynthesiseConfig,
    TuneConfig,
)
from seewhy.errors import SeeWhyError
from seewhy.report.table import print_comparison
from seewhy.run.comparison import compare
from tiny import tiny_llava


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    root = image_folder(tmp_path)
    return RunConfig(
        output=str(root / "compared"),
        rounds=1,
        minimum_support=0.0,  # random weights say nothing
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path=str(tiny_llava(root / "model")), device="cpu", batch_size=8),
        describe=DescribeConfig(prompts_per_image=1, samples_per_prompt=2, max_new_tokens=8),
        select=SelectConfig(encoder=str(tiny_encoder(root / "encoder"))),
        synthesise=SynthesiseConfig(answers_per_image=1, max_new_tokens=8),
        tune=TuneConfig(epochs=1, learning_rate=1e-2, batch_size=4, micro_batch_size=4, lora_rank=4),
        sample=SampleConfig(queries_per_image=1, samples_per_query=2, max_new_tokens=8),
        evaluate=EvaluateConfig(max_new_tokens=8, bootstrap=20),
    )


@pytest.mark.slow
def test_every_arm_is_compared_over_seeds(config: RunConfig) -> None:
    compared = compare(config, [3, 4])
    assert json.loads((Path(config.output) / "comparison.json").read_text()) == json.loads(json.dumps(compared))
    arms = {"rounds", "nl", "lge", "unfiltered", "class_level"}
    assert compared["rounds_of"].keys() == arms
    assert compared["ours_minus"].keys() == arms - {"rounds"}
    assert all(len(figures[0]["accuracy_seeds"]) == 2 for figures in compared["rounds_of"].values())
    value, low, high = compared["ours_minus"]["unfiltered"]["ee"]  # one model until round 2
    assert low < value == 0.0 < high  # which a few images do not know
    console = Console(record=True, width=200)
    print_comparison(compared, console)
    assert "Class level" in console.export_text()


def test_a_seed_named_twice_is_refused_before_any_work(config: RunConfig) -> None:
    with pytest.raises(SeeWhyError, match="each once"):
        compare(replace(config), [1, 1])
    assert not Path(config.output).exists()


def test_controls_that_are_named_are_the_ones_compared(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, ...]] = []

    def run(of_seed: RunConfig, **_options: object) -> None:
        trained.append(of_seed.controls)
        raise SeeWhyError("stopped")

    monkeypatch.setattr("seewhy.run.loop.run", run)
    for given in (("nl", "lge"), ()):
        with pytest.raises(SeeWhyError, match="stopped"):
            compare(replace(config, controls=given), [0])
    assert trained == [("nl", "lge"), ("nl", "lge", "unfiltered", "class_level")]
