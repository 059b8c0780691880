"""The files of results: what is written is read again, and what cannot be used is said by file and key."""

import json
from pathlib import Path
from typing import Any

import pytest

from made_up_later import benchmarks, faithfulness_file, general_file, judge_file
from made_up_runs import compared, item, metrics, mistakes, pair
from seewhy.errors import SeeWhyError
from seewhy.results import (
    Ability,
    Comparison,
    Confusion,
    Difference,
    Faithfulness,
    Figure,
    Figures,
    Gallery,
    Judgement,
    Metrics,
    Support,
)
from seewhy.results_json import VERSION, DamagedResults, as_values, find, find_usable, read, write  # fmt: skip
from seewhy.run.checksums import unsealed_json

SUPPORT = {"phrases": 2, "supported": 1, "descriptions": 9, "share": 0.5, "minimum": 0.3, "unsaid": {"x y": ["y"]}}
FILES: dict[str, tuple[Any, dict[str, Any]]] = {
    "metrics": (Metrics, metrics(arms=True)),
    "comparison": (Comparison, compared()),
    "faithfulness": (Faithfulness, faithfulness_file(cover={"share": 0.125, "fill": "grey"})),
    "drawings": (Ability, general_file()),
    "benchmarks": (Ability, benchmarks()),
    "both": (Ability, {**general_file(), **benchmarks()}),
    "confusion": (Confusion, {**mistakes(pair("a.png", "Wren", "Finch")), "never_named": [{"label": "Tit", "of": 2}]}),
    "gallery": (Gallery, {"cards": [item("a.png", "Wren")]}),
    "support": (Support, SUPPORT),
}


def saved(folder: Path, value: Any, kind: Any) -> Path:
    (folder / kind.FILE).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder / kind.FILE


@pytest.mark.parametrize("case", FILES)
def test_what_is_read_is_written_again_with_a_version(tmp_path: Path, case: str):
    kind, values = FILES[case]
    record = read(saved(tmp_path, values, kind), kind)
    write(tmp_path / "again.json", record)
    assert unsealed_json((tmp_path / "again.json").read_bytes()) == {**values, "version": VERSION}
    assert read(tmp_path / "again.json", kind) == record


def test_figures_are_flat_in_the_file_and_typed_in_the_record(tmp_path: Path):
    found = read(saved(tmp_path, metrics(), Metrics), Metrics)
    assert found.base["accuracy"] == Figure(0.004, interval=(0, 0.028))
    assert [figures.round for figures in found.rounds] == [1, 2, 3]
    assert found.selection["selection_recall"].value == 0.41
    assert set(found.arms) == {"rounds", "nl"}
    counted = Figures({"fs": Figure(1.3, (1.2, 1.4), n=90, images=4, clusters=2, seeds=(1.2, 1.4))}, fallback_share=0.0)
    assert as_values(Metrics(counted))["base"] == {
        "fallback_share": 0.0, "fs": 1.3, "fs_clusters": 2, "fs_images": 4, "fs_interval": [1.2, 1.4], "fs_n": 90,
        "fs_seeds": [1.2, 1.4],
    }  # fmt: skip


def test_a_comparison_is_also_the_metrics_of_its_means(tmp_path: Path):
    found = read(saved(tmp_path, compared(), Comparison), Comparison)
    assert found.ours_minus["nl"]["accuracy"] == Difference(0.03, -0.004, 0.06)
    assert found.metrics.base.split == "test"
    assert found.metrics.arms["lge"][1].round == 2
    assert found.metrics.rounds[2]["accuracy"] == found.rounds_of["rounds"][2]["accuracy"]


def test_a_judge_of_an_older_version_is_read(tmp_path: Path):
    found = read(saved(tmp_path, judge_file(), Judgement), Judgement)
    assert found.models["round-3"].figures["cs"].interval == (0.68, 0.74)
    assert found.models["base"].agreement.cs is None
    assert (found.models["base"].judge_free, found.cost) == ({}, None)


def test_a_gallery_without_a_version_is_a_list_of_cards(tmp_path: Path):
    assert read(saved(tmp_path, [item("a.png", "Wren")], Gallery), Gallery).cards[0].label == "Wren"


def test_a_newer_file_is_not_read(tmp_path: Path):
    with pytest.raises(SeeWhyError, match=r"support.json was made by a newer SeeWhy \(its results are version 2") as e:
        read(saved(tmp_path, {"version": 2}, Support), Support)
    assert not isinstance(e.value, DamagedResults)
    assert "use that one" in str(e.value)


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (Support, "{", "Expecting property name"),
        (Support, [], "'[]' stands where names and values should"),
        (Support, {"phrases": 3}, "'supported' is missing"),
        (Support, {**SUPPORT, "share": "half"}, "share: 'half' stands where a number should"),
        (Support, {**SUPPORT, "phrases": True}, "phrases: 'True' stands where a number should"),
        (Support, {**SUPPORT, "phrases": 2.5}, "phrases: '2.5' stands where a number should"),
        (Support, {**SUPPORT, "unsaid": {"x": "y"}}, "unsaid.x: 'y' stands where a list should"),
        (Support, {**SUPPORT, "version": "one"}, "version: 'one' stands where a number should"),
        (Metrics, {}, "'base' is missing"),
        (Metrics, {"base": {"accuracy": None}}, "base.accuracy: 'None' stands where a number should"),
        (Metrics, {"base": {"ee": 1, "ee_interval": [1]}}, "base.ee_interval: '[1]' stands where a list of 2"),
        (Metrics, {"base": {"ee_interval": [1, 2]}}, "base.ee_interval: '[1, 2]' stands where a number should"),
        (Metrics, '{"base": {"ee": NaN}}', "base.ee: 'nan' stands where a number should"),
        (Metrics, {"base": {}, "nl": [{"round": "1"}]}, "nl.round: '1' stands where a number should"),
        (Ability, {}, "'models' is missing"),
        (Ability, {"models": {}}, "'split' is missing"),
        (Gallery, {"cards": [item("a.png", "Wren", verdicts=("maybe",))]}, "'maybe' stands where one of true, hidden"),
        (Comparison, {**compared(), "ours_minus": {"nl": {"ee": [1, 2]}}}, "ours_minus.nl.ee: '[1, 2]' stands where"),
    ],
)
def test_what_cannot_be_used_is_said_by_file_and_key(tmp_path: Path, kind: Any, value: Any, why: str):
    with pytest.raises(DamagedResults) as error:
        read(saved(tmp_path, value, kind), kind)
    assert why in str(error.value)
    assert f"{tmp_path / kind.FILE} could not be read" in str(error.value)
    assert "remove it and" in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path):
    assert find(tmp_path / "general.json", Ability) is None
    with pytest.raises(SeeWhyError, match=r"There is no .*general.json: give `seewhy general"):
        read(tmp_path / "general.json", Ability)


def test_a_figure_that_is_no_number_is_not_written(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "metrics.json", Metrics(Figures({"fs": Figure(float("inf"))})))
    assert not list(tmp_path.iterdir())


def test_a_missing_or_damaged_file_that_can_be_made_again_is_none(tmp_path: Path):
    assert find_usable(tmp_path / Support.FILE, Support) is None
    assert find_usable(saved(tmp_path, {"phrases": 3}, Support), Support) is None
    with pytest.raises(SeeWhyError, match="made by a newer SeeWhy"):
        find_usable(saved(tmp_path, {"version": 2}, Support), Support)
