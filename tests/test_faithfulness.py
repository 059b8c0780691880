"""`seewhy faithfulness` and `seewhy general` on run folders with tiny models, and who sees against who recites."""

import json
import re
import stat
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fixtures_data import image_folder
from seewhy.cli import main
from seewhy.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import draw_example, make_guide
from seewhy.fieldguide.quiz import listed
from seewhy.fieldguide.redraw import attribute_of
from seewhy.fieldguide.world import make_species
from seewhy.proof.ability import benchmarks, general
from seewhy.proof.faithfulness import faithfulness
from seewhy.report.figures import FIGURES
from seewhy.report.terminal import benchmark_table
from seewhy.results import BenchmarkScores, Faithfulness, Gate
from seewhy.results_json import decode, read
from seewhy.run import models
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder
from seewhy.vlm.sampling import BatchSampler
from tiny import tiny_llava

TALKATIVE = "This is a Fish Crow: it has black wings and a yellow bill."


def recorded(config: RunConfig, models: dict[str, int]) -> Path:
    """A run folder that knows its settings and holds tiny models: stage -> seed."""
    folder = RunFolder(config.output, seed=0, shard_size=4)
    with folder.lock():
        folder.check([], config=asdict(config))
    for stage, seed in models.items():
        tiny_llava(folder.path / "stages" / stage / "model" / "model", seed=seed)
    return folder.path


@pytest.fixture(scope="module")
def guide_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("guide")
    make_guide(root / "run" / "fieldguide", {"train": 1, "val": 1, "test": 1})
    evaluate = EvaluateConfig(split="val", max_new_tokens=6, bootstrap=20)
    model = ModelConfig(name_or_path=str(tiny_llava(root / "base")), device="cpu", batch_size=32)
    config = RunConfig(output=str(root / "run"), rounds=2, controls=("nl", "lge"), model=model, evaluate=evaluate)
    return recorded(config, {"round-1": 1, "round-2": 2, "lge/round-2": 3})


@pytest.fixture
def photo_run(tmp_path: Path) -> Path:
    root = image_folder(tmp_path, train=1, test=2)
    config = RunConfig(
        output=str(root / "run"),
        rounds=1,
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path=str(tiny_llava(root / "model")), device="cpu", batch_size=8),
        evaluate=EvaluateConfig(max_new_tokens=6, bootstrap=20),
    )
    return recorded(config, {"round-1": 1})


def seer(picture: str, image: np.ndarray, truth: dict[str, list[str]]) -> list[str]:
    """Says what is to be seen in this very image: which value it has, and nothing of a part that is covered."""
    kind, example, reason = re.fullmatch(r"(?:(\w+) )?(val/.*/\d+)(?:, (.*))?", picture).groups()  # pyright: ignore[reportOptionalMemberAccess]
    seen = list(truth[example])
    if kind in ("hidden", "attributed"):
        seen.remove(reason)
    if kind == "changed":
        _, label, number = example.split("/")
        bird = next(s for s in make_species() if s.name == label)
        attribute, _ = attribute_of(reason) or pytest.fail(reason)
        for value, (phrase, *_) in attribute.values.items():
            drawn = draw_example(bird, "val", int(number), {attribute.name: value})[1].image
            if (np.asarray(drawn) == image).all():
                seen[seen.index(reason)] = phrase
    return seen


def reciter(picture: str, image: np.ndarray, truth: dict[str, list[str]]) -> list[str]:
    """Says of every image of a bird what is true of the one that it knows."""
    return truth[re.search(r"val/.*?/\d+", picture)[0]]  # pyright: ignore[reportOptionalSubscript]


def answering(monkeypatch: pytest.MonkeyPatch, run: Path, says) -> None:
    lines = (run / "fieldguide" / "truth.jsonl").read_text().splitlines()
    truth = {t["image"].removesuffix(".png"): t["visible"] for t in map(json.loads, lines)}

    def sample(self, prompts, sampling, seed):
        seen = [says(p.image, np.asarray(self.opener(p.image)), truth) for p in prompts]
        return [[f"This is a bird: it has {listed(phrases)}."] for phrases in seen]

    monkeypatch.setattr(BatchSampler, "sample", sample)


SEER = {
    "counterfactual_changes": 1.0, "counterfactual_follows": 1.0, "counterfactual_changes_control": 0.0,
    "survives_hidden": 0.0, "survives_covered_elsewhere": 1.0, "cover_gone": 1.0, "cover_gone_random": 0.0,
}  # fmt: skip
RECITER = {
    "counterfactual_changes": 0.0, "counterfactual_follows": 0.0, "survives_hidden": 1.0, "cover_gone": 0.0,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("says", "expected"), [(seer, SEER), (reciter, RECITER)])
