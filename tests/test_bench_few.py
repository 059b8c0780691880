"""bench.few: sizes, epochs and figures of the curve, and its section on the results page."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import few

from seewhy.errors import SeeWhyError
from seewhy.run.stages import BASE, CONTROLS, OURS
from seewhy.settings import preset_config
from tiny_run import tiny_run


@pytest.mark.parametrize(
    ("images", "stretch", "epochs"), [(720, 4, 2), (480, 4, 3), (240, 4, 6), (120, 4, 8), (120, 12, 12), (24, 4, 8)]
)
def test_epochs_grow_as_images_get_fewer(images: int, stretch: float, epochs: int) -> None:
    assert few.epochs_of(2, images, 720, stretch) == epochs


def counted(right: str) -> dict[str, Any]:
    """One image a letter, of which 1 is right."""
    hits = tuple(float(letter) for letter in right)
    return {"accuracy": (hits, (1.0,) * len(hits))}


def of_two_seeds() -> dict[str, Any]:
    nl, ours = CONTROLS["nl"].model(1), OURS.model(1)
    counts: Any = [
        {BASE: counted("0" * 40), ours: counted("1" * 32 + "0" * 8), nl: counted("1" * 28 + "0" * 12)},
        {BASE: counted("0" * 40), ours: counted("1" * 30 + "0" * 10), nl: counted("1" * 30 + "0" * 10)},
    ]
    config = preset_config("ours")
    size = few.Size("5", 120, 5, 8)
    found = few.measured(size, counts, few.replace(config, rounds=1))
    return {
        "config": "a.yaml", "settings": ["--rounds", "1"], "split": "val", "per_class": ["5"], "seeds": [0, 1],
        "machine": "a machine", "rounds": 1, "sizes": [found],
    }  # fmt: skip


def test_figures_are_means_over_seeds_and_the_difference_is_of_every_seed() -> None:
    (found,) = of_two_seeds()["sizes"][0]["rounds"]
    assert found["accuracy_ours"]["value"] == pytest.approx(31 / 40)
    assert found["accuracy_nl"]["value"] == pytest.approx(29 / 40)
    apart = found["accuracy_ours_minus_nl"]
    assert apart["seeds"] == pytest.approx([0.1, 0.0])
    assert apart["low"] < 0 < apart["value"] < apart["high"]
    assert "stated_true_nl" not in found  # NL states nothing


def test_the_section_replaces_the_one_before_it(tmp_path: Path) -> None:
    found = of_two_seeds()
    (tmp_path / "results.md").write_text("# Results\n\nFirst.\n\n## Field guide\n\nSecond.\n\n## Last\n\nThird.\n")
    few.write(tmp_path, "birds", found, section=True)
    once = (tmp_path / "results.md").read_text()
    few.write(tmp_path, "birds", found, section=True)
    assert (tmp_path / "results.md").read_text() == once
    assert few.kept("# Results\n\nFirst.\n\n## Field guide\n\nSecond.\n\n## Last\n\nThird.\n", tmp_path) == once
    assert once.startswith("# Results\n\nFirst.\n\n## Field guide\n\nSecond.\n\n## Last\n\nThird.\n\n## Accuracy by")
    assert "| 5 | 120 | 8 | 1 | 72.5 %" in once
    assert "+5.0 (" in once
    assert "single seeds +10.0, +0.0" in once
    few.write(tmp_path, "cells", found, section=True)
    both = (tmp_path / "results.md").read_text()
    assert both.index("### birds") < both.index("![Accuracy by images a class: cells](images/few-cells.svg)")
    assert json.loads((tmp_path / "few.json").read_text()) == json.loads(json.dumps({"birds": found, "cells": found}))
    middle = few.put_section("# R\n\n## A\n\nold\n\n## B\n\nkept\n", "## A\n\nnew")
    assert middle == "# R\n\n## A\n\nnew\n\n## B\n\nkept\n"


def test_the_chart_says_its_figures_in_words_and_draws_both_arms(tmp_path: Path) -> None:
    few.write(tmp_path, "birds", of_two_seeds())
    drawn = (tmp_path / "few-birds.svg").read_text()
    assert "5: SeeWhy 77.5%, NL 72.5%" in drawn
    assert drawn.count("<polyline") == 2


def test_what_the_bench_sets_itself_is_refused(tmp_path: Path) -> None:
    given, overrides = few.options(["configs/fieldguide.yaml", "--output", str(tmp_path), "--seed", "3"])
    with pytest.raises(SeeWhyError, match=r"seed: bench\.few sets this itself"):
        few.settings(given, overrides)
    with pytest.raises(SeeWhyError, match="not 'many'"):
        few.options(["configs/fieldguide.yaml", "--output", str(tmp_path), "--per-class", "many"])


@pytest.mark.slow
def test_a_grid_is_made_of_ordinary_runs_and_a_finished_one_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four images of each of three classes: the runs of 2 and of all, and 9 is the same as all."""
    config: Any = json.loads(json.dumps(asdict(tiny_run(tmp_path, val=2))))
    for group in ("seed", "controls", "output"):
        del config[group]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    few_of = ["--per-class", "all", "2", "9", "--seeds", "0", "1", "--output", str(tmp_path / "few"), "--threads", "1"]
    few.main([str(tmp_path / "tiny.yaml"), *few_of, "--docs", str(tmp_path / "docs")])
    said = capsys.readouterr().out
    assert "9 images a class are all: no class has more than 4." in said
    assert "cell 4 of 4: all images a class, 1 epochs, seed 1, about" in said
    sizes = few.read(tmp_path / "few")["tiny"]["sizes"]
    assert [(size["name"], size["images"], size["epochs"]) for size in sizes] == [("2", 6, 2), ("all", 12, 1)]
    assert all(len(size["rounds"][0]["accuracy_ours_minus_nl"]["seeds"]) == 2 for size in sizes)
    assert "| 2 | 6 | 2 | 1 |" in (tmp_path / "docs" / "results.md").read_text()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "few").rglob("*.safetensors")}
    assert len(made) >= 8  # two sizes, two seeds, two arms
    few.main([str(tmp_path / "tiny.yaml"), *few_of])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "few").rglob("*.safetensors")} == made
    assert few.read(tmp_path / "few")["tiny"]["sizes"] == sizes
