"""What is frozen stays as it was, bit by bit, in every family; and what tunes a vision tower of convolutions."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from families import FAMILIES, no_torchvision
from seewhy.config import AugmentConfig, TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.run import loop
from seewhy.vlm.adapter import (
    _patterns,
    add_adapter,
    frozen_parts,
    logits_of,
    merge_adapter,
    projector_names,
    rest_frozen,
    trainable,
    vision_tower_of,
)
from seewhy.vlm.chat import encode, encode_answered, open_image
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.tuning import tune
from tiny_run import tiny_run
from tune_once import Killed, dying

PLAIN = AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0)
CONFIG = TuneConfig(
    epochs=2, learning_rate=1e-2, batch_size=2, micro_batch_size=1, lora_rank=2, checkpoint_steps=1, augment=PLAIN
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A dark and a light one, so that batch statistics would move."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, darkest in (("dark", 0), ("light", 90)):
        values = [darkest + value // 2 for value in range(256)]
        Image.linear_gradient("L").point(values).convert("RGB").resize((40, 32)).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in ("dark", "light")]


@pytest.fixture(scope="module")
def fast_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES["fast_vlm"](tmp_path_factory.mktemp("fast_vlm"))


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with no_torchvision():
        yield FAMILIES[request.param](tmp_path_factory.mktemp(request.param))


def turns(pictures: list[str]) -> list[Turn]:
    return [Turn(f"{path}/{n}", path, f"Name it {n}.", f"A crow {n}.") for path in pictures for n in range(2)]


def load(folder: Path, dtype: str = "float32") -> VisionLanguageModel:
    return VisionLanguageModel.load(folder, device="cpu", dtype=dtype)


def state_of_tower(vlm: VisionLanguageModel) -> dict[str, torch.Tensor]:
    """Return the weights and buffers of the vision tower, without mergers."""
    tower = next(name for name, module in vlm.model.named_modules() if module is vision_tower_of(vlm.model))
    state = vlm.model.state_dict()
    projectors = tuple(f"{name}." for name in projector_names(vlm.model))
    inside = (name for name in state if name.startswith(f"{tower}.") and not name.startswith(projectors))
    return {name: state[name].clone() for name in inside}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in after if not torch.equal(after[name], before[name])}


def test_a_frozen_tower_stays_bit_by_bit(base: Path, pictures: list[str], tmp_path: Path):
    vlm = load(base)
    before = state_of_tower(vlm)
    tuned = load(tune(vlm, turns(pictures), CONFIG, tmp_path, seed=0))
    assert moved(before, state_of_tower(tuned)) == set()
    assert moved(dict(load(base).model.state_dict()), dict(tuned.model.state_dict()))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_features_of_a_frozen_tower_are_those_of_evaluation(base: Path, pictures: list[str], method: Any):
    """Every tower is given dropout, which some bases have; in plain training mode it shows."""
    vlm = load(base)
    for module in vision_tower_of(vlm.model).modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.5)
    learner: Any = trainable(vlm.model, replace(CONFIG, method=method, projector="frozen"))
    row = encode(vlm, "Name it.", open_image(pictures[0]))
    seen: list[torch.Tensor] = []
    vision_tower_of(vlm.model).register_forward_hook(lambda _module, _args, out: seen.append(out[0].detach().clone()))
    learner.eval()(**row)
    learner.train()
    rest_frozen(frozen_parts(learner))
    assert learner.training
    learner(**row)
    learner.train()(**row)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_dropout_of_what_is_trained_stays_on(fast_vlm: Path):
    learner = add_adapter(load(fast_vlm).model, rank=2, alpha=4, dropout=0.5, vision_tower="lora").train()
    rest_frozen(frozen_parts(learner))
    kinds = {type(module) for module in learner.modules() if isinstance(module, nn.Dropout | nn.BatchNorm2d)}
    assert kinds == {nn.Dropout, nn.BatchNorm2d}
    for module in learner.modules():
        if isinstance(module, nn.Dropout | nn.BatchNorm2d):
            assert module.training == isinstance(module, nn.Dropout)


@pytest.mark.parametrize(
    "change",
    [
        {"gradient_checkpointing": True},
        {"method": "full"},
        {"projector": "frozen"},
        {"dtype": "bfloat16"},
        {"vision_tower": "lora"},
        {"vision_tower": "full"},
        {"vision_tower": "full", "dtype": "bfloat16"},
        {"vision_tower": "full", "method": "full"},
    ],
    ids=str,
)
def test_statistics_of_batches_stay_however_the_tower_is_tuned(
    fast_vlm: Path, pictures: list[str], tmp_path: Path, change: dict[str, Any]
):
    dtype = change.get("dtype", "float32")
    vlm = load(fast_vlm, dtype)
    before, statistics = state_of_tower(vlm), {name for name, _ in vlm.model.named_buffers()}
    config = replace(CONFIG, **{name: value for name, value in change.items() if name != "dtype"})
    changed = moved(before, state_of_tower(load(tune(vlm, turns(pictures), config, tmp_path, seed=0), dtype)))
    assert bool(changed) == ("vision_tower" in change)
    assert not changed & statistics
    assert any("running_mean" in name for name in before)


@pytest.mark.parametrize("vision_tower", ["frozen", "lora", "full"])
def test_killed_and_started_again_gives_the_same_bytes(
    fast_vlm: Path, pictures: list[str], tmp_path: Path, vision_tower: Any
):
    config = replace(CONFIG, vision_tower=vision_tower)
    whole = tune(load(fast_vlm), turns(pictures), config, tmp_path / "whole", seed=3)
    with dying(2), pytest.raises(Killed):
        tune(load(fast_vlm), turns(pictures), config, tmp_path / "killed", seed=3)
    again = tune(load(fast_vlm), turns(pictures), config, tmp_path / "killed", seed=3)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_four_bits_leave_the_tower_as_it_is(fast_vlm: Path, pictures: list[str], tmp_path: Path):
    pytest.importorskip("bitsandbytes")
    vlm = VisionLanguageModel.load(fast_vlm, device="cpu", four_bit=True)
    before = state_of_tower(vlm)
    model = tune(vlm, turns(pictures), replace(CONFIG, method="qlora"), tmp_path, seed=0)
    assert moved(before, state_of_tower(load(model))) == set()
    assert moved(before, state_of_tower(vlm)) == set()  # nor did the 4-bit model's own statistics


@pytest.mark.parametrize("vision_tower", ["lora", "full"])
def test_a_micro_batch_changes_no_weights_of_a_tower_that_is_tuned(
    fast_vlm: Path, pictures: list[str], tmp_path: Path, vision_tower: Any
):
    """As the statistics stay, an image's features do not depend on what else is in its batch."""
    weights = []
    for micro in (1, 4):
        config = replace(
            CONFIG, batch_size=4, micro_batch_size=micro, vision_tower=vision_tower, lora_dropout=0.0, epochs=1,
            learning_rate=1e-3,
        )  # fmt: skip
        model = tune(load(fast_vlm), turns(pictures), config, tmp_path / str(micro), seed=0)
        weights.append(load_file(model / "model.safetensors"))
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_lora_reaches_the_dense_convolutions(fast_vlm: Path, pictures: list[str]):
    """Pointwise ones and squeeze-and-excite; not the stem, which reads pixels, nor depthwise ones."""
    vlm = load(fast_vlm)
    convolutions = {name for name, module in vlm.model.named_modules() if isinstance(module, nn.Conv2d)}
    adapted = add_adapter(vlm.model, rank=2, alpha=4, dropout=0.0, projector="frozen", vision_tower="lora")
    found = re.compile(r"base_model\.model\.(.*vision_tower.*)\.lora_A\.default\.weight")
    reached = {match[1] for name, _ in adapted.named_parameters() if (match := found.fullmatch(name))}
    kinds = {"expand_conv", "project_conv", "reduce", "expand", "top_conv"}
    assert reached == {name for name in convolutions if name.rpartition(".")[2] in kinds}
    assert {name.rpartition(".")[2] for name in convolutions - reached} == {"convolution", "depthwise_conv"}

    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    rows = [encode_answered(vlm, "Name it.", "A crow.", open_image(path)) for path in pictures]
    for row in rows:
        del row["labels"]
    expected = logits_of(adapted.eval(), rows)
    merged, change = merge_adapter(adapted, rows, torch.float32)
    for actual, wanted in zip(logits_of(merged, rows), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)
    assert change > 1e-3


