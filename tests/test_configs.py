"""The shipped configurations: parsed, and those of the paper's data sets loaded on a small stand-in in its layout."""

from dataclasses import replace
from pathlib import Path

import pytest

from published_sets import PUBLISHED, write_concepts
from run_folders import by_name
from seewhy.cli import main
from seewhy.domain import load_domain
from seewhy.run.stages import Stages
from seewhy.settings import load_config, preset_config
from seewhy.vlm.server.process import command_line

CONFIGS = Path(__file__).parents[1] / "configs"
NOUNS = {"cub200": "bird", "dogs": "dog", "fgvc": "aircraft", "pld": "leaf", "ham10000": "skin lesion",
         "chest_xray": "chest X-ray"}  # fmt: skip
IN_CHECKOUT = {"data", "configs", "runs"}
"""The first part of every path that a shipped configuration names."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configuration_is_the_papers(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    assert (config.data.layout, config.data.noun, config.output) == (name, NOUNS[name], f"runs/{name}")
    assert config.data.concepts == f"configs/concepts/{name}.yaml"
    paths = map(str, (config.data.source, config.data.concepts, config.output))
    assert {Path(path).parts[0] for path in paths} <= IN_CHECKOUT
    assert (config.model.name_or_path, config.select.encoder) == ("llava-hf/llava-1.5-7b-hf", "intfloat/e5-large")
    assert (config.rounds, config.data.val_share, config.evaluate.split) == (4, 0.0, "test")
    describe, synthesise, sample, tune = config.describe, config.synthesise, config.sample, config.tune
    assert (describe.prompts_per_image, describe.samples_per_prompt, describe.max_new_tokens) == (3, 10, 256)
    assert (synthesise.answers_per_image, synthesise.temperature, synthesise.max_new_tokens) == (8, 0.3, 128)
    assert (sample.queries_per_image, sample.samples_per_query, sample.temperature, sample.top_p) == (8, 3, 0.7, 0.6)
    assert (tune.lora_rank, tune.lora_alpha, tune.lora_dropout, tune.learning_rate) == (128, 256, 0.05, 1e-5)
    assert (tune.epochs, tune.batch_size, tune.warmup) == (2, 32, 0.05)
    assert (config.select.temperature, config.select.threshold_std, config.select.minimum) == (0.1, 0.4, 3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configuration_takes_either_preset(name: str) -> None:
    """It says which one, and gives nothing that a preset decides, so that --preset changes all of it."""
    shipped = load_config(CONFIGS / f"{name}.yaml")
    assert shipped.preset == "paper"
    for preset in ("paper", "ours"):
        config, whole = load_config(CONFIGS / f"{name}.yaml", ["--preset", preset]), preset_config(preset)
        own = {"output": config.output, "data": config.data, "model": config.model}
        tune = replace(whole.tune, gradient_checkpointing=True)
        assert config == replace(whole, **own, tune=tune)
        assert (config.data, config.model, config.output) == (shipped.data, shipped.model, shipped.output)
        plan = by_name(Stages.of(config, "domain", "base", "encoder"))
        assert {"select", "round-1/answers", "round-4/model", "round-4/predictions-test"} <= plan.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configuration_reads_its_data_set(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = PUBLISHED[name].make(tmp_path / "data")
    concepts = write_concepts(tmp_path / "concepts.yaml", PUBLISHED[name].labels)
    placed = ["--data.source", str(source), "--data.concepts", str(concepts)]
    data = load_config(CONFIGS / f"{name}.yaml", placed).data
    domain = load_domain(data)
    assert domain.labels == PUBLISHED[name].labels
    assert domain.questions.noun == NOUNS[name]
    val = load_domain(replace(data, val_share=0.34)).split("val")
    assert len(val) > len(domain.split("val"))
    capsys.readouterr()


@pytest.mark.parametrize("name", PUBLISHED)
def test_data_check_runs_before_there_are_concepts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a stranger does: the data in its place, the configuration as it is shipped."""
    config = load_config(CONFIGS / f"{name}.yaml")
    source = PUBLISHED[name].make(tmp_path / "unpacked")
    monkeypatch.chdir(tmp_path)
    Path(config.data.source).parent.mkdir(parents=True)
    source.rename(config.data.source)
    if name == "cub200":
        (tmp_path / "unpacked/attributes.txt").rename("data/attributes.txt")
    assert main(["data", "check", str(CONFIGS / f"{name}.yaml")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"there is no concept bank yet at configs/concepts/{name}.yaml" in shown
    assert "the paper has" in shown
    assert "0 errors" in shown


def test_llava_with_a_vllm_server_on_the_same_card() -> None:
    config = load_config(CONFIGS / "llava_vllm.yaml")
    engine = config.model.engine
    words = command_line(
        engine.command, {"model": "m", "port": "8000", "dtype": "bfloat16", "device": "cuda", "images": "i"}
    )
    assert words[:3] == ["vllm", "serve", "m"]
    assert 0 < float(words[words.index("--gpu-memory-utilization") + 1]) < 1
    assert (engine.kind, engine.base_url) == ("server", None)
    assert "pip install 'seewhy[serve]'" in (CONFIGS / "llava_vllm.yaml").read_text()


def test_qwen_in_four_bits_with_a_pixel_limit() -> None:
    config = load_config(CONFIGS / "qwen2_5_vl_qlora.yaml")
    assert (config.tune.method, config.model.max_pixels) == ("qlora", 640 * 28 * 28)
    assert "pip install 'seewhy[qlora]'" in (CONFIGS / "qwen2_5_vl_qlora.yaml").read_text()


def test_a_laptop_gets_whole_images_on_its_cpu() -> None:
    config = load_config(CONFIGS / "laptop.yaml")
    assert (config.model.device, config.model.tiles, config.rounds) == ("cpu", False, 1)
    assert config.model.name_or_path == "HuggingFaceTB/SmolVLM-256M-Instruct"
    assert (config.evaluate.consistency, config.evaluate.fluency) == (False, False)
