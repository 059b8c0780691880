"""The whole loop on a tiny model: what it writes, and that a run killed in any stage ends with the same bytes."""

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fixtures_data import CONCEPTS, image_folder
from killed import contents, start
from run_folders import by_name
from seewhy.config import RunConfig
from seewhy.domain.questions import listed_reasons
from seewhy.errors import SeeWhyError
from seewhy.method.select import selected_concepts
from seewhy.records import Answer, Candidate, Description, Selection
from seewhy.results import Gate, GateRound
from seewhy.run import evaluation, loop
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_records
from seewhy.run.stages import Stages
from tiny_run import tiny_run

STAGES = (
    "describe",
    "select",
    "base/predictions-test",
    "base/likelihoods-test",
    "describe-test",
    "select-test",
    "round-1/answers",
    "round-1/model",
    "nl/round-1/model",
    "class_level/round-1/answers",
    "round-1/predictions-test",
    "round-2/candidates",
    "round-2/answers",
    "round-2/model",
    "unfiltered/round-2/candidates",
    "nl/round-2/predictions-test",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(
        tmp_path_factory.mktemp("data"),
        tokens=12,
        rounds=2,
        controls=("nl", "lge", "unfiltered", "class_level"),
        shard_size=5,
        describe={"prompts_per_image": 2},
        synthesise={"answers_per_image": 2, "fallback": "reasons"},
        tune={"checkpoint_steps": 2},
        sample={"queries_per_image": 2, "fallback": "reasons"},
        evaluate={"bootstrap": 50},
    )


@pytest.fixture(scope="module")
def finished(config: RunConfig) -> Path:
    start(config)
    return Path(config.output)


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_with_the_same_bytes(
    config: RunConfig, finished: Path, tmp_path: Path
) -> None:
    killed = replace(config, output=str(tmp_path / "killed"))
    for stage in STAGES:
        assert start(killed, die_in=stage) == -signal.SIGKILL, stage
    assert start(killed) == 0
    expected, actual = contents(finished), contents(tmp_path / "killed")
    assert actual.keys() == expected.keys()
    assert [name for name in expected if actual[name] != expected[name]] == []


@pytest.mark.slow
def test_what_a_run_writes(config: RunConfig, finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["base"]["n"] == 6
    assert [r["round"] for r in metrics["rounds"]] == [1, 2]
    assert [r["round"] for r in metrics["nl"]] == [1, 2]
    figures = {"accuracy", "accuracy_interval", "accuracy_lenient", "ee", "cs", "cs_interval"}
    assert all(figures <= model.keys() for model in (metrics["base"], *metrics["rounds"], *metrics["nl"]))
    assert {"fs", "fs_interval"} <= metrics["base"].keys()  # a model that says nothing has none
    assert "training_answers" in metrics["rounds"][0]
    assert "stated_true" not in metrics["base"]  # this data set has no ground truth
    assert len(json.loads((finished / "gallery.json").read_text())["cards"]) == 6
    assert yaml.safe_load((finished / "config.yaml").read_text())["rounds"] == 2

    descriptions = read_records(finished, "describe", Description)
    selections = read_records(finished, "select", Selection)
    answers = read_records(finished, "round-2/answers", Answer)
    candidates = read_records(finished, "round-2/candidates", Candidate)
    assert len(selections) == 4 * sum(map(len, CONCEPTS.values()))
    assert {d.example_id for d in descriptions} <= {s.example_id for s in selections}
    assert len(candidates) == 12 * 2 * 2
    assert len(answers) == 12 * 2
    assert all(c.reason for c in candidates)
    assert {a.example_id for a in answers} == {s.example_id for s in selections}


@pytest.mark.slow
def test_names_that_the_model_does_not_write_come_with_the_images_own_concepts(finished: Path) -> None:
    """Random weights write no name: in both rounds an answer that asks for reasons has those selected for its image."""
    chosen = selected_concepts(read_records(finished, "select", Selection))
    labels = FinishedRun.open(finished).labels
    for round in (1, 2):
        answers = read_records(finished, f"round-{round}/answers", Answer)
        listed = [a for a in answers if a.source == "listed"]
        assert len(listed) > len(answers) / 4
        for a in listed:
            assert a.kind in ("explain", "cot")
            assert a.text == listed_reasons(labels[a.example_id], chosen[a.example_id], a.kind)
        assert not any(a.source == "label sentence" and a.kind != "simple" for a in answers)


@pytest.mark.slow
def test_the_controls_are_asked_what_the_method_is_asked(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    rounds = [r["round"] for key in ("lge", "unfiltered", "class_level") for r in metrics[key]]
    assert rounds == [1, 2] * 3
    shared = {"accuracy", "ee", "stated_per_answer", "training_answers"}
    ours, unfiltered = metrics["rounds"][0], metrics["unfiltered"][0]
    assert {k: ours[k] for k in shared} == {k: unfiltered[k] for k in shared}  # one model until round 2
    assert not (finished / "stages/unfiltered/round-1").exists()

    def asked(arm: str) -> list[tuple[str, str]]:
        return [(c.example_id, c.query) for c in read_records(finished, f"{arm}round-2/candidates", Candidate)]

    assert asked("") == asked("unfiltered/") == asked("class_level/")
    drawn = read_records(finished, "unfiltered/round-2/answers", Answer)
    unusable = re.compile(r"empty|a marker of the model")
    assert all(answer.source == "sampled" for answer in drawn if not unusable.search(answer.reason))
    assert sum(answer.source == "sampled" for answer in drawn) > len(drawn) / 2
    first = read_records(finished, "round-1/answers", Answer)
    whole = read_records(finished, "class_level/round-1/answers", Answer)
    assert [a.id for a in first] == [a.id for a in whole]


@pytest.mark.slow
def test_a_changed_setting_is_named_and_its_stages_too(config: RunConfig, finished: Path) -> None:
    changed = replace(config, tune=replace(config.tune, epochs=2))
    with pytest.raises(SeeWhyError, match=r"tune\.epochs: 1 -> 2") as error:
        loop.run(changed)
    assert "round-1/model" in str(error.value)
    assert "describe," not in str(error.value)


@pytest.mark.slow
def test_another_split_is_measured_beside_the_first(config: RunConfig, finished: Path) -> None:
    before = (finished / "metrics.json").read_bytes()
    metrics = loop.evaluate(str(finished), "train")
    assert metrics.base.n == 12
    assert (finished / "metrics-train.json").exists()
    assert (finished / "metrics.json").read_bytes() == before


def test_a_folder_without_a_run_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match="no run folder"):
        loop.evaluate(str(tmp_path), "test")


def test_a_split_without_images_is_refused_before_any_work(config: RunConfig, tmp_path: Path) -> None:
    empty = replace(config, output=str(tmp_path / "run"), evaluate=replace(config.evaluate, split="val"))
    with pytest.raises(SeeWhyError, match="no val images"):
        loop.run(empty)
    assert not (tmp_path / "run" / "stages").exists()


def gate_after(stop: int, best: int):
    """A gate that stops after round `stop`."""

    def judged(rounds: list, *, resamples: int, seed: int, planned: int) -> Gate:
        last = len(rounds)
        worse = ("accuracy",) if last == stop else ()
        return Gate(min(best, last), last if worse else None, 0.05, (GateRound(last, 0.5, None, {}, {}, worse),))

    return judged


@pytest.mark.slow
def test_a_run_stops_after_a_round_that_is_worse(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = image_folder(tmp_path, train=1, test=1, val=1)
    data = replace(config.data, source=str(root / "images"), concepts=str(root / "concepts.yaml"))
    gated = replace(config, output=str(root / "run"), data=data, rounds=3, controls=())
    monkeypatch.setattr(evaluation, "judge_rounds", gate_after(2, best=1))
    metrics = loop.run(gated)
    assert [r.round for r in metrics.rounds] == [1, 2]
    assert "Round 2 is worse than round 1 on the validation images, in accuracy" in capsys.readouterr().err
    assert not (root / "run/stages/round-3").exists()
    assert FinishedRun.open(gated.output).best_round == 1
    assert [r.round for r in loop.evaluate(gated.output, "train").rounds] == [1, 2]
    assert loop.run(gated) == metrics  # started again it stops again
    assert len(loop.run(replace(gated, keep_going=True)).rounds) == 3
    assert FinishedRun.open(gated.output).best_round == 3


@pytest.mark.parametrize(("start_from", "start"), [("previous", "round-1/model"), ("base", "base")])
def test_what_a_round_starts_from(config: RunConfig, start_from: str, start: str) -> None:
    plan = by_name(Stages.of(replace(config, start_from=start_from), "domain", "base", "encoder"))  # pyright: ignore[reportArgumentType]
    assert start in [stage.name for stage in plan["round-2/model"].inputs]
    assert "round-1/model" in [stage.name for stage in plan["round-2/candidates"].inputs]
