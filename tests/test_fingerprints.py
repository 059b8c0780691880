"""What may be changed in the midst of a run, and what makes which stages stale."""

import json
from dataclasses import asdict, replace
from typing import Any, get_args

import pytest

from seewhy.config import RunConfig, TuneConfig, decisive
from seewhy.run.stages import DATA, ModelKey, StageKey, Stages
from seewhy.settings import Setting, known_settings, restore_config

NAMED_ELSEWHERE = {"output", "preset", "seed", "shard_size", "tune.replay"} | {
    n for n in known_settings() if n.startswith("data.")
}
"""Held against a run otherwise: by the run folder, what a preset gives, or a digest of the data's content."""
WHAT_IS_MADE = {"rounds", "keep_going", "minimum_support", "controls"} | {
    f"evaluate.{name}" for name in ("split", "bootstrap", "consistency", "fluency")
}
"""Says which stages there are, or how their outputs are counted; no stage's own output depends on it."""


def changed(config: Any, name: str, value: Any) -> Any:
    first, _, rest = name.partition(".")
    return replace(config, **{first: changed(getattr(config, first), rest, value) if rest else value})


def another(setting: Setting) -> Any:
    default = setting.default
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 1
    if default == ():
        return (get_args(get_args(setting.type)[0]) or ("wandb",))[:1]
    choices = [choice for choice in get_args(setting.type) if isinstance(choice, str)]
    return next((choice for choice in choices if choice != default), "another")


def fingerprints(config: RunConfig) -> dict[str, str]:
    stages = Stages.of(config, "domain", "base", "encoder", "replay")
    return {str(key): stage.fingerprint for key, stage in stages.items()}


@pytest.mark.parametrize("name", sorted(known_settings()))
def test_every_setting_decides_a_stage_or_is_known_to_decide_none(name: str) -> None:
    config = RunConfig(rounds=2, controls=("nl", "unfiltered", "class_level"), tune=TuneConfig(covered=0.5))
    before, after = fingerprints(config), fingerprints(changed(config, name, another(known_settings()[name])))
    decides = any(before[stage] != after[stage] for stage in before.keys() & after.keys())
    others = known_settings()[name].throughput or name in NAMED_ELSEWHERE | WHAT_IS_MADE
    assert decides != others


def test_the_remedies_for_out_of_memory_make_nothing_stale() -> None:
    """docs/your_data.md promises that what is done stays."""
    config = RunConfig(rounds=3)
    smaller = replace(
        config,
        model=replace(config.model, batch_size=1),
        tune=replace(config.tune, micro_batch_size=1, gradient_checkpointing=True),
    )
    assert fingerprints(smaller) == fingerprints(config)


def test_settings_keep_their_nesting() -> None:
    found = decisive(TuneConfig())
    assert found["augment"]["flip"] == 0.5
    assert not {"checkpoint_steps", "trackers", "micro_batch_size", "gradient_checkpointing"} & found.keys()
    assert decisive(RunConfig().model) == {"name_or_path": "fieldguide", "revision": None, "dtype": "auto"}


def test_a_setting_that_older_runs_have_not_recorded_counts_once_it_is_given() -> None:
    assert decisive(replace(RunConfig().model, max_pixels=640))["max_pixels"] == 640


def test_a_run_from_before_a_setting_is_as_it_was_made() -> None:
    """Older runs put the label sentence in, recorded nothing of it, and their stages stay what they were."""
    recorded = asdict(RunConfig(rounds=2))
    for group in ("synthesise", "sample"):
        del recorded[group]["fallback"]
    older = restore_config(json.loads(json.dumps(recorded)))
    assert (older.synthesise.fallback, older.sample.fallback) == ("label", "label")
    for group in (older.synthesise, older.sample):
        assert "fallback" not in decisive(group)
    stages = Stages.of(older, "domain", "base", "encoder", "replay")
    assert stages[StageKey("answers", ModelKey("rounds", 2))].settings == {}
    newer = changed(older, "synthesise.fallback", "reasons")
    before, after = fingerprints(older), fingerprints(newer)
    data = {str(key) for key in stages if key.kind in DATA}
    assert [name for name in before if before[name] == after[name] and name not in data] == [
        "domain", "base", "base/predictions-test", "describe", "select", "base/likelihoods-test", "describe-test",
        "select-test", "describe-val", "select-val",
    ]  # fmt: skip


def test_another_fallback_of_later_rounds_keeps_the_candidates() -> None:
    config = RunConfig(rounds=2)
    before, after = fingerprints(config), fingerprints(changed(config, "sample.fallback", "reasons"))
    assert before["round-2/candidates"] == after["round-2/candidates"]
    assert before["round-2/answers"] != after["round-2/answers"]


def test_the_area_of_no_copies_makes_nothing_stale() -> None:
    config = RunConfig(rounds=1)
    assert fingerprints(changed(config, "tune.cover_area", 0.3)) == fingerprints(config)


def test_copies_with_a_covered_part_make_models_stale_and_no_answers_about_whole_images() -> None:
    config = RunConfig(rounds=2, controls=("nl", "class_level"))
    before, after = fingerprints(config), fingerprints(changed(config, "tune.covered", 0.5))
    assert after.keys() - before.keys() == {
        "describe-covered", "select-covered", "round-1/answers-covered", "class_level/round-1/answers-covered",
    }  # fmt: skip
    kept = {name for name in before if before[name] == after[name]}
    assert {"describe", "select", "round-1/answers", "class_level/round-1/answers", "base/predictions-test"} <= kept
    assert not {"round-1/model", "nl/round-1/model", "class_level/round-1/model", "round-2/candidates"} & kept
    fewer = changed(config, "tune.covered", 0.5)
    least_kept = [fingerprints(changed(fewer, "select.minimum", least))["select-covered"] for least in (0, 3)]
    assert least_kept[0] == least_kept[1]  # copies have a minimum of their own


def test_a_whole_number_is_the_float_that_a_manifest_gives_back() -> None:
    """`AugmentConfig(flip=0)` in Python is read again as 0.0."""
    tune = RunConfig().tune
    whole, read_again = (replace(tune, augment=replace(tune.augment, flip=zero)) for zero in (0, 0.0))
    assert json.dumps(decisive(whole)) == json.dumps(decisive(read_again))
