"""`seewhy general` on images whose attributes are marked: who sees is right throughout, who names a class is not."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from fixtures_data import image_folder
from marked_cells import make_wbcatt
from seewhy.cli import main
from seewhy.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig
from seewhy.domain.domain import Domain
from seewhy.domain.loaders.wbcatt import ATTRIBUTES, PHRASES
from seewhy.domain.marks_quiz import listed_features, open_answer, yes_no_answer, yes_no_question
from seewhy.errors import SeeWhyError
from seewhy.proof.ability import general, marked_sheets
from seewhy.report.figures import FIGURES
from seewhy.results import ModelAbility
from seewhy.run import models
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder
from seewhy.vlm.sampling import BatchSampler
from tiny import tiny_llava

NOUN = "white blood cell"


def recorded(root: Path, data: DataConfig) -> Path:
    config = RunConfig(
        output=str(root / "run"),
        rounds=1,
        data=data,
        model=ModelConfig(name_or_path=str(tiny_llava(root / "base")), device="cpu", batch_size=32),
        evaluate=EvaluateConfig(split="val", max_new_tokens=6, bootstrap=20),
    )
    folder = RunFolder(config.output, seed=0, shard_size=4)
    with folder.lock():
        folder.check([], config=asdict(config))
    tiny_llava(folder.path / "stages" / "round-1" / "model" / "model", seed=1)
    return folder.path


@pytest.fixture(scope="module")
def cells_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cells")
    images = {"train": 21, "val": 4, "test": 1}
    return recorded(root, DataConfig(source=str(make_wbcatt(root / "data", images)), layout="wbcatt", noun=NOUN))


def right_answer(text: str, visible: tuple[str, ...]) -> str:
    """Answer by the marks alone."""
    for phrase in PHRASES:
        if text == yes_no_question(phrase, NOUN):
            return yes_no_answer(phrase, right=phrase in visible)
    for attribute in sorted(ATTRIBUTES, key=len, reverse=True):
        if f"the {attribute}" in text:
            return open_answer(next(phrase for phrase in ATTRIBUTES[attribute] if phrase in visible))
    return f"It has {listed_features(visible)}."


def answering(monkeypatch: pytest.MonkeyPatch, domain: Domain, forgot: Callable[[], bool]) -> None:
    truth = domain.truth or {}

    def sample(self, prompts, sampling, seed):
        if forgot():
            return [["This is a Neutrophil."] for _ in prompts]
        return [[right_answer(p.text, truth[p.image].visible)] for p in prompts]

    monkeypatch.setattr(BatchSampler, "sample", sample)


def test_what_is_asked_is_about_the_images_of_the_split(cells_run: Path) -> None:
    domain = FinishedRun.open(cells_run).domain
    sheets = marked_sheets(domain, "val", 9, 0)
    assert len(sheets) == 9
    assert len({sheet.name.split("/")[1] for sheet in sheets}) == 3  # spread over the classes
    assert [s.questions for s in sheets] == [s.questions for s in marked_sheets(domain, "val", 9, 0)]
    assert [s.questions for s in sheets] != [s.questions for s in marked_sheets(domain, "val", 9, 1)]
    assert len(marked_sheets(domain, "val", 100, 0)) == 12


def test_the_base_sees_and_the_tuned_model_forgot(
    cells_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = []
    load = models.load_model
    monkeypatch.setattr(models, "load_model", lambda *a, **k: loaded.append(a) or load(*a, **k))
    answering(monkeypatch, FinishedRun.open(cells_run).domain, lambda: len(loaded) > 1)
    found = general(str(cells_run), images=6).drawings
    assert found is not None
    assert (found.split, found.images, list(found.models)) == ("val", 6, ["base", "round-1"])
    abilities = ("attribute_accuracy", "yes_no_accuracy", "described_precision", "described_recall")
    base, tuned = found.models["base"], found.models["round-1"]
    assert {key: base.figures[f"{key}_marked"].value for key in abilities} == dict.fromkeys(abilities, 1.0)
    assert tuned.figures["attribute_accuracy_marked"].value == tuned.figures["yes_no_accuracy_marked"].value == 0
    assert tuned.minus_base is not None
    assert tuned.minus_base["described_recall_marked"].value == -1
    assert all(key in FIGURES for key in base.figures)
    assert isinstance(base, ModelAbility)
    assert general(str(cells_run), images=6).drawings == found
    assert len(loaded) == 2  # what was asked before is not asked again
    assert main(["general", str(cells_run), "--images", "6"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "6 of the data set's own images" in shown
    assert "attribute named, own" in shown


def test_data_without_attributes_names_the_benchmarks(tmp_path: Path) -> None:
    root = image_folder(tmp_path, train=1, test=1)
    data = DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird")
    with pytest.raises(SeeWhyError, match=r"do not say which attributes each image has.*--tasks mmmu_val"):
        general(str(recorded(root, data)))


def test_a_split_without_images(cells_run: Path) -> None:
    with pytest.raises(SeeWhyError, match=r"no other images with marks"):
        general(str(cells_run), split="other")