def test_who_sees_follows_the_evidence_and_who_recites_does_not(
    guide_run: Path, monkeypatch: pytest.MonkeyPatch, says, expected: dict[str, float]
) -> None:
    (guide_run / "faithfulness.json").unlink(missing_ok=True)
    answering(monkeypatch, guide_run, says)
    found = faithfulness(str(guide_run), images=6, arms=["rounds"])
    model = found.models["rounds"]
    assert {name: model.figures[name].value for name in expected} == expected
    assert model.model == "round-2"
    assert 0 <= model.figures["pointing_chance"].value < 0.5
    assert len(model.tests) == sum(model.counts["counterfactual_changes"][1]) >= 6
    fates = {test.fate for test in model.tests}
    assert fates == ({"follows"} if says is seer else {"survives"})


@pytest.mark.slow
def test_both_arms_are_tested_once_and_by_their_weights(guide_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (guide_run / "faithfulness.json").unlink(missing_ok=True)
    answering(monkeypatch, guide_run, seer)
    found = faithfulness(str(guide_run), images=3, reasons=1)
    assert {key: model.model for key, model in found.models.items()} == {
        "rounds": "round-2",
        "lge": "lge/round-2",
    }
    written = read(guide_run / Faithfulness.FILE, Faithfulness)
    assert written == found

    def loaded(*_args, **_options) -> None:
        raise AssertionError("tested before")

    monkeypatch.setattr(models, "load_model", loaded)
    assert faithfulness(str(guide_run), images=3, reasons=1) == written
    with pytest.raises(AssertionError):
        faithfulness(str(guide_run), images=4, reasons=1)


def test_photos_without_truth_are_covered_and_swapped(
    photo_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random images and a model that always says the same: nothing follows, and every test says so."""
    monkeypatch.setattr(BatchSampler, "sample", lambda self, prompts, sampling, seed: [[TALKATIVE] for _ in prompts])
    assert main(["faithfulness", str(photo_run), "--images", "6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    figures = found["models"]["rounds"]["figures"]
    shares = {name: value for name, value in figures.items() if f"{name}_n" in figures}
    assert shares == {
        "swap_label_changes": 0, "swap_reason_changes": 0,
        "cover_gone": 0, "cover_label_changes": 0, "cover_gone_random": 0, "cover_label_changes_random": 0,
    }  # fmt: skip
    assert "counts" not in found["models"]["rounds"]
    assert main(["faithfulness", str(photo_run), "--images", "6"]) == 0
    assert FIGURES["cover_gone"].name in capsys.readouterr().out


def test_a_model_that_says_nothing(photo_run: Path) -> None:
    figures = faithfulness(str(photo_run), images=4).models["rounds"].figures
    assert figures["swap_label_changes"].value == 0
    assert "cover_gone" not in figures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": ["nl2"]}, "no arm 'nl2'; it has base, rounds"),
        ({"split": "val"}, "no val images of two classes"),
        ({"round": 7}, "no model of round 7"),
        ({"images": 1}, "at least 2 images"),
    ],
)
def test_clear_errors(photo_run: Path, options: dict, message: str) -> None:
    with pytest.raises(SeeWhyError, match=re.escape(message)):
        faithfulness(str(photo_run), **options)
    with pytest.raises(SeeWhyError, match="no run folder"):
        faithfulness(str(photo_run / "nowhere"))


def test_general_ability_is_asked_of_the_shipped_base_alone(photo_run: Path) -> None:
    with pytest.raises(SeeWhyError, match=r"--tasks mmmu_val"):
        general(str(photo_run))


@pytest.mark.slow
def test_general_ability_before_and_after(guide_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig(
        output=str(tmp_path / "run"),
        rounds=2,
        model=ModelConfig(device="cpu", batch_size=32),
        evaluate=EvaluateConfig(split="val", max_new_tokens=24, bootstrap=20),
    )
    run = recorded(config, {"round-1": 1})  # a random model: all that it could do is forgotten
    found = general(str(run), images=2)
    assert found.drawings is not None
    models = found.drawings.models
    assert list(models) == ["base", "round-1"]
    base, after = models["base"].figures, models["round-1"]
    assert base["attribute_accuracy"].value > 0.5
    assert after.figures["attribute_accuracy"].value == 0
    assert after.minus_base is not None
    assert after.minus_base["attribute_accuracy"].value == -base["attribute_accuracy"].value
    assert {"attribute_accuracy_produce", "described_recall_produce"} <= base.keys()
    assert general(str(run), images=2) == found
    assert main(["general", str(run), "--images", "2"]) == 0
    assert "attribute named, birds" in " ".join(capsys.readouterr().out.split())


FAKE = """#!{python}
import json, pathlib, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
path = given["--model_args"].removeprefix("pretrained=")
out = pathlib.Path(given["--output_path"]) / path.replace("/", "__")
out.mkdir(parents=True)
tuned = "round-" in path
if given["--tasks"] == "broken":
    sys.exit(3)
if given["--tasks"] != "silent":
    results = {{t: {{"alias": t, "acc,none": 0.3 if tuned else 0.4, "acc_stderr,none": 0.03}}
               for t in given["--tasks"].split(",")}}
    (out / "20260101_120000_results.json").write_text(json.dumps({{"results": results}}))
(out / "call.json").write_text(json.dumps(sys.argv[1:]))
print("a table")
"""


@pytest.fixture
def fake(tmp_path: Path) -> str:
    """A program that takes lmms-eval's options and leaves results as it does."""
    path = tmp_path / "lmms_eval"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_benchmarks_before_and_after(photo_run: Path, fake: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--images", "2", "--lmms_eval", fake]
    assert main(["general", str(photo_run), "--tasks", "mmmu_val,mmstar", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)["lmms_eval"]
    assert found["models"]["base"] == {"scores": {"mmmu_val/acc": 0.4, "mmstar/acc": 0.4}}
    after = found["models"]["round-1"]["minus_base"]["mmmu_val/acc"]
    assert after == pytest.approx([-0.1, -0.1 - 1.96 * 0.03 * 2**0.5, -0.1 + 1.96 * 0.03 * 2**0.5])
    calls = [json.loads(path.read_text()) for path in photo_run.glob("general/*/*/call.json")]
    assert len(calls) == 2
    assert all(call[:2] == ["--model", "llava_hf"] for call in calls)
    Path(fake).unlink()  # what is there is not computed again, and not even the program is needed
    Path(fake).write_text("#!/bin/false")
    Path(fake).chmod(0o755)
    assert main(["general", str(photo_run), "--tasks", "mmstar", *options]) == 0
    assert "mmstar/acc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tasks", "command", "message"),
    [
        ("mme", "no/such/program -m lmms_eval", "there is no program 'no/such/program -m lmms_eval'"),
        ("mme", None, "lmms-eval is not installed"),
        ("broken", "FAKE", "ended with code 3"),
        ("silent", "FAKE", "left no results"),
        ("", "FAKE", "names no task"),
    ],
)
def test_lmms_eval_that_does_not_work(
    photo_run: Path, fake: str, monkeypatch: pytest.MonkeyPatch, tasks: str, command: str | None, message: str
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(SeeWhyError, match=re.escape(message)):
        benchmarks(str(photo_run), [t for t in [tasks] if t], command=fake if command == "FAKE" else command)


def test_a_benchmark_table_has_every_score() -> None:
    models = {"base": {"scores": {"a/x": 0.5}}, "round-1": {"scores": {"a/x": 0.4}, "minus_base": {"a/x": [-0.1]}}}
    console = Console(record=True, width=100)
    console.print(benchmark_table({name: decode(BenchmarkScores, of) for name, of in models.items()}))
    assert "0.4 -0.1" in console.export_text()


def test_results_of_other_settings_and_damaged_ones_are_made_anew(
    photo_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchSampler, "sample", lambda self, prompts, sampling, seed: [[""] for _ in prompts])
    file = photo_run / Faithfulness.FILE
    first = faithfulness(str(photo_run), images=4)
    assert faithfulness(str(photo_run), images=2).images == 2
    assert read(file, Faithfulness).images == 2
    for damaged in ("{", '{"models": {"rounds": 1}}'):
        file.write_text(damaged)
        assert faithfulness(str(photo_run), images=4) == first
    file.write_text(json.dumps({"version": 99}))  # nothing of a newer SeeWhy is overwritten
    with pytest.raises(SeeWhyError, match="made by a newer SeeWhy"):
        faithfulness(str(photo_run), images=4)


def test_a_runs_models_are_those_of_the_round(guide_run: Path) -> None:
    run = FinishedRun.open(guide_run)
    models = run.arm_models(["base", "rounds", "nl", "lge"])
    assert {key: str(model) for key, model in models.items()} == {
        "base": "base", "rounds": "round-2", "lge": "lge/round-2",
    }  # fmt: skip
    assert {key: str(model) for key, model in run.arm_models(round=1).items()} == {"rounds": "round-1"}
    assert run.rounds == [1, 2]
    assert run.weights(models["rounds"]) != run.weights(models["lge"])


def test_a_control_is_not_a_round_ahead_of_the_best(guide_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = FinishedRun.open(guide_run)
    # L+GE has no first round here.
    monkeypatch.setattr(run, "gate", Gate(best=1, stopped_after=None, level=0.05, rounds=()))
    assert {key: str(model) for key, model in run.arm_models().items()} == {"rounds": "round-1"}
