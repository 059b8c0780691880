"""The scripts that make the base of blood cells: its tower, its lessons, and the data that are left for the loop."""

import csv
import random
import sys
from pathlib import Path

import pytest
import torch
from tools import cells_data
from tools.cells_lessons import CellSpeaker, in_vocabulary
from tools.cells_tower import features, freeze_part, load_lite0, to_pixels, tower_config, turned
from transformers import EfficientNetModel

from marked_cells import make_wbcatt
from seewhy.domain.loaders.wbcatt import ATTRIBUTES, CLASSES, MARKS


def lite0_weights(tower: EfficientNetModel) -> dict[str, torch.Tensor]:
    """Random weights under the names of the ImageNet package, whose network has no squeeze-and-excite."""
    names = {
        "embeddings.convolution": "_conv_stem", "embeddings.batchnorm": "_bn0", "encoder.top_conv": "_conv_head",
        "encoder.top_bn": "_bn1", "encoder.blocks": "_blocks", "expansion.expand_conv": "_expand_conv",
        "expansion.expand_bn": "_bn0", "depthwise_conv.depthwise_conv": "_depthwise_conv",
        "depthwise_conv.depthwise_norm": "_bn1", "projection.project_conv": "_project_conv",
        "projection.project_bn": "_bn2",
    }  # fmt: skip
    weights = {"_fc.weight": torch.randn(1000, 1280)}
    for name, tensor in tower.state_dict().items():
        if ".squeeze_excite." not in name:
            for ours, theirs in names.items():
                name = name.replace(ours, theirs)
            weights[name] = torch.rand_like(tensor) if tensor.is_floating_point() else tensor.clone()
    return weights


def test_the_tower_has_the_weights_of_lite0_and_nothing_else() -> None:
    tower = EfficientNetModel(tower_config()).eval()
    weights = lite0_weights(tower)
    load_lite0(tower, weights)
    state = tower.state_dict()
    assert torch.equal(
        state["encoder.blocks.3.projection.project_conv.weight"], weights["_blocks.3._project_conv.weight"]
    )
    pixels = to_pixels(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8).numpy())
    with torch.inference_mode():
        seen = features(tower, pixels)
        for block in tower.encoder.blocks:
            block.squeeze_excite = torch.nn.Identity()
        assert torch.equal(seen, features(tower, pixels))
    assert seen.shape == (2, 4, 1280)


def test_a_weight_without_a_place_is_an_error() -> None:
    tower = EfficientNetModel(tower_config())
    weights = lite0_weights(tower)
    with pytest.raises(ValueError, match="has no place"):
        load_lite0(tower, {**weights, "_blocks.0._bn2.weight": torch.ones(3)})
    del weights["_conv_head.weight"]
    with pytest.raises(ValueError, match=r"no weight was given for encoder\.top_conv\.weight"):
        load_lite0(tower, weights)


def test_the_lower_layers_and_the_saturated_ones_stay_frozen() -> None:
    tower = EfficientNetModel(tower_config())
    freeze_part(tower)
    tuned = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    assert not [n for n in tuned if "squeeze_excite" in n or n.startswith(("embeddings", "encoder.blocks.3."))]
    assert "encoder.blocks.4.projection.project_conv.weight" in tuned


def test_a_square_has_eight_positions() -> None:
    square = torch.arange(9.0).view(1, 1, 3, 3)
    assert len({tuple(turned(square, way).flatten().tolist()) for way in range(8)}) == 8


def test_lessons_never_name_a_class_and_tell_the_marks() -> None:
    rng, speaker = random.Random(0), CellSpeaker(0, ATTRIBUTES)
    for _ in range(300):
        marks = {name: rng.choice(tuple(values)) for name, values in MARKS.items()}
        own = {phrase for name, value in marks.items() if (phrase := MARKS[name][value])}
        others = {phrase for values in MARKS.values() for phrase in values.values() if phrase} - own
        told = speaker.about(marks)
        assert not [s for s in told for name in CLASSES if name.lower() in f"{s.query} {s.answer}".lower()]
        described = [s.answer for s in told[:2]]
        assert all(any(phrase in text for phrase in own) for text in described)
        assert not [p for text in described for p in others if p in text and not any(p in q for q in own)]


def test_the_loop_gets_no_image_of_the_vocabulary_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_wbcatt(tmp_path / "published")
    monkeypatch.setattr(sys, "argv", ["cells_data", "--data", str(source), "--output", str(tmp_path / "ours")])
    cells_data.main()

    def names(folder: Path, split: str) -> list[str]:
        with (folder / f"pbc_attr_v1_{split}.csv").open(newline="") as file:
            return [row["img_name"] for row in csv.DictReader(file)]

    assert names(tmp_path / "ours", "train") == [n for n in names(source, "train") if not in_vocabulary(n)]
    assert names(tmp_path / "ours", "test") == names(source, "test")
    assert (tmp_path / "ours" / "PBC_dataset_normal_DIB").is_dir()
