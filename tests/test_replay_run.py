"""Replay data in a run: mixed in at the ratio, refused before any work, part of what a model is made from.

A file of general data, and the untuned base's own answers.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fixtures_data import CONCEPTS
from run_folders import tree
from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.proof.audit import audit
from seewhy.records import Replayed
from seewhy.report.terminal import replay_use
from seewhy.run import loop, steps
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import read_records
from taught import Killed, noted, shipped_run
from tiny_run import tiny_run


def conversations(folder: Path, texts: list[str], image: str = "boat.png") -> Path:
    """A LLaVA-Instruct file in which every second conversation is about an image."""
    Image.new("RGB", (32, 32), "blue").save(folder / "boat.png")
    rows = [
        {"id": str(number), "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "A boat."}]}
        | ({"image": image} if number % 2 else {})
        for number, text in enumerate(texts)
    ]
    (folder / "general.json").write_text(json.dumps(rows))
    return folder / "general.json"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(
        tmp_path_factory.mktemp("replay"),
        train=2,
        test=1,
        tokens=6,
        describe={"samples_per_prompt": 1},
        synthesise={"answers_per_image": 2},
        tune={"lora_rank": 2},
        evaluate={"bootstrap": 10, "consistency": False, "fluency": False},
    )


@pytest.mark.slow
def test_it_is_mixed_in_at_the_ratio_and_watched(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = noted(monkeypatch)
    general = conversations(tmp_path, [f"What is number {n}?" for n in range(9)])
    mixed = replace(
        config, output=str(tmp_path / "run"), tune=replace(config.tune, replay=str(general), replay_ratio=0.5)
    )
    loop.run(mixed)
    drawn = [turn for turn in taught if turn.id.startswith("replay/")]
    assert len(taught) - len(drawn) == 6 * 2
    assert len({turn.id for turn in drawn}) == 6
    assert {turn.image for turn in drawn} == {"", str(tmp_path.resolve() / "boat.png")}
    conversations(tmp_path, [f"What is number {n}?" for n in range(8)])
    with pytest.raises(SeeWhyError, match=r"tune\.replay"):
        loop.run(mixed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("texts", "image", "message"),
    [
        (["Hi", "What is it?"], "none.png", "row 2: image 'none.png' is not there"),
        (["Hi", "What is </s>?"], "boat.png", r"row 2: the question holds '</s>'"),
    ],
)
def test_bad_rows_stop_a_run_before_its_first_description(
    config: RunConfig, tmp_path: Path, texts: list[str], image: str, message: str
) -> None:
    general = conversations(tmp_path, texts, image)
    broken = replace(config, output=str(tmp_path / "run"), tune=replace(config.tune, replay=str(general)))
    with pytest.raises(SeeWhyError, match=message):
        loop.run(broken)
    assert list((tmp_path / "run").rglob("shard-*.parquet")) == []


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The shipped base, which has words, on six train images."""
    tune = {"lora_rank": 2, "replay": "self", "replay_ratio": 1.5}
    return shipped_run(tmp_path_factory.mktemp("self"), synthesise={"answers_per_image": 2}, tune=tune)


def stages_of(run: Path, *kinds: str) -> dict[str, str]:
    return {name: data for name, data in tree(run / "stages").items() if name.split("/")[0] in kinds}


@pytest.mark.slow
def test_the_base_s_own_answers_are_mixed_in_and_change_nothing_else(
    own: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = noted(monkeypatch)
    loop.run(replace(own, output=str(tmp_path / "mixed")))
    said = read_records(tmp_path / "mixed", "replay", Replayed)
    assert {turn.example_id for turn in said} == {f"train/{c}/{n}" for c in CONCEPTS for n in range(2)}
    usable = {(turn.query, turn.text) for turn in said if not turn.fault}
    drawn = [turn for turn in taught if turn.id.startswith("replay/")]
    assert len(drawn) == min(18, sum(not turn.fault for turn in said))
    assert {(turn.query, turn.answer) for turn in drawn} <= usable
    assert {turn.image for turn in drawn} <= {turn.image for turn in taught if turn not in drawn}
    audited = audit(FinishedRun.open(str(tmp_path / "mixed")))
    assert audited.replay is not None
    assert (audited.replay.turns, audited.replay.mixed_in) == (len(said), (len(drawn),))
    assert f"mixed in, {len(drawn)} in round 1" in replay_use(audited)

    loop.run(replace(own, output=str(tmp_path / "alone"), tune=replace(own.tune, replay=None)))
    assert not (tmp_path / "alone/stages/replay").exists()
    kinds = ("describe", "select", "base")
    assert stages_of(tmp_path / "mixed", *kinds) == stages_of(tmp_path / "alone", *kinds)
    answers = "round-1/answers/shard-00000.parquet"
    first, second = (tmp_path / run / "stages" / answers for run in ("mixed", "alone"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(SeeWhyError, match=r"tune\.replay: \"self\" -> null.*\n.*round-1/model"):
        loop.run(replace(own, output=str(tmp_path / "mixed"), tune=replace(own.tune, replay=None)))


@pytest.mark.slow
def test_a_run_killed_while_the_base_answers_ends_with_the_same_bytes(
    own: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "tune", lambda *_args, **_options: (_ for _ in ()).throw(Killed))
    make, calls = steps.replay.replay, []

    def dying(*args: Any, **options: Any) -> list[Replayed]:
        calls.append(args)
        if len(calls) == 2:
            raise Killed
        return make(*args, **options)

    for name in ("whole", "killed"):
        if name == "killed":
            monkeypatch.setattr(steps.replay, "replay", dying)
            with pytest.raises(Killed):
                loop.run(replace(own, output=str(tmp_path / name)))
            assert len(stages_of(tmp_path / name, "replay")) == 1
        with pytest.raises(Killed):  # in tuning
            loop.run(replace(own, output=str(tmp_path / name)))
    assert len(calls) == 4
    assert len(stages_of(tmp_path / "whole", "replay")) == 3
    assert stages_of(tmp_path / "whole", "replay") == stages_of(tmp_path / "killed", "replay")
