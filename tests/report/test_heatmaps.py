"""Where the last model looks: found once with a tiny model, kept, and never shown for another answer or model."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures_data import image_folder
from made_up_runs import metrics, write_run
from seewhy.config import DataConfig, ModelConfig, RunConfig
from seewhy.proof.heatmaps import find_heats
from seewhy.report.page import write_page
from seewhy.report.pictures import VEIL_SIDE, veil, where
from seewhy.results import Card, Gallery
from seewhy.results_json import read
from seewhy.run import models
from seewhy.run.folder import RunFolder, Stage, read_manifest
from seewhy.vlm import attribution
from tiny import tiny_llava

ANSWER = "This is a Fish Crow: it has black wings and a yellow bill."


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a model after round 1, and two images of the gallery that have not been looked at."""
    root = image_folder(tmp_path, train=1, test=2)
    data = DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird")
    run = tmp_path / "run"
    tiny_llava(run / "stages" / "round-1" / "model" / "model", seed=1)
    folder = RunFolder(run, seed=0, shard_size=4)
    config = RunConfig(output=str(run), data=data, model=ModelConfig(device="cpu"))
    folder.path.joinpath("manifest.json").write_text(
        json.dumps({"versions": {}, "config": asdict(config), "stages": {"round-1/model": entry("first")}})
    )
    stated = [{"concept": c, "verdict": "unverified"} for c in ("black wings", "yellow bill")]
    answers = [
        {"model": "base", "text": "A bird with black wings.", "correct": False, "stated": stated[:1]},
        {"model": "round 1", "text": ANSWER, "correct": True, "stated": stated},
    ]
    images = sorted((root / "images" / "test" / "Fish Crow").glob("*.png"))
    gallery = [
        {"id": str(n), "image": str(path), "label": "Fish Crow", "question": "Which bird?", "answers": answers}
        for n, path in enumerate(images)
    ]
    figures = metrics(truth=False) | {"rounds": metrics(truth=False)["rounds"][:1], "nl": []}
    return write_run(run, figures, gallery)


def entry(fingerprint: str) -> dict[str, Any]:
    stage = Stage("round-1/model", {})
    return {"fingerprint": fingerprint, "settings": stage.settings, "inputs": {}, "shards": None, "complete": True}


def gallery_of(run: Path) -> tuple[Card, ...]:
    return read(run / Gallery.FILE, Gallery).cards


def test_heats_are_found_kept_and_found_again_without_a_model(run: Path, monkeypatch: pytest.MonkeyPatch):
    gallery = gallery_of(run)
    assert find_heats(run, gallery, "round 1", compute=False) == ({}, "")
    made, problem = find_heats(run, gallery, "round 1", compute=True)
    assert (len(made), problem) == (2, "")
    heat = made[gallery[0].image]
    assert heat.size == (36, 40)
    assert heat.region == (0.0, 2.0, 36.0, 38.0)
    assert {c: grid.shape for c, grid in heat.concepts.items()} == {"black wings": (4, 4), "yellow bill": (4, 4)}
    assert all(grid.max() in (0, 255) for grid in heat.concepts.values())

    def never(*_args: object, **_options: object) -> None:
        raise AssertionError("a model was loaded for what is kept")

    monkeypatch.setattr(models, "load_model", never)
    for compute in (False, True):
        again, _ = find_heats(run, gallery, "round 1", compute=compute)
        assert {c: g.tolist() for c, g in again[gallery[0].image].concepts.items()} == {
            c: g.tolist() for c, g in heat.concepts.items()
        }


def test_a_stopped_search_goes_on_and_a_damaged_file_is_made_again(run: Path, monkeypatch: pytest.MonkeyPatch):
    gallery, real, calls = gallery_of(run), attribution.gradient, []

    def once(*args: Any, **options: Any) -> np.ndarray:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(attribution, "gradient", once)
    with pytest.raises(KeyboardInterrupt):
        find_heats(run, gallery, "round 1", compute=True)
    (kept,) = (run / "heatmaps").iterdir()
    find_heats(run, gallery, "round 1", compute=True)
    assert len(calls) == 3
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-9])
    assert len(find_heats(run, gallery, "round 1", compute=False)[0]) == 1
    find_heats(run, gallery, "round 1", compute=True)
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("changed", ["model", "answer"])
def test_another_model_or_answer_has_no_kept_heat(run: Path, changed: str):
    gallery = gallery_of(run)[:1]
    find_heats(run, gallery, "round 1", compute=True)
    if changed == "model":
        manifest = read_manifest(run)
        manifest["stages"]["round-1/model"] = entry("second")
        (run / "manifest.json").write_text(json.dumps(manifest))
    else:
        answers = (*gallery[0].answers[:-1], replace(gallery[0].answers[-1], text="It has black wings."))
        gallery = (replace(gallery[0], answers=answers),)
    assert find_heats(run, gallery, "round 1", compute=False) == ({}, "")


def test_what_cannot_be_looked_at_is_said_and_the_page_is_written(run: Path):
    gallery = gallery_of(run)
    Path(gallery[0].image).unlink()
    assert len(find_heats(run, gallery, "round 1", compute=True)[0]) == 1
    html = write_page(str(run), heatmaps=True).read_text(encoding="utf-8")
    assert html.count('class="layer"') == 2
    assert "cannot be shown" in html
    (run / "stages" / "round-1" / "model" / "model").rename(run / "elsewhere")
    for path in (run / "heatmaps").iterdir():
        path.unlink()
    html = write_page(str(run), heatmaps=True).read_text(encoding="utf-8")
    assert "is gone" in html
    assert "is gone" in html


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [(0, 0, "top left"), (0, 3, "top right"), (3, 1, "bottom"), (1, 1, "middle"), (2, 0, "left")],
)
def test_where_in_words(row: int, column: int, expected: str):
    heat_RK = np.zeros((4, 4), np.uint8)
    heat_RK[row, column] = 9
    assert where(heat_RK, (400, 400), (0, 0, 400, 400)) == expected
    assert where(heat_RK, (1200, 400), (400, 0, 800, 400)).split()[-1] in ("top", "bottom", "middle")


def test_a_veil_is_small_clear_where_it_is_hot_and_grey_elsewhere(tmp_path: Path):
    heat_RK = np.zeros((4, 4))
    heat_RK[0, 0] = 1
    data = veil((600, 300), heat_RK, (150, 0, 450, 300))
    assert len(data) < 4000
    path = tmp_path / "veil.png"
    path.write_bytes(data)
    with Image.open(path) as picture:
        rgba = np.asarray(picture.convert("RGBA")).astype(int)
    assert rgba.shape == (VEIL_SIDE // 2, VEIL_SIDE, 4)
    hot, cold = rgba[2, 18], rgba[30, 60]
    assert hot[3] < cold[3]
    assert hot[0] > hot[2] + 60
    assert np.ptp(cold[:3]) < 10
