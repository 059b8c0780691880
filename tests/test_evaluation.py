"""CS and FS of a run that has no round yet: settings that switch them, stages that are made once, what they hold."""

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures_data import CONCEPTS
from run_folders import by_name
from seewhy.config import RunConfig
from seewhy.records import Description, Likelihood, Prediction, Selection
from seewhy.results import Metrics
from seewhy.run import loop
from seewhy.run.folder import read_records
from seewhy.run.stages import BASE, Stages
from seewhy.vlm.model import VisionLanguageModel
from tiny_run import tiny_run

MEASURED = {"describe-test", "select-test", "base/likelihoods-test"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(
        tmp_path_factory.mktemp("data"),
        rounds=0,
        shard_size=4,
        keep_going=True,
        evaluate={"consistency": False, "fluency": False},
    )


@pytest.fixture(scope="module")
def wanted(config: RunConfig) -> RunConfig:
    return replace(config, evaluate=replace(config.evaluate, consistency=True, fluency=True))


@pytest.fixture(scope="module")
def plain(config: RunConfig) -> Metrics:
    """metrics.json of the run without either figure."""
    return loop.run(config)


@pytest.fixture(scope="module")
def measured(config: RunConfig, plain: Metrics) -> Metrics:
    """The figures that `seewhy evaluate` adds to that run."""
    return loop.evaluate(config.output, "test", consistency=True, fluency=True)


def bytes_of(config: RunConfig) -> dict[str, bytes]:
    stages = Path(config.output) / "stages"
    return {str(path.relative_to(stages)): path.read_bytes() for path in stages.rglob("*.parquet")}


def test_no_stage_depends_on_what_is_measured(config: RunConfig, wanted: RunConfig):
    without, with_both = (
        by_name(Stages.of(replace(c, rounds=2, controls=("nl",)), "d", "m", "e")) for c in (config, wanted)
    )
    assert {name: with_both[name].fingerprint for name in without} == {n: s.fingerprint for n, s in without.items()}
    more = {f"{model}/likelihoods-test" for model in ("round-1", "round-2", "nl/round-1", "nl/round-2")}
    assert set(with_both) - set(without) == MEASURED | more


def test_on_the_train_split_the_training_selection_serves(wanted: RunConfig):
    plan = by_name(Stages.of(replace(wanted, evaluate=replace(wanted.evaluate, split="train")), "d", "m", "e"))
    assert [name for name in plan if name.startswith(("describe", "select"))] == ["describe", "select"]


@pytest.mark.slow
def test_both_can_be_left_out(config: RunConfig, plain: Metrics):
    assert not {"cs", "fs"} & plain.base.keys()
    assert not any((Path(config.output) / "stages" / name).exists() for name in MEASURED)


@pytest.mark.slow
def test_both_are_added_to_a_finished_run(plain: Metrics, measured: Metrics):
    base = measured.base
    assert {"cs", "fs"} == {"cs", "fs"} & base.keys()
    assert 0 <= base["cs"].value <= 1 < base["fs"].value
    assert {key: base[key] for key in plain.base} == plain.base.figures


def test_what_was_made_for_them_is_used_again(wanted: RunConfig, measured: Metrics, monkeypatch: pytest.MonkeyPatch):
    before = bytes_of(wanted)
    monkeypatch.setattr(VisionLanguageModel, "load", lambda *_args, **_kwargs: pytest.fail("work was done again"))
    again = loop.run(wanted)
    assert again.base == measured.base
    assert bytes_of(wanted) == before
    counts = loop.count(wanted)[BASE]
    assert {"cs", "fs"} <= counts.keys()
    assert len(counts["cs"][0]) == len(counts["fs"][0]) == 6


def test_what_they_are_made_of(config: RunConfig, measured: Metrics):
    run = Path(config.output)
    described = read_records(run, "describe-test", Description)
    selections = read_records(run, "select-test", Selection)
    likelihoods = read_records(run, "base/likelihoods-test", Likelihood)
    answers = read_records(run, "base/predictions-test", Prediction)
    assert all(d.example_id.startswith("test/") for d in described)
    assert len(selections) == 2 * sum(map(len, CONCEPTS.values()))
    assert {(s.example_id.split("/")[1], s.concept) for s in selections} == {
        (label, concept) for label, concepts in CONCEPTS.items() for concept in concepts
    }
    assert [found.example_id for found in likelihoods] == [answer.example_id for answer in answers]
    assert all(found.nll > 0 for found in likelihoods if found.tokens)
