"""A round of the loop teaches: on images that the model has not seen it names the species, and its reasons are true."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from seewhy.fieldguide.guide import make_guide
from seewhy.run import loop
from seewhy.settings import load_config

SETTINGS = Path(__file__).parents[1] / "configs" / "fieldguide.yaml"
SPECIES = 4


@pytest.mark.slow
def test_a_round_teaches_names_and_keeps_reasons_true(tmp_path: Path) -> None:
    """Four species of the field guide with the shipped settings: guessing would name one image in four."""
    data = make_guide(tmp_path / "guide", {"train": 24, "test": 10})
    bank = yaml.safe_load(Path(str(data.concepts)).read_text())
    few = dict(list(bank.items())[:SPECIES])
    (tmp_path / "bank.yaml").write_text(yaml.safe_dump(few))
    for split in ("train", "test"):
        for label in bank.keys() - few.keys():
            shutil.rmtree(tmp_path / "guide" / "images" / split / label)
    lines = (tmp_path / "guide" / "truth.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["image"].split("/")[1] in few]
    (tmp_path / "truth.jsonl").write_text("\n".join(kept))
    config = load_config(SETTINGS)
    config = replace(
        config,
        output=str(tmp_path / "run"),
        rounds=1,
        data=replace(data, concepts=str(tmp_path / "bank.yaml"), truth=str(tmp_path / "truth.jsonl")),
        model=replace(config.model, device="cpu"),
        evaluate=replace(config.evaluate, consistency=False, fluency=False, bootstrap=50),
    )
    metrics = loop.run(config)
    base, tuned = metrics.base, metrics.rounds[0]
    assert base["accuracy"].value < 0.1
    assert tuned["accuracy"].value > 0.7
    assert tuned["stated_true"].value > 0.8
