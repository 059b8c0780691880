"""A run on made-up cells: `seewhy evaluate RUN --data OTHER.yaml` on another table, and what supervised heads reach."""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from marked_cells import make_wbcatt
from seewhy.cli import main
from seewhy.config import DataConfig, RunConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Prediction
from seewhy.run import loop
from seewhy.run.folder import read_records
from seewhy.vlm.sampling import BatchSampler
from tiny_run import tiny_run

ROOT = Path(__file__).parents[1]
NOUN = "white blood cell"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run of a tiny model on made-up cells."""
    root = tmp_path_factory.mktemp("marked")
    images = {"train": 21, "val": 8, "test": 6}
    data = DataConfig(source=str(make_wbcatt(root / "cells", images)), layout="wbcatt", noun=NOUN)
    config = tiny_run(root, data=data, describe={"samples_per_prompt": 1}, sample={"samples_per_query": 1})
    config = RunConfig(**{**vars(config), "data": data})
    loop.run(config)
    return config


def other(root: Path, **data: str) -> Path:
    """The settings of a folder with a table of test images alone, others than the run's."""
    source = root / "others"
    make_wbcatt(source, {"train": 0, "val": 0, "test": 9})
    path = root / "others.yaml"
    path.write_text(yaml.safe_dump({"data": {"source": str(source), "layout": "wbcatt", "noun": NOUN, **data}}))
    return path


def test_a_table_of_test_images_alone_is_measured_with_the_runs_bank(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "This is a Monocyte: it has agranular cytoplasm and pink granules."
    monkeypatch.setattr(BatchSampler, "sample", lambda self, prompts, sampling, seed: [[said] for _ in prompts])
    settings = other(tmp_path)
    assert main(["evaluate", run.output, "--data", str(settings)]) == 0
    assert "Results on 27 test images" in capsys.readouterr().out
    found = json.loads((Path(run.output) / "metrics-others-test.json").read_text())
    (tuned,) = found["rounds"]
    assert tuned["n"] == 27
    assert tuned["accuracy"] == pytest.approx(1 / 3)
    assert tuned["stated_true"] == pytest.approx(1 / 3)  # agranular of the monocytes, pink of the neutrophils
    assert tuned["stated_false"] == pytest.approx(2 / 3)
    (place,) = (Path(run.output) / "stages" / "elsewhere").iterdir()
    assert len(read_records(Path(run.output), f"elsewhere/{place.name}/round-1/predictions-test", Prediction)) == 27


def test_what_it_lacks_is_named(run: RunConfig, tmp_path: Path) -> None:
    settings = other(tmp_path)
    with pytest.raises(SeeWhyError, match="WBCAtt has no val images to measure on"):
        loop.evaluate(run.output, "val", data=str(settings))
    shutil.rmtree(tmp_path / "others" / "PBC_dataset_normal_DIB" / "monocyte")
    with pytest.raises(SeeWhyError, match="9 of 27 listed images are not there"):
        loop.evaluate(run.output, "test", data=str(settings))


@pytest.fixture
def ceiling(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    module = import_module("bench.ceiling")
    monkeypatch.setattr(module, "limit_threads", lambda threads: None)
    return module


def test_heads_learn_what_the_features_say(ceiling: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 6, generator=generator)
    answers = torch.stack([(features[:, 0] > 0).long(), (features[:, 1] > 0).long() + (features[:, 1] > 1)], 1)
    fitted = {decay: ceiling.fit(features[:200], answers[:200], [2, 3], decay) for decay in (1e-3, 1.0, 1e3)}
    found = ceiling.probabilities(features[200:], fitted[1e-3], [2, 3])
    assert [tuple(of.shape) for of in found] == [(100, 2), (100, 3)]
    assert all((of.argmax(1) == answers[200:, h]).float().mean() > 0.93 for h, of in enumerate(found))
    assert all(decay < 1e3 for decay in ceiling.chosen(fitted, features[200:], answers[200:], [2, 3]))


def test_the_most_confident_phrases_are_stated(ceiling: Any) -> None:
    heads = [
        ceiling.Head("class", ("a", "b")),
        ceiling.Head("size", ("large", "small", "")),
        ceiling.Head("vacuoles", ("vacuoles", "")),
    ]
    found = [
        torch.tensor(of).numpy()
        for of in ([[0.9, 0.1]] * 2, [[0.7, 0.3, 0.0], [0.1, 0.9, 0.0]], [[0.8, 0.2], [0.05, 0.95]])
    ]
    assert ceiling.stated(heads, found, None) == [["vacuoles", "large"], ["small"]]
    assert ceiling.stated(heads, found, 1.0) == [["vacuoles"], ["small"]]
    assert ceiling.stated(heads, found, 0.5) == [[], ["small"]]


def test_features_are_averages_and_maxima(ceiling: Any) -> None:
    tokens = torch.arange(12.0).reshape(1, 3, 4)
    assert ceiling.pooled(tokens, 1).tolist() == [[4, 5, 6, 7, 8, 9, 10, 11]]
    maps = tokens.transpose(1, 2).reshape(1, 4, 3, 1)
    assert ceiling.pooled(maps, 1).tolist() == ceiling.pooled(tokens, 1).tolist()
    with pytest.raises(SeeWhyError, match="not one set an image"):
        ceiling.pooled(tokens, 2)


def test_the_ceiling_of_a_run(ceiling: Any, run: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "ceiling.json"
    ceiling.main([run.output, "--split", "test", "--stated", "2", "--bootstrap", "20", "--json", str(file)])
    found = json.loads(file.read_text())
    assert found["ceiling_images"] == 18
    assert {"accuracy_ceiling", "stated_true_ceiling", "attribute_ceiling_size_of_the_cell"} <= found.keys()
    assert 0 <= found["same_class_follows_ceiling"] <= 1
    assert found["stated_true_ceiling"] + found["stated_false_ceiling"] == pytest.approx(1)
    assert found["stated_true_ceiling_all"] + found["stated_false_ceiling_all"] == pytest.approx(1)
    assert found["stated_true_ceiling_low"] <= found["stated_true_ceiling"] <= found["stated_true_ceiling_high"]
