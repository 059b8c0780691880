"""A run after verdicts: only what they touch is made anew, and everything else keeps its bytes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures_data import CONCEPTS
from run_folders import tree
from seewhy.config import RunConfig
from seewhy.domain.concepts import load_concepts
from seewhy.domain.verdicts import Verdict, append, new_verdict, read_verdicts
from seewhy.errors import SeeWhyError
from seewhy.proof.audit import audit
from seewhy.records import Answer, Candidate, Selection
from seewhy.run import loop
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_records
from seewhy.run.stages import OURS, StageKey
from tiny_run import tiny_run

EVERY_ANSWER = "round-1/answers"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunConfig]:
    root = tmp_path_factory.mktemp("made")
    config = tiny_run(
        root,
        tokens=6,
        shard_size=5,
        select={"minimum": 1},
        synthesise={"answers_per_image": 2, "fallback": "reasons"},
        evaluate={"bootstrap": 20, "consistency": False, "fluency": False},
    )
    loop.run(config)
    return root, config


@pytest.fixture
def reviewed(made: tuple[Path, RunConfig], tmp_path: Path) -> RunConfig:
    """A copy of the run, with a verdict file of its own."""
    root, config = made
    shutil.copytree(root / "run", tmp_path / "run")
    shutil.copy(root / "concepts.yaml", tmp_path / "concepts.yaml")
    data = replace(config.data, concepts=str(tmp_path / "concepts.yaml"))
    return replace(config, output=str(tmp_path / "run"), data=data)


def say(config: RunConfig, name: str, verdict: str, concept: str = "", kind: Any = "concept", **about: Any) -> Verdict:
    example = {e.id: e for e in FinishedRun.open(config.output).domain.examples}[name]
    if kind in ("label", "bank"):
        about["label"] = example.label
    given = new_verdict("Ada", kind, verdict, image=name, sha256=example.sha256, concept=concept, **about)
    assert append(Path(config.data.concepts or "").with_name("verdicts.jsonl"), given)
    return given


def selected(config: RunConfig, name: str) -> set[str]:
    return {s.concept for s in FinishedRun.open(config.output).selections() if s.example_id == name and s.selected}


def answers(run: str | Path, name: str = EVERY_ANSWER) -> dict[str, list[str]]:
    """Each train image's answers, as text: a score that is missing is equal to no other."""
    found: dict[str, list[str]] = {}
    for answer in read_records(Path(run), name, Answer):
        found.setdefault(answer.example_id, []).append(repr(answer))
    return found


def shards(files: dict[str, str], *stages: str) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if name.startswith(tuple(f"stages/{s}/" for s in stages))}


