"""`seewhy explain` on a run folder with a tiny model."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures_data import image_folder
from seewhy.cli import main
from seewhy.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import VOCABULARY_FILE, Vocabulary
from seewhy.errors import SeeWhyError
from seewhy.explanation import explain
from seewhy.report.pictures import overlay
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder
from seewhy.run.stages import BASE, ModelKey
from seewhy.vlm.sampling import BatchSampler
from tiny import tiny_llava

GREEDY = "This is a Fish Crow: it has black wings and a yellow bill."
SAMPLED = [GREEDY, GREEDY, "This is a Fish Crow. Its bill is yellow.", "A Crow with black wings."]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = image_folder(tmp_path_factory.mktemp("data"), train=1, test=1)
    base = tiny_llava(root / "model")
    config = RunConfig(
        output=str(root / "run"),
        rounds=10,
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path=str(base), device="cpu", batch_size=8),
        evaluate=EvaluateConfig(max_new_tokens=8),
    )
    folder = RunFolder(config.output, seed=0, shard_size=4)
    with folder.lock():
        folder.check([], config=asdict(config))
    for round in (1, 10):
        tiny_llava(root / "run" / "stages" / f"round-{round}" / "model" / "model", seed=round)
    return root / "run"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my birds" / "photo 1.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(self, prompts, sampling, seed):
        texts = [GREEDY] if sampling.temperature == 0 else SAMPLED[: sampling.samples]
        return [texts for _ in prompts]

    monkeypatch.setattr(BatchSampler, "sample", sample)


@pytest.mark.usefixtures("talkative")
def test_label_confidence_reasons_and_pictures(run: Path, photo: Path, tmp_path: Path):
    (said,) = explain(str(run), [str(photo)], samples=4, output=str(tmp_path / "out"))
    assert (said.label, said.confidence, said.answer) == ("Fish Crow", 0.75, GREEDY)
    assert said.sampled == {"Fish Crow": 3, "Crow": 1}
    assert [(r.concept, r.support) for r in said.reasons] == [("black wings", 0.75), ("yellow bill", 0.75)]
    assert said.no_overlay is None
    for reason in said.reasons:
        with Image.open(str(reason.overlay)) as picture:
            assert picture.width == 614
            assert picture.height > 384  # with a caption and a legend
    assert len(list((tmp_path / "out" / "my-birds-photo-1").glob("*.png"))) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("talkative")
def test_json_and_text(run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = ["explain", str(run), str(photo), str(photo), "--samples", "4", "--output", str(tmp_path / "out")]
    assert main([*given, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["label"] == "Fish Crow"
    assert first["reasons"][0]["overlay"] != second["reasons"][0]["overlay"]
    assert main(given) == 0
    out = capsys.readouterr().out
    assert "Fish Crow  3 of 4 sampled answers agree" in out
    assert "yellow bill  in 3 of 4" in out


def test_a_model_that_names_nothing(run: Path, photo: Path):
    (said,) = explain(str(run), [str(photo)], samples=2)
    assert (said.label, said.confidence, said.reasons) == (None, 0.0, ())
    assert said.sampled == {"": 2}


def test_the_last_round_is_the_greatest_number(run: Path):
    opened = FinishedRun.open(run)
    assert opened.rounds == [1, 10]
    assert opened.method_model() == ModelKey("rounds", 10)
    assert opened.models[opened.method_model(1)] == run / "stages/round-1/model/model"
    assert opened.models[BASE] == opened.base == run.parent / "model"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "PHOTO"], "nowhere is no run folder"),
        (["RUN", "missing.png"], "missing.png cannot be read"),
        (["RUN", "EMPTY"], "is empty"),
        (["RUN", "PHOTO", "--round", "3"], "has no model of round 3; it has those of round 1, 10"),
        (["RUN", "PHOTO", "--samples", "0"], "samples is 0, but takes a whole number, at least 1"),
    ],
)
def test_clear_errors(run: Path, photo: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    empty = photo.with_name("empty.png")
    empty.touch()
    places = {"RUN": str(run), "PHOTO": str(photo), "EMPTY": str(empty)}
    assert main(["explain", *(places.get(a, a) for a in arguments)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("talkative")
def test_a_run_is_read_with_its_own_words(run: Path, photo: Path, request: pytest.FixtureRequest):
    """Labels, aliases and concepts are those of the run, not of a bank that has changed since, nor without aliases."""
    words = Vocabulary(
        ("Corvus", "Pica"),
        ConceptBank({"Corvus": ("black wings",), "Pica": ("long tail",)}, {"Corvus": ("fish crow",)}),
    )
    (run / VOCABULARY_FILE).write_text(json.dumps(words.record()))
    request.addfinalizer((run / VOCABULARY_FILE).unlink)
    [told] = explain(str(run), [str(photo)], round=1, samples=4)
    assert (told.label, told.confidence) == ("Corvus", 0.75)
    assert [reason.concept for reason in told.reasons] == ["black wings"]

    (run / VOCABULARY_FILE).write_text("{")
    with pytest.raises(SeeWhyError, match=r"vocabulary.json cannot be read"):
        explain(str(run), [str(photo)], round=1, samples=4)


def test_a_run_without_models(photo: Path, tmp_path: Path):
    folder = RunFolder(tmp_path / "run", seed=0, shard_size=4)
    with folder.lock():
        folder.check([], config=asdict(RunConfig()))
    with pytest.raises(SeeWhyError, match="has no tuned model yet"):
        explain(str(tmp_path / "run"), [str(photo)])


def test_the_overlay_keeps_colour_where_the_heat_is():
    heat = np.zeros((4, 4))
    heat[1, 2] = 3.0
    picture = np.asarray(overlay(Image.new("RGB", (400, 400), "blue"), heat, (0, 0, 400, 400)), dtype=int)
    saturation = picture.max(-1) - picture.min(-1)
    assert saturation[150, 250] > 60
    assert saturation[350, 50] == 0
