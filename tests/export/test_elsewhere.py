"""`seewhy evaluate RUN --data OTHER.yaml`: a run's models on another data set, beside the run's own figures."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from run_folders import by_name
from seewhy.cli import main
from seewhy.errors import SeeWhyError
from seewhy.records import Prediction
from seewhy.report.page import write_page
from seewhy.results_json import as_values
from seewhy.run import loop
from seewhy.run.checksums import unsealed_json
from seewhy.run.folder import read_manifest, read_records
from seewhy.run.stages import DATA, Stages
from seewhy.settings import restore_config
from seewhy.vlm.model import VisionLanguageModel


@pytest.fixture
def animals(run: Path, tmp_path: Path) -> Path:
    """The settings of a data set in which Crows are Jackdaws and every bird is an animal."""
    images = tmp_path / "images"
    shutil.copytree(run.parent / "images", images)
    for split in ("train", "test"):
        (images / split / "Crow").rename(images / split / "Jackdaw")
    concepts = re.sub(r"^Crow:", "Jackdaw:", (run.parent / "concepts.yaml").read_text(), flags=re.MULTILINE)
    (tmp_path / "concepts.yaml").write_text(concepts)
    data = {"source": str(images), "concepts": str(tmp_path / "concepts.yaml"), "noun": "animal"}
    (tmp_path / "animals.yaml").write_text(yaml.safe_dump({"data": data}))
    return tmp_path / "animals.yaml"


@pytest.mark.slow
def test_it_is_measured_and_kept_apart(run: Path, animals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in [*run.rglob("shard-*.parquet"), run / "metrics.json"]}
    assert main(["evaluate", str(run), "--data", str(animals)]) == 0
    assert "Results on 3 test images" in capsys.readouterr().out
    metrics = unsealed_json((run / "metrics-animals-test.json").read_bytes())
    assert [r["round"] for r in metrics["rounds"]] == [r["round"] for r in metrics["nl"]] == [1, 2]
    assert "selected_per_image" not in metrics["rounds"][0]  # the selection is of the run's own images
    assert {p: p.read_bytes() for p in before} == before
    (place,) = (run / "stages" / "elsewhere").iterdir()
    predictions = read_records(run, f"elsewhere/{place.name}/round-2/predictions-test", Prediction)
    assert {p.example_id.split("/")[1] for p in predictions} == {"Jackdaw", "Fish Crow", "Red-crested Finch"}
    assert "name of this animal" in predictions[0].query
    made = sorted((run / "stages").rglob("*.parquet"))
    times = [p.stat().st_mtime_ns for p in made]
    assert as_values(loop.evaluate(str(run), "test", data=str(animals))) == metrics
    assert [p.stat().st_mtime_ns for p in made] == times  # nothing is made again
    assert "domain" in read_manifest(run)["stages"]


@pytest.mark.slow
def test_changed_images_are_measured_anew(run: Path, animals: Path) -> None:
    loop.evaluate(str(run), "test", data=str(animals))
    places = set((run / "stages" / "elsewhere").iterdir())
    shutil.rmtree(animals.parent / "images" / "test" / "Jackdaw")
    assert loop.evaluate(str(run), "test", data=str(animals)).base.n == 2
    assert len(set((run / "stages" / "elsewhere").iterdir()) - places) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split", "message"), [("animals.yaml", "val", "no val images"), ("none.yaml", "test", "no configuration")]
)
def test_bad_input(run: Path, animals: Path, name: str, split: str, message: str) -> None:
    with pytest.raises(SeeWhyError, match=message):
        loop.evaluate(str(run), split, data=str(animals.with_name(name)))


@pytest.mark.slow
def test_no_stage_of_a_run_is_named_as_one_elsewhere(run: Path) -> None:
    config = restore_config(read_manifest(run)["config"])
    stages = Stages.of(config, "own", "base", "encoder")
    plan, moved = by_name(stages), by_name(stages.elsewhere("animals", "123456789"))
    assert moved.keys() == plan.keys()
    for key, stage in moved.items():
        measures = key.split("-")[0] in ("domain", *DATA, "describe", "select") or "/predictions-" in key
        assert stage.name == (f"elsewhere/animals-12345678/{key}" if measures else key)
        if key.endswith("/model") or key.endswith("/answers"):
            assert stage.fingerprint == plan[key].fingerprint


def test_a_set_with_a_test_split_alone_is_enough(run: Path, animals: Path) -> None:
    shutil.rmtree(animals.parent / "images" / "train")
    metrics = loop.evaluate(str(run), "test", data=str(animals))
    assert metrics.base.n == 3
    assert len(metrics.rounds) == 2
    with pytest.raises(SeeWhyError, match=r"has no train images, among which CS selects .* leave out --consistency"):
        loop.evaluate(str(run), "test", data=str(animals), consistency=True)


def test_a_run_started_again_without_its_controls_keeps_showing_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = unsealed_json((copy / "metrics.json").read_bytes())
    config = replace(restore_config(read_manifest(copy)["config"]), output=str(copy), controls=())
    monkeypatch.setattr(VisionLanguageModel, "load", lambda *_args, **_kwargs: pytest.fail("work was done again"))
    assert as_values(loop.run(config)) == before
    assert [r["round"] for r in before["nl"]] == [1, 2]
    assert before["nl"][0]["training_answers"]
    assert unsealed_json((copy / "metrics.json").read_bytes()) == before
    assert "NL, round 2" in write_page(str(copy)).read_text(encoding="utf-8")
