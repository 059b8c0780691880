"""`preset: paper` against the table in docs/method.md, and presets under files, overrides and old manifests."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from fixtures_data import image_folder, tiny_encoder
from run_folders import by_name
from seewhy.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig
from seewhy.errors import SeeWhyError
from seewhy.run import loop
from seewhy.run.folder import read_manifest
from seewhy.run.stages import Stages
from seewhy.settings import PAPER, PRESETS, known_settings, load_config, preset_config, restore_config
from tiny import tiny_llava

METHOD = Path(__file__).parents[1] / "docs" / "method.md"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "birds.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def value_of(config: RunConfig, name: str) -> Any:
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    return found


def table() -> dict[str, tuple[str, str]]:
    """Setting -> (paper, ours), as docs/method.md says."""
    text = METHOD.read_text(encoding="utf-8").partition("## Two presets")[2]
    return {name: (paper, ours) for name, paper, ours in re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*?) \|", text, re.M)}


def said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def test_the_table_of_the_method_has_every_setting_of_the_paper() -> None:
    assert list(table()) == list(PAPER)
    assert known_settings().keys() >= PAPER.keys()


@pytest.mark.parametrize("name", PAPER)
def test_a_setting_is_what_the_method_says(name: str) -> None:
    paper, ours = table()[name]
    assert said(value_of(preset_config("paper"), name)) == paper
    assert said(value_of(preset_config("ours"), name)) == ours


def test_the_paper_by_hand() -> None:
    """Where the paper leaves our defaults, and its best-known values, written out once more."""
    config = preset_config("paper")
    select, synthesise, tune, sample = config.select, config.synthesise, config.tune, config.sample
    assert (config.preset, config.rounds, config.keep_going, config.start_from) == ("paper", 4, True, "previous")
    assert (select.rule, select.threshold_std, select.minimum, select.temperature) == ("image", 0.4, 3, 0.1)
    assert (select.encoder, select.prefixes) == ("intfloat/e5-large", False)
    assert (synthesise.tries, synthesise.simple_share, synthesise.explain_share) == (1, 0.4, 0.32)
    assert (tune.schedule, tune.epochs, tune.batch_size) == ("linear", 2, 32)
    assert (tune.replay_ratio, tune.loss_per) == (1.0, "token")
    assert (tune.lora_rank, tune.lora_alpha, tune.lora_dropout, tune.learning_rate) == (128, 256, 0.05, 1e-5)
    assert (sample.negatives, sample.prefer_listed, sample.label_first) == ("per_class", False, False)
    assert (tune.augment.at_most, tune.augment.rotate, tune.augment.colour) == (4, 30, 0.4)


def test_ours_is_the_default() -> None:
    assert preset_config("ours") == RunConfig()
    assert tuple(PRESETS) == get_args(get_type_hints(RunConfig)["preset"])


def test_a_preset_never_overrides_what_is_given(tmp_path: Path) -> None:
    text = "preset: paper\nselect: {rule: unlisted}\ntune:\n  schedule: cosine\n  augment: {rotate: 5}"
    path = written(tmp_path, text)
    config = load_config(path, ["--synthesise.tries", "2", "--sample.negatives=once"])
    assert (config.preset, config.select.rule, config.tune.schedule) == ("paper", "unlisted", "cosine")
    assert (config.tune.augment.rotate, config.tune.augment.at_most) == (5.0, 4)
    assert (config.synthesise.tries, config.sample.negatives, config.sample.label_first) == (2, "once", False)


def test_the_command_line_chooses_over_the_file(tmp_path: Path) -> None:
    given = "select: {minimum: 5}"
    for text in (given, f"preset: ours\n{given}"):
        config = load_config(written(tmp_path, text), ["--preset", "paper"])
        expected = preset_config("paper")
        assert config == replace(expected, select=replace(expected.select, minimum=5))
    config = load_config(written(tmp_path, f"preset: paper\n{given}"), ["--preset=ours"])
    assert config == replace(RunConfig(), select=replace(RunConfig().select, minimum=5))
    assert load_config(written(tmp_path, "preset: paper")) == preset_config("paper")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("seed: 1\npreset: papers", [], r"birds\.yaml, line 2: preset is papers, but takes one of ours, paper"),
        ("preset: [paper]", [], r"line 1: preset is \['paper'\], but takes one of ours, paper"),
        ("preset:", [], r"line 1: preset has no value\. It takes one of ours, paper"),
        ("presets: paper", [], r"there is no setting presets\. Did you mean preset\?"),
        ("seed: 1", ["--preset", "theirs"], r"command line: --preset is theirs, but takes one of ours, paper"),
        ("preset: paper\ntune: {epochs: 0}", [], r"line 2: tune\.epochs is 0, but takes a whole number, at least 1"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(SeeWhyError, match=message):
        load_config(written(tmp_path, text), overrides)


def test_manifests_keep_every_value() -> None:
    for config in (preset_config("paper"), RunConfig(seed=3)):
        assert restore_config(json.loads(json.dumps(asdict(config)))) == config


def test_an_older_manifest_has_the_settings_that_it_was_made_with() -> None:
    """Runs from before there were presets: what they lack did not exist, and our defaults are what was done then."""
    recorded = json.loads(json.dumps(asdict(RunConfig(seed=3))))
    del recorded["preset"], recorded["tune"]["schedule"], recorded["select"]["prefixes"]
    del recorded["sample"]["negatives"], recorded["sample"]["label_first"], recorded["synthesise"]["explain_share"]
    recorded["tune"]["augment"] = {"flip": 0.5, "rotate": 10.0, "colour": 0.1, "blur": 0.1, "perspective": 0.1}
    assert restore_config(recorded) == RunConfig(seed=3)
    assert (RunConfig().tune.schedule, RunConfig().sample.negatives) == ("cosine", "once")


def test_a_preset_makes_its_own_stages() -> None:
    plans = {name: by_name(Stages.of(preset_config(name), "domain", "base", "encoder")) for name in PRESETS}
    ours, paper = plans["ours"], plans["paper"]
    assert ours["describe"].fingerprint == paper["describe"].fingerprint
    for name in ("select", "round-1/answers", "round-1/model", "round-2/candidates"):
        assert ours[name].fingerprint != paper[name].fingerprint
    assert "round-1/predictions-val" in ours
    assert "round-1/predictions-val" not in paper


@pytest.mark.slow
def test_the_papers_settings_run(tmp_path: Path) -> None:
    """Two rounds on a tiny model: every setting of the preset reaches the code that it is for."""
    root = image_folder(tmp_path)
    config = preset_config("paper")
    small: dict[str, Any] = {"max_new_tokens": 12}
    config = replace(
        config,
        output=str(root / "run"),
        rounds=2,
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path=str(tiny_llava(root / "model")), device="cpu", batch_size=16),
        describe=replace(config.describe, prompts_per_image=1, samples_per_prompt=2, **small),
        select=replace(config.select, encoder=str(tiny_encoder(root / "encoder"))),
        synthesise=replace(config.synthesise, answers_per_image=3, **small),
        tune=replace(config.tune, epochs=1, learning_rate=1e-2, batch_size=8, micro_batch_size=4, lora_rank=4),
        sample=replace(config.sample, queries_per_image=2, **small),
        evaluate=EvaluateConfig(bootstrap=50, **small),
    )
    metrics = loop.run(config)
    assert len(metrics.rounds) == 2
    assert restore_config(read_manifest(root / "run")["config"]) == config
    again = load_config(root / "run" / "config.yaml")
    assert again == config
