"""`python -m bench.results` on runs whose counts are made up: what docs/results.json and docs/results.md then say."""

import json
import re
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from seewhy.config import EvaluateConfig, RunConfig
from seewhy.errors import SeeWhyError
from seewhy.results import (
    Ability,
    Comparison,
    Drawings,
    Faithfulness,
    Figure,
    Figures,
    Metrics,
    ModelAbility,
    ModelFaithfulness,
)
from seewhy.results_json import write
from seewhy.run.folder import RunFolder
from seewhy.run.stages import ModelKey

ROOT = Path(__file__).parents[1]
IMAGES = 40


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    module = import_module("bench.results")
    monkeypatch.setattr(module, "limit_threads", lambda threads: None)
    return module


def hits(right: int, of: int = IMAGES) -> tuple[list[float], list[float]]:
    """`right` of `of` images."""
    return [1.0] * right + [0.0] * (of - right), [1.0] * of


def counts(seed: int) -> dict[ModelKey, Any]:
    accuracy = {
        "base": 0, "round-1": 20, "round-2": 36, "nl/round-1": 20, "nl/round-2": 35 - seed, "lge/round-1": 5,
        "lge/round-2": 6, "unfiltered/round-2": 36,
    }  # fmt: skip
    made = {name: {"accuracy": hits(right)} for name, right in accuracy.items()}
    made["round-2"] |= {
        "cs": hits(38),
        "stated_true": hits(39),
        "stated_false": hits(1),
        "fs": ([80.0] * 40, [40.0] * 40),
    }
    made["lge/round-2"] |= {"cs": hits(20), "stated_true": hits(20)}
    made["base"] |= {"cs": hits(10)}
    return {ModelKey.parse(name): of for name, of in made.items()}


def faithful(run: str, **_options: Any) -> Faithfulness:
    counts = {"counterfactual_changes": hits(10, 10), "survives_hidden": hits(2, 10), "pointing": hits(7, 10)}
    names = {"rounds": "round-2", "lge": "lge/round-2"}
    models = {arm: ModelFaithfulness({}, counts, "0", name) for arm, name in names.items()}
    return Faithfulness("test", 10, 1, 0, 200, models)


def asked(run: str, **_options: Any) -> Ability:
    names = ("attribute_accuracy", "yes_no_accuracy", "described_precision", "described_recall")
    right = {"base": 19, "round-2": 2}
    models = {name: ModelAbility({}, dict.fromkeys(names, hits(of, 20)), "0", "rounds") for name, of in right.items()}
    return Ability(Drawings("test", 20, 0, 200, models))


def compared(folder: Path, rounds: int = 2) -> Path:
    """The output of a comparison of two seeds."""
    controls = ("nl", "lge", "unfiltered")
    for seed in (0, 1):
        config = RunConfig(
            output=str(folder / f"seed-{seed}"), seed=seed, rounds=rounds, controls=controls,
            evaluate=EvaluateConfig(bootstrap=200),
        )  # fmt: skip
        run = RunFolder(config.output, seed=seed, shard_size=4)
        with run.lock():
            run.check([], config=asdict(config))
        selection = {"selection_precision": Figure(0.9 + seed / 10, (0.8, 1.0))}
        write(run.path / Metrics.FILE, Metrics(Figures(), {"rounds": (Figures(selection, round=1),)}))
    write(folder / Comparison.FILE, Comparison("test", (0, 1), rounds, {}, {}, {}))
    return folder