def test_only_what_a_verdict_touches_is_made_anew(
    made: tuple[Path, RunConfig], reviewed: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before, answered = tree(Path(reviewed.output)), answers(reviewed.output)
    name = "train/Crow/1"
    other = next(c for c in CONCEPTS["Crow"] if c not in selected(reviewed, name))
    given = say(reviewed, name, "right", other)
    with pytest.raises(SeeWhyError, match="now made from the stage verdicts too"):
        loop.run(reviewed)
    message = capsys.readouterr().err
    assert "the selection of 1 of 12 train images and their 2 answers of round 1" in message
    assert "the tuning of round 1, with these" in message
    assert "the answers of round 1 of the other 11 images" in message
    unmade = tree(Path(reviewed.output))
    assert {k: v for k, v in unmade.items() if k in before} == before

    loop.run(reviewed, discard_stale=True)
    after, anew = tree(Path(reviewed.output)), answers(reviewed.output)
    kept = shards(before, "describe", "select", "base")
    assert kept
    assert kept.items() <= after.items()
    changed = {path for path in shards(before, EVERY_ANSWER) if after[path] != before[path]}
    assert len(changed) == 1
    assert {n: rows for n, rows in anew.items() if n != name} == {n: r for n, r in answered.items() if n != name}
    assert len(anew[name]) == 2
    assert other in selected(reviewed, name)
    path = changed.pop()
    assert after[f"discarded/1/{path}"] == before[path]
    model = "stages/round-1/model/model/model.safetensors"
    assert after[f"discarded/1/{model}"] == before[model] != after[model]

    path = Path(reviewed.data.concepts or "").with_name("verdicts.jsonl")
    append(path, new_verdict("Ada", "undo", "undo", of=given.id))
    loop.run(reviewed, discard_stale=True)
    back = answers(reviewed.output)
    assert {n: rows for n, rows in back.items() if n != name} == {n: r for n, r in answered.items() if n != name}
    assert selected(reviewed, name) == selected_before(reviewed, name)
    assert not FinishedRun.open(reviewed.output).corrections
    once_more = tree(Path(reviewed.output))
    loop.run(reviewed)
    assert tree(Path(reviewed.output)) == once_more


def test_a_wrong_label_takes_the_image_out_of_every_round(reviewed: RunConfig) -> None:
    say(reviewed, "train/Crow/1", "wrong", kind="label")
    sampling = replace(reviewed.sample, queries_per_image=1, samples_per_query=1)
    more = replace(reviewed, rounds=2, controls=("class_level",), sample=sampling)
    loop.run(more, discard_stale=True)
    finished = FinishedRun.open(reviewed.output)
    for round in (1, 2):
        for arm in ("", "class_level/"):
            learnt = answers(reviewed.output, f"{arm}round-{round}/answers")
            assert learnt.keys() == {f"train/{c}/{n}" for c in CONCEPTS for n in range(4)} - {"train/Crow/1"}
    sampled = finished.complete_records(OURS.stage("candidates", 2), Candidate)
    assert "train/Crow/1" not in {candidate.example_id for candidate in sampled}
    assert audit(finished).rounds[0].whole.answers == 22


def test_a_struck_and_a_reworded_concept_change_the_bank_of_the_class(reviewed: RunConfig) -> None:
    before, answered = tree(Path(reviewed.output)), answers(reviewed.output)
    say(reviewed, "train/Crow/1", "right", "wing bars")
    say(reviewed, "train/Crow/0", "struck", "wing bars", "bank")
    say(reviewed, "train/Crow/0", "reworded", "black wings", "bank", wording="black long wings")
    loop.evaluate(reviewed.output, "test")  # a finished run is read as it was made
    unchanged = FinishedRun.open(reviewed.output)
    assert unchanged.domain.concepts["Crow"] == tuple(CONCEPTS["Crow"])
    assert not unchanged.corrections
    loop.run(reviewed, discard_stale=True)
    loop.evaluate(reviewed.output, "test")
    finished = FinishedRun.open(reviewed.output)
    crow = ("black long wings", "orange legs", "white belly with spots")
    assert finished.bank.concepts == {**{k: tuple(v) for k, v in CONCEPTS.items()}, "Crow": crow}
    assert load_concepts(reviewed.data.concepts or "")["Crow"] == tuple(CONCEPTS["Crow"])
    concepts = {s.concept for s in finished.selections() if s.example_id.startswith("train/Crow/")}
    assert concepts == set(crow)
    after, anew = tree(Path(reviewed.output)), answers(reviewed.output)
    kept = shards(before, "describe", "select", "base")
    assert kept.items() <= after.items()
    untouched = [
        n for n in answered if "train/Crow/" not in n and selected_before(reviewed, n) == selected(reviewed, n)
    ]
    assert len(untouched) >= 6
    assert all(anew[n] == answered[n] for n in untouched)
    assert finished.domain.concepts["Crow"] == crow


def selected_before(config: RunConfig, name: str) -> set[str]:
    rows = read_records(Path(config.output), "select", Selection)
    return {s.concept for s in rows if s.example_id == name and s.selected}


def test_verdicts_on_test_images_measure_and_make_nothing_anew(reviewed: RunConfig) -> None:
    before = tree(Path(reviewed.output))
    assert "stated_true" not in json.loads((Path(reviewed.output) / "metrics.json").read_text())["base"]
    phrases = sorted({c for of in CONCEPTS.values() for c in of})
    for label in CONCEPTS:
        for number in range(2):
            name, visible, absent = f"test/{label}/{number}", tuple(phrases[:3]), tuple(phrases[3:])
            say(reviewed, name, "complete", kind="marks", visible=visible, absent=absent)
    say(reviewed, "test/Crow/0", "struck", "wing bars", "bank")
    say(reviewed, "test/Crow/0", "wrong", kind="label")
    metrics = loop.run(reviewed)
    assert metrics.base.stated_verified is not None
    after = tree(Path(reviewed.output))
    assert {n: d for n, d in after.items() if n.startswith("stages/")} == {
        n: d for n, d in before.items() if n.startswith("stages/")
    }
    assert "verdicts" not in FinishedRun.open(reviewed.output).manifest["stages"]
    loop.evaluate(reviewed.output, "test")


def test_a_run_from_the_start_obeys_verdicts(reviewed: RunConfig) -> None:
    say(reviewed, "train/Crow/1", "wrong", kind="label")
    elsewhere = replace(reviewed, output=str(Path(reviewed.output).with_name("anew")))
    loop.run(elsewhere)
    assert "train/Crow/1" not in answers(elsewhere.output)
    assert FinishedRun.open(elsewhere.output).corrections.out == {"train/Crow/1"}
    assert read_verdicts(Path(reviewed.data.concepts or "").with_name("verdicts.jsonl"))
    assert StageKey("verdicts") == StageKey.parse("verdicts")
