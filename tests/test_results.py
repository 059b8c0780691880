"""`python -m bench.results` on runs whose counts are made up: what docs/results.json and docs/results.md then say."""

import json
import re
from dataclasses import asdict, replace
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
    counts = {
        "counterfactual_changes": hits(10, 10), "survives_hidden": hits(2, 10), "pointing": hits(7, 10),
        "cover_gone": hits(6, 10), "cover_gone_random": hits(1, 10), "same_class_follows": hits(8, 10),
    }  # fmt: skip
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
    assert found["ability_lost"] == pytest.approx(85)
    assert found["reason_goes_when_covered"] == found["cover_gone"] == 0.6
    assert found["reason_goes_when_covered_elsewhere"] == 0.1
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


def asked_of_marked(run: str, **options: Any) -> Ability:
    drawings = asked(run, **options).drawings
    assert drawings is not None
    models = {
        name: replace(model, counts={f"{key}_marked": of for key, of in model.counts.items()})
        for name, model in drawings.models.items()
    }
    return Ability(replace(drawings, models=models))


CEILING = {
    "stated_true_ceiling": 0.93, "stated_true_ceiling_low": 0.91, "stated_true_ceiling_high": 0.95,
    "stated_false_ceiling": 0.01, "stated_true_ceiling_all": 0.88, "stated_false_ceiling_all": 0.12,
    "accuracy_ceiling": 0.96, "attribute_ceiling_size_of_the_cell": 0.77, "seconds": 3.0,
}  # fmt: skip
BY_ENCODER = {
    "selection_precision_unlisted_fieldguide_1": 0.8, "selection_recall_unlisted_fieldguide_1": 0.3,
    "selection_precision_unlisted_minilm_6": 0.9, "selection_precision_unlisted_minilm_6_low": 0.85,
    "selection_precision_1": 0.8, "selection_recall_1": 0.3,
}  # fmt: skip


def written(path: Path, figures: dict[str, float]) -> str:
    path.write_text(json.dumps(figures))
    return str(path)


def test_cells_are_the_second_data_set_and_the_first_section(
    results: Any, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "general", asked_of_marked)
    docs = tmp_path / "docs"
    results.main(["--fieldguide", str(measured), "--output", str(docs)])
    of_drawings = json.loads((docs / "results.json").read_text())
    ceiling, described = written(tmp_path / "c.json", CEILING), written(tmp_path / "d.json", BY_ENCODER)
    given = ["--cells", str(measured), "--ceiling", ceiling, "--cells-descriptions", described]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(results, "machine", lambda *_: "another machine")
        results.main([*given, "--output", str(docs)])
    found = json.loads((docs / "results.json").read_text())
    assert {key: found[key] for key in of_drawings} == of_drawings  # what is not measured again stays
    expected = {
        "accuracy_ours_cells": 0.9, "accuracy_nl_cells": 69 / 80, "stated_true_ours_cells": 39 / 40,
        "stated_true_lge_cells": 0.5, "stated_false_ours_cells": 1 / 40, "selection_precision_cells": 0.95,
        "same_class_follows_cells": 0.8, "stated_true_ceiling_cells": 0.93, "ability_lost_cells": 85,
        "stated_true_ceiling_all_cells": 0.88, "stated_false_above_ceiling_cells": 0.015,
        "selection_precision_unlisted_minilm_6_cells": 0.9, "reason_goes_when_covered_cells": 0.6,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert found["stated_true_ceiling_cells_low"] == 0.91
    assert "seconds_cells" not in found
    page = (docs / "results.md").read_text()
    assert "| Claim | Field guide | White blood cells |" in page
    assert page.index("## White blood cells") < page.index("## Field guide")
    assert page.count("Measured on another machine.") == 1
    assert "Measured on another machine." in page.split("## Field guide")[0]  # the drawings were measured on this one
    assert "| Heads, as many phrases as SeeWhy | 93.0 % (91.0 to 95.0) | 1.0 % |" in page
    assert "| size of the cell | 77.0 % |" in page
    assert "| Points of ability lost, the worst ability | <= 5 points | 85.0 points | not reached |" in page
    assert "| minilm | unlisted | precision | - | 90.0 %" in page
    assert "Names a visible attribute |" in page.split("## Field guide")[0]
    again = docs / "results.md"
    before = again.read_text()
    results.main(["--fieldguide", str(measured), "--output", str(docs)])
    assert again.read_text() == before  # in whichever order they are measured


def test_what_was_not_measured_is_not_there(results: Any, measured: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    results.main(["--cells", str(measured / "seed-0"), "--output", str(docs)])
    found = json.loads((docs / "results.json").read_text())
    assert "accuracy_ours_cells" in found
    assert not any("ceiling" in key for key in found)
    assert all(results.ending_of(key) == "_cells" for key in found)
    assert "supervised heads reach" not in (docs / "results.md").read_text()
    with pytest.raises(SystemExit):
        results.main(["--output", str(docs)])


def test_a_broken_file_of_figures_is_named(results: Any, measured: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(SeeWhyError, match=r"c\.json cannot be read.*bench\.ceiling RUN --json FILE.*--ceiling out"):
        results.main(["--cells", str(measured), "--ceiling", str(tmp_path / "c.json"), "--output", str(tmp_path / "d")])


def test_a_folder_without_results_is_refused(results: Any, tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match="neither a comparison nor a finished run"):
        results.main(["--fieldguide", str(tmp_path), "--output", str(tmp_path / "docs")])
    assert not (tmp_path / "docs").exists()


def test_notes_are_of_claims(results: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.yaml"
    path.write_text("accuracy_ordre: none\n")
    with pytest.raises(
        SeeWhyError, match=r"'accuracy_ordre'.* is no claim; they are ability, ability_cells, ability_fruit, acc"
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
