"""A run with the shipped base stops after the descriptions where it has no words for the bank, and only there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import yaml

from seewhy.config import DataConfig, DescribeConfig, EvaluateConfig, ModelConfig, RunConfig, SelectConfig
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import make_guide
from seewhy.records import Description
from seewhy.results import Support
from seewhy.results_json import find
from seewhy.run import loop
from seewhy.run.folder import read_records
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

GROCERIES = Path(__file__).parents[2] / "shared" / "data" / "grocery_fruit"
VEGETABLES = (
    "crinkled cabbage leaves", "thick leek stalk", "feathery carrot tops", "papery onion layers", "earthy potato peel",
    "swollen beet bulb", "ridged cucumber flesh", "leafy white rib", "folded outer leaf", "layered bulb",
)  # fmt: skip


def settings(root: Path, data: DataConfig) -> RunConfig:
    return RunConfig(
        output=str(root / "run"),
        rounds=0,
        data=data,
        model=ModelConfig(device="cpu", batch_size=32),
        describe=DescribeConfig(prompts_per_image=1, samples_per_prompt=4, max_new_tokens=32),
        select=SelectConfig(encoder="fieldguide"),
        evaluate=EvaluateConfig(max_new_tokens=8, bootstrap=20, consistency=False, fluency=False),
    )


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    root = tmp_path_factory.mktemp("guide")
    return settings(root, make_guide(root / "drawn", {"train": 2, "test": 1}))


@pytest.fixture(scope="module")
def foreign(guide: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The same drawings with a bank of which the base can say one phrase in four."""
    root = tmp_path_factory.mktemp("foreign")
    assert guide.data.concepts
    labels = list(yaml.safe_load(Path(guide.data.concepts).read_text()))
    bank = {label: [*VEGETABLES[n % 3 :: 3], "red crown", "black bill"] for n, label in enumerate(labels)}
    (root / "bank.yaml").write_text(yaml.safe_dump(bank))
    return settings(root, replace(guide.data, concepts=str(root / "bank.yaml"), truth=None))


def test_a_bank_in_the_bases_words_is_no_obstacle(guide: RunConfig, capsys: pytest.CaptureFixture[str]):
    loop.run(guide)
    found = find(Path(guide.output) / Support.FILE, Support)
    assert found is not None
    assert found.share > 0.6
    assert f"of {found.phrases} phrases" in capsys.readouterr().err


def test_a_bank_in_other_words_stops_the_run_with_its_descriptions_kept(
    foreign: RunConfig, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(SeeWhyError, match=r"2 of 12 phrases \(17 %\)") as stopped:
        loop.run(foreign)
    for words in ("thick leek stalk (never said: ", "birds and of fruit", "--keep_going true"):
        assert words in str(stopped.value)
    assert len(read_records(Path(foreign.output), "describe", Description)) == 24 * 2 * 4
    assert not (Path(foreign.output) / "stages" / "select").exists()
    assert json.loads((Path(foreign.output) / "support.json").read_text())["supported"] == 2
    with monkeypatch.context() as patch:
        patch.setattr(VisionLanguageModel, "load", lambda *_args, **_kwargs: pytest.fail("described again"))
        with pytest.raises(SeeWhyError, match="2 of 12 phrases"):
            loop.run(foreign)


def test_it_goes_on_where_it_is_told_to(foreign: RunConfig, capsys: pytest.CaptureFixture[str]):
    metrics = loop.run(replace(foreign, keep_going=True))
    assert metrics.base.n == 24
    assert "2 of 12 phrases (17 %)" in capsys.readouterr().err


def test_a_stage_that_drops_its_texts_says_so_at_once(
    guide: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    texts = iter(["", "", "", "It has a red crown. <image>"] * 1000)
    monkeypatch.setattr(BatchSampler, "_decode", lambda *_args: next(texts))
    with pytest.raises(SeeWhyError, match="0 of 66 phrases"):
        loop.run(replace(guide, output=str(tmp_path / "run")))
    told = capsys.readouterr().err
    assert "describe: 192 of 192 texts were dropped (100 %)" in told
    assert told.index("- empty (144): ") < told.index("- holds a marker of the model (48): ")


@pytest.mark.skipif(not GROCERIES.is_dir(), reason="the photos of ../shared/data/grocery_fruit are not there")
def test_fruit_on_photos_is_not_stopped_and_vegetables_are(tmp_path: Path):
    for split, count in (("train", 2), ("test", 1)):
        for label in sorted((GROCERIES / split).iterdir())[:12]:
            place = tmp_path / "photos" / split / label.name
            place.mkdir(parents=True)
            for photo in sorted(label.iterdir())[:count]:
                shutil.copy(photo, place)
    labels = [label.name for label in sorted((tmp_path / "photos" / "train").iterdir())]
    own = yaml.safe_load((GROCERIES / "concepts.yaml").read_text())
    for name, bank in (
        ("fruit", {label: own[label] for label in labels}),
        ("vegetables", {label: [*VEGETABLES, "round body", "smooth skin"] for label in labels}),
    ):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(bank))
    data = DataConfig(str(tmp_path / "photos"), str(tmp_path / "fruit.yaml"), noun="fruit")
    loop.run(settings(tmp_path, data))
    found = find(tmp_path / "run" / Support.FILE, Support)
    assert found is not None
    assert found.share > 0.5
    other = replace(data, concepts=str(tmp_path / "vegetables.yaml"))
    with pytest.raises(SeeWhyError, match=r"2 of 12 phrases"):
        loop.run(replace(settings(tmp_path, other), output=str(tmp_path / "other")))


@pytest.mark.parametrize(
    ("preset", "keep_going", "stops"),
    [("ours", False, True), ("ours", True, False), ("paper", True, True), ("paper", False, True)],
)
def test_that_the_paper_has_no_gate_is_not_the_users_word(
    preset: Literal["ours", "paper"], *, keep_going: bool, stops: bool
):
    assert loop.stops_without_words(RunConfig(preset=preset, keep_going=keep_going)) is stops