@pytest.fixture
def measured(results: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(results, "faithfulness", faithful)
    monkeypatch.setattr(results, "general", asked)
    monkeypatch.setattr(results.loop, "count", lambda config: counts(config.seed))
    return compared(tmp_path / "compare")


def test_both_files(results: Any, measured: Path, tmp_path: Path) -> None:
    descriptions = tmp_path / "descriptions.json"
    points = {3: 0.8, 12: 0.9, 30: 0.95}
    flat = {f"selection_precision_{n}": value for n, value in points.items()}
    flat |= {"selection_recall_30": 0.5, "selection_precision_paper_tfidf_30": 0.1}
    flat |= {f"selection_precision_{n}_low": value - 0.01 for n, value in points.items()}
    flat |= {f"selection_precision_{n}_high": value + 0.01 for n, value in points.items()}
    descriptions.write_text(json.dumps({**flat, "seconds": 3}))
    given = ["--fieldguide", str(measured), "--fruit", str(measured / "seed-0"), "--descriptions", str(descriptions)]
    results.main([*given, "--output", str(tmp_path / "docs")])
    found = json.loads((tmp_path / "docs" / "results.json").read_text())

    assert found["accuracy_ours"] == 0.9
    assert found["accuracy_ours_low"] < 0.9 < found["accuracy_ours_high"]
    assert found["accuracy_nl"] == (35 + 34) / 80
    assert found["accuracy_nl_fruit"] == 35 / 40  # one run: its own seed alone
    assert found["accuracy_ours_fruit_low"] < found["accuracy_ours_fruit"]
    assert found["accuracy_nofilter"] == 0.9
    assert found["accuracy_ours_round_1"] == 0.5
    assert found["fs_ours"] == pytest.approx(7.389, abs=1e-3)
    assert (found["counterfactual_changes"], found["survives_hidden"], found["pointing_lge"]) == (1.0, 0.2, 0.7)
    assert found["attribute_accuracy_ours_minus_base"] == pytest.approx(-0.85)
    assert found["selection_precision"] == pytest.approx(0.95)
    assert "accuracy_class_level" not in found  # the runs have no such arm
    assert found["verdict_cs_order"] == "holds"
    assert found["verdict_rounds"] == "holds"
    assert found["verdict_accuracy_order"] == "not decided"  # 36 of 40 against 34.5: the interval includes 0
    assert found["verdict_ability"] == "does not hold"
    assert found["verdict_filtering"] == "not measured"  # no CS without filtering
    assert found["verdict_descriptions"] == "holds"
    assert found["verdict_descriptions_fruit"] == "not measured"
    assert found["verdict_image_level"] == "not measured"

    page = (tmp_path / "docs" / "results.md").read_text()
    assert "**Rounds improve accuracy: holds.**" in page
    assert re.search(r"accuracy, SeeWhy less NL: \+3\.[78] points \(-", page)
    assert ": by itself not decided" in page
    assert "corrected by Holm's method" in " ".join(page.split())
    assert "## Where the test split was used before" in page
    assert "had found NL 2.6 points more accurate" in page
    assert found["p_rounds"] < found["p_corrected_rounds"] <= 0.05
    assert found["accuracy_ours_n"] == 80
    assert found["accuracy_ours_minus_nl_seed_1"] == pytest.approx(0.05)
    assert "; n 80)" in page
    assert page.count("One seed: its intervals and verdicts are over images alone.") == 1
    assert "single seeds +2.5, +5.0" in page
    assert "| Stated concepts that are false or hidden | <= 3 % | 2.5 % " in page
    assert "| A reason stays when its evidence is hidden | <= 10 % | 20.0 % " in page
    assert page.count(results.read_notes()["ability"]) == 1  # not of fruit
    assert "SeeWhy less SeeWhy, round 1: +40.0 points" in page
    assert page.count("### Goals") == 1
    assert "| 30 | 95.0 % (94.0 to 96.0) | 50.0 % |" in page
    assert found["selection_precision_12"] == 0.9
    assert "selection_precision_paper_tfidf_30" not in found
    assert "nan" not in page


def test_a_folder_without_results_is_refused(results: Any, tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match="neither a comparison nor a finished run"):
        results.main(["--fieldguide", str(tmp_path), "--output", str(tmp_path / "docs")])
    assert not (tmp_path / "docs").exists()


def test_notes_are_of_claims(results: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.yaml"
    path.write_text("accuracy_ordre: none\n")
    with pytest.raises(
        SeeWhyError, match=r"'accuracy_ordre'.* is no claim; they are ability, ability_fruit, accuracy_order"
    ):
        results.read_notes(path)
    path.write_text("rounds: >-\n  tried\n  less\n")
    assert results.read_notes(path) == {"rounds": "tried less"}


@pytest.mark.parametrize(
    ("name", "expected"), [("accuracy_ours", "accuracy_ours_fruit"), ("pointing_low", "pointing_fruit_low")]
)
def test_the_ending_stands_before_the_bounds(results: Any, name: str, expected: str) -> None:
    assert results.ended(name, "_fruit") == expected
    assert results.ended(name, "") == name
