"""Copies of train images with a covered part in a run: described, selected for and answered about as whole images are.

They are tuned on beside the images' own answers, in every round and arm, and change nothing else.
"""

import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fixtures_data import CONCEPTS
from run_folders import tree
from seewhy.config import RunConfig
from seewhy.domain.covering import image_of
from seewhy.domain.verdicts import append, new_verdict, verdicts_file
from seewhy.errors import SeeWhyError
from seewhy.proof.audit import audit, audit_run
from seewhy.records import Answer, Description, Selection, Turn
from seewhy.report.terminal import cover_use, print_trace
from seewhy.report.trace import trace
from seewhy.run import loop, steps
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_records
from taught import Killed, noted, shipped_run

ARMS = ("nl", "lge", "unfiltered", "class_level")
COPIES = {f"train/{label}/{n}/covered/0" for label in CONCEPTS for n in range(2)}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The shipped base, which has words, on six train images."""
    tune = {"lora_rank": 2, "learning_rate": 1e-3, "covered": 1.0, "cover_area": 0.25}
    return shipped_run(tmp_path_factory.mktemp("covered"), synthesise={"answers_per_image": 3}, tune=tune)


def without(config: RunConfig) -> RunConfig:
    return replace(config, tune=replace(config.tune, covered=0.0, cover_area=0.125))


def of_copies(turns: list[Turn]) -> list[Turn]:
    return [turn for turn in turns if "\0covered at" in turn.image]


@pytest.fixture(scope="module")
def made(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Turn]]:
    """A run of two rounds with all controls, and what its models were tuned on."""
    with pytest.MonkeyPatch.context() as patch:
        run, taught = tmp_path_factory.mktemp("run") / "run", noted(patch)
        loop.run(replace(config, output=str(run), rounds=2, keep_going=True, controls=ARMS))
    return run, taught


@pytest.mark.slow
def test_copies_are_described_selected_for_and_answered_about(made: tuple[Path, list[Turn]]) -> None:
    run, taught = made
    described = read_records(run, "describe-covered", Description)
    assert {d.example_id for d in described} == COPIES
    whole = {(d.example_id, d.query, d.sample): d.text for d in read_records(run, "describe", Description)}
    assert any(d.text not in whole.values() for d in described)  # they do not show what the images show
    selected = {(s.example_id, s.concept) for s in read_records(run, "select", Selection) if s.selected}
    again = {(s.example_id, s.concept) for s in read_records(run, "select-covered", Selection) if s.selected}
    kept = [s.selected for s in read_records(run, "select-covered", Selection) if "/Crow/" not in s.example_id]
    assert not all(kept)  # select.minimum, 3, would keep all that the class lists
    answers = read_records(run, "round-1/answers-covered", Answer)
    assert answers
    assert {a.kind for a in answers} <= {"explain", "cot"}
    stated = steps.StatedConcepts.of(FinishedRun.open(str(run)).domain)
    for answer in answers:
        image = answer.example_id.removesuffix("/covered/0")
        assert {(answer.example_id, concept) for concept in stated(answer.text)} <= again
        assert {(image, concept) for concept in stated(answer.text)} <= selected
    use = audit(FinishedRun.open(str(run))).covered
    assert use is not None
    assert (use.copies, use.answers) == (len({a.example_id for a in answers}), len(answers))
    assert 0 < use.shown < use.selected
    assert f"taught {len(answers)} answers in each round" in cover_use(replace(audit_run({}, {}, [], {}), covered=use))
    of_class = read_records(run, "class_level/round-1/answers-covered", Answer)
    arms = 2 * len(ARMS) - 1  # ours and all but class_level; unfiltered has one round
    assert len(of_copies(taught)) == len(answers) * arms + len(of_class) * 2
    texts = {turn.answer for turn in of_copies(taught)}
    assert {a.text for a in answers} <= texts
    assert any(text.startswith("This is a") and "It shows" not in text for text in texts)  # NL


@pytest.mark.slow
def test_a_trace_shows_the_copies_of_an_image_and_what_may_be_said_of_them(made: tuple[Path, list[Turn]]) -> None:
    run, _ = made
    for name in sorted(COPIES):
        image = name.removesuffix("/covered/0")
        (copy,) = trace(str(run), image)["copies"]
        assert (copy["id"], len(copy["descriptions"])) == (name, 2)
        assert copy["side"] == 0.5  # a quarter of the image
        assert all(0 <= copy[start] <= 0.5 for start in ("left", "top"))
        assert all(answer["id"].startswith(f"{name}/1/") for answer in copy["answers"])
        assert trace(str(run), name)["copies"] == [copy]
        assert trace(str(run), name)["rounds"] == []
    taught = [copy for name in COPIES for copy in trace(str(run), name)["copies"] if copy["answers"]]
    assert taught
    assert all(copy["shown"] for copy in taught)
    answer = taught[0]["answers"][-1]
    found = trace(str(run), answer["id"])
    assert ([copy["answers"] for copy in found["copies"]], found["rounds"]) == ([[answer]], [])
    for name, message in ((f"{taught[0]['id'][:-1]}7", "has no copy"), (f"{answer['id']}99", "has no answer")):
        with pytest.raises(SeeWhyError, match=message):
            trace(str(run), name)
    print_trace(trace(str(run), taught[0]["id"]), Console(file=(printed := StringIO()), width=200))
    assert "A copy, covered from " in printed.getvalue()
    assert answer["text"][:40] in printed.getvalue()
    assert "No round has come" not in printed.getvalue()


@pytest.mark.slow
def test_nothing_else_changes_and_the_setting_makes_models_stale(
    config: RunConfig, made: tuple[Path, list[Turn]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = noted(monkeypatch)
    loop.run(replace(without(config), output=str(tmp_path / "run")))
    assert taught
    assert of_copies(taught) == []
    bare, covered = tree(tmp_path / "run" / "stages"), tree(made[0] / "stages")
    assert not any("covered" in name for name in bare)
    shared = [name for name in bare if name.split("/")[0] in ("describe", "select", "base")]
    shared += [name for name in bare if name.startswith("round-1/answers/")]
    assert len(shared) > 7
    assert {name: covered[name] for name in shared} == {name: bare[name] for name in shared}
    with pytest.raises(SeeWhyError, match=r"tune\.cover.*\n.*round-1/model"):
        loop.run(replace(config, output=str(tmp_path / "run")))


@pytest.mark.slow
def test_a_verdict_touches_the_copies_of_its_image_alone(
    config: RunConfig, made: tuple[Path, list[Turn]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, bank = tmp_path / "run", tmp_path / "concepts.yaml"
    shutil.copytree(made[0], run)
    shutil.copy(config.data.concepts or "", bank)
    data = replace(config.data, concepts=str(bank))
    told = {d.example_id: d for d in read_records(run, "round-1/answers-covered", Answer)}
    name = next(iter(sorted(told)))
    image = {e.id: e for e in FinishedRun.open(run).domain.examples}[image_of(name)]
    (copy,) = trace(str(run), name)["copies"]
    for concept in copy["shown"]:
        wrong = new_verdict("Ada", "concept", "wrong", image=image.id, sha256=image.sha256, concept=concept)
        append(verdicts_file(data, run), wrong)
    before = tree(run / "stages")
    again = replace(config, output=str(run), data=data, rounds=2, keep_going=True, controls=ARMS)
    loop.run(again, discard_stale=True)
    assert "3 answers of round 1 and those about their covered copies" in capsys.readouterr().err
    after = tree(run / "stages")
    same = [path for path in before if path.split("/")[0] in ("describe", "describe-covered", "select-covered")]
    assert len(same) == 3 + 3 + 1
    assert {path: after[path] for path in same} == {path: before[path] for path in same}
    of_copies = [path for path in before if path.startswith("round-1/answers-covered/")]
    assert len([path for path in of_copies if after[path] != before[path]]) == 1
    left = read_records(run, "round-1/answers-covered", Answer)
    assert {a.example_id for a in left} == told.keys() - {name}  # of which nothing is left to be said


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["describe", "covered"])
def test_a_run_killed_on_its_copies_ends_with_the_same_bytes(
    config: RunConfig, made: tuple[Path, list[Turn]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    module, name = getattr(steps, stage), {"describe": "describe", "covered": "answers"}[stage]
    make, of_copies = getattr(module, name), []

    def dying(examples: Any, *args: Any, **options: Any) -> Any:
        if examples[0].split == "covered":
            of_copies.append(examples)
            if len(of_copies) == 2:
                raise Killed
        return make(examples, *args, **options)

    monkeypatch.setattr(module, name, dying)
    monkeypatch.setattr(steps, "tune", lambda *_args, **_options: (_ for _ in ()).throw(KeyboardInterrupt))
    for error in (Killed, KeyboardInterrupt):
        with pytest.raises(error):
            loop.run(replace(config, output=str(tmp_path / "run")))
    assert len(of_copies) == 4
    found, expected = tree(tmp_path / "run" / "stages"), tree(made[0] / "stages")
    shards = [name for name in found if "-covered/" in name]
    assert len(shards) == 3 + 1 + 3
    assert {name: found[name] for name in shards} == {name: expected[name] for name in shards}
