"""Replay data in a run: mixed in at the ratio, refused before any work, part of what a model is made from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seewhy.config import (
    RunConfig,
)
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.run import loop, steps
from tiny_run import tiny_run


def conversations(folder: Path, texts: list[str], image: str = "boat.png") -> Path:
    """A LLaVA-Instruct file in which every second conversation is about an image."""
    Image.new("RGB", (32, 32), "blue").save(folder / "boat.png")
    rows = [
        {"id": str(number), "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "A boat."}]}
        | ({"image": image} if number % 2 else {})
        for number, text in enumerate(texts)
    ]
    (folder / "general.json").write_text(json.dumps(rows))
    return folder / "general.json"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(
        tmp_path_factory.mktemp("replay"),
        train=2,
        test=1,
        tokens=6,
        describe={"samples_per_prompt": 1},
        synthesise={"answers_per_image": 2},
        tune={"lora_rank": 2},
        evaluate={"bootstrap": 10, "consistency": False, "fluency": False},
    )


@pytest.mark.slow
def test_it_is_mixed_in_at_the_ratio_and_watched(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[Turn] = []

    def noting(vlm: Any, turns: list[Turn], *args: Any, **options: Any) -> Path:
        taught.extend(turns)
        return tune(vlm, turns, *args, **options)

    tune = steps.tune
    monkeypatch.setattr(steps, "tune", noting)
    general = conversations(tmp_path, [f"What is number {n}?" for n in range(9)])
    mixed = replace(
        config, output=str(tmp_path / "run"), tune=replace(config.tune, replay=str(general), replay_ratio=0.5)
    )
    loop.run(mixed)
    drawn = [turn for turn in taught if turn.id.startswith("replay/")]
    assert len(taught) - len(drawn) == 6 * 2
    assert len({turn.id for turn in drawn}) == 6
    assert {turn.image for turn in drawn} == {"", str(tmp_path.resolve() / "boat.png")}
    conversations(tmp_path, [f"What is number {n}?" for n in range(8)])
    with pytest.raises(SeeWhyError, match=r"tune\.replay"):
        loop.run(mixed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("texts", "image", "message"),
    [
        (["Hi", "What is it?"], "none.png", "row 2: image 'none.png' is not there"),
        (["Hi", "What is </s>?"], "boat.png", r"row 2: the question holds '</s>'"),
    ],
)
def test_bad_rows_stop_a_run_before_its_first_description(
    config: RunConfig, tmp_path: Path, texts: list[str], image: str, message: str
) -> None:
    general = conversations(tmp_path, texts, image)
    broken = replace(config, output=str(tmp_path / "run"), tune=replace(config.tune, replay=str(general)))
    with pytest.raises(SeeWhyError, match=message):
        loop.run(broken)
    assert list((tmp_path / "run").rglob("shard-*.parquet")) == []