class Tower(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)


def test_what_peft_cannot_merge_is_left_out():
    tower = Tower(
        nn.Sequential(nn.Conv2d(3, 8, 3)),  # reads pixels
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.Linear(8, 8)),
        nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 8)),
        nn.Sequential(nn.Conv2d(8, 8, 3, dilation=2)),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")),
    )
    model = nn.ModuleDict({"tower": tower})
    pattern = re.compile("|".join(_patterns(model, tower)))
    found = {name for name, _ in model.named_modules() if pattern.fullmatch(name)}
    assert found == {"tower.layers.1.0", "tower.layers.1.1", "tower.layers.2.1"}


def without_dense_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seewhy.vlm.adapter._is_dense_convolution", lambda _module: False)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"vision_tower": "lora"}, r"lora reaches no layer of this model's vision tower \(EfficientNetModel\)"),
        ({"vision_tower": "lora", "method": "full"}, "tune.vision_tower is lora, which tune.method full cannot take"),
    ],
)
def test_a_tower_that_cannot_be_adapted_is_an_error_before_anything_is_described(
    fast_vlm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune: dict[str, Any], message: str
):
    without_dense_convolutions(monkeypatch)
    config = tiny_run(tmp_path, base=str(fast_vlm), tune=tune)
    with pytest.raises(SeeWhyError, match=message):
        loop.run(config)
    assert not list(Path(config.output).glob("stages/*"))
