"""`bench.descriptions` on a run folder that has descriptions and nothing else: nested subsets, exact figures."""

import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures_data import CONCEPTS, image_folder
from seewhy.config import DataConfig, RunConfig, SelectConfig
from seewhy.domain.domain import load_domain
from seewhy.errors import SeeWhyError
from seewhy.proof.figures import measure_selection
from seewhy.records import Description, Selection
from seewhy.run.folder import RunFolder, Stage

ROOT = Path(__file__).parents[1]
VISIBLE = {label: concepts[:2] for label, concepts in CONCEPTS.items()}
"""What can be seen in every image of a class; all descriptions say it."""
WORDINGS = ("It has {0} and {1}.", "{1}, {0}, a tree.", "A bird with {0}, {1}.")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("bench.descriptions")


def described_run(root: Path, *, truth: bool = True) -> RunConfig:
    image_folder(root)
    lines = [
        json.dumps({"image": f"{split}/{label}/{number}.png", "visible": VISIBLE[label], "complete": True})
        for split, count in (("train", 4), ("test", 2))
        for label in CONCEPTS
        for number in range(count)
    ]
    (root / "truth.jsonl").write_text("\n".join(lines))
    config = RunConfig(
        output=str(root / "run"),
        data=DataConfig(
            source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird",
            truth=str(root / "truth.jsonl") if truth else None,
        ),
        select=SelectConfig(encoder="tfidf", rule="image", minimum=1),
    )  # fmt: skip
    examples = load_domain(config.data).split("train")
    stage = Stage("describe", {})

    def work(part: Any, _seed: int) -> list[Description]:
        return [
            Description(e.id, "Describe it.", number, wording.format(*VISIBLE[e.label]))
            for e in part
            for number, wording in enumerate(WORDINGS)
        ]

    folder = RunFolder(config.output, seed=0, shard_size=64)
    with folder.lock():
        folder.check([stage], config=asdict(config))
        folder.records(stage, Description, examples, work)
    return config


def figures_of(bench: Any, config: RunConfig, *options: str) -> dict[str, float]:
    path = Path(config.output).with_name("figures.json")
    bench.main([config.output, "--threads", "1", "--bootstrap", "50", "--json", str(path), *options])
    return json.loads(path.read_text())


def test_subsets_are_nested_and_take_as_many_of_each_image(bench: Any, tmp_path: Path):
    described = bench.Described.of(described_run(tmp_path).output)
    assert described.most == 3
    owner = np.repeat(np.arange(12), 3)
    rows = {(count, draw): described.subset(count, draw) for count in (1, 2, 3, 9) for draw in (0, 1)}
    for draw in (0, 1):
        assert set(rows[1, draw]) < set(rows[2, draw]) < set(rows[3, draw])
        assert all((np.bincount(owner[rows[count, draw]]) == count).all() for count in (1, 2, 3))
    assert rows[9, 0].tolist() == rows[3, 1].tolist() == list(range(36))
    assert rows[1, 0].tolist() != rows[1, 1].tolist()


def test_figures_are_those_of_the_selection(bench: Any, tmp_path: Path):
    config = described_run(tmp_path)
    figures = figures_of(bench, config)
    described = bench.Described.of(config.output)
    encoder = bench.BagOfWords([d.text for d in described.descriptions])
    reading = described.read_by(encoder)
    for rule in bench.RULES:
        selections = described.selections(np.arange(36), rule, reading)
        whole = measure_selection(described.domain, selections, resamples=50, seed=0)
        assert figures[f"selection_precision_{rule}_tfidf_3"] == whole["selection_precision"].value
        assert figures[f"selection_recall_{rule}_tfidf_3"] == whole["selection_recall"].value
        assert figures[f"selection_selected_{rule}_tfidf_3"] == whole["selected_per_image"].value
    assert figures["selection_precision_3"] == figures["selection_precision_image_tfidf_3"]
    assert figures["selection_precision_1"] < figures["selection_precision_3"] == 1


def test_some_images_lose_descriptions(bench: Any, tmp_path: Path):
    config = described_run(tmp_path)
    described = bench.Described.of(config.output)
    rows, chosen = described.without(2, 5, 0)
    left = np.bincount(np.repeat(np.arange(12), 3)[rows], minlength=12)
    ids = [example.id for example in described.domain.split("train")]
    assert {name for name, count in zip(ids, left, strict=True) if count == 1} == chosen
    assert sorted(left) == [1] * 5 + [3] * 7
    assert described.without(9, 5, 1)[0].size == 12 * 3 - 5 * 2  # one is always left
    figures = figures_of(bench, config, "--lose", "1", "--losers", "5", "--draws", "2")
    whole = figures_of(bench, config)
    for whose in ("theirs", "others"):
        assert figures[f"lost_precision_before_image_tfidf_1_{whose}"] == whole["selection_precision_image_tfidf_3"]
        assert 0 <= figures[f"lost_changed_unlisted_tfidf_1_{whose}"] <= 1


def test_what_is_averaged_is_counted_by_image(bench: Any, tmp_path: Path):
    described = bench.Described.of(described_run(tmp_path).output)
    examples = described.domain.split("train")
    selections = [
        Selection(e.id, c, 0.0, selected=c in {VISIBLE[e.label][0], CONCEPTS[e.label][2]})
        for e in examples
        for c in CONCEPTS[e.label]
    ]
    assert described.counts(selections).tolist() == [[1.0] * 12, [2.0] * 12, [2.0] * 12]
    found = bench.figures(np.array([[1.0, 0.5], [2.0, 1.0], [2.0, 4.0]]), 50)
    assert (found["precision"], found["recall"], found["selected"]) == (0.5, 0.25, 1.5)


def test_the_counts_asked_for(bench: Any, tmp_path: Path):
    figures = figures_of(bench, described_run(tmp_path), "--counts", "2,50", "--draws", "2")
    assert {int(key.split("_")[2]) for key in figures if key.split("_")[2].isdecimal()} == {2, 3}


def test_thinned_counts_end_with_all(bench: Any):
    assert bench.thinned(1) == [1]
    assert bench.thinned(6) == [1, 2, 3, 4, 6]
    assert bench.thinned(30) == [1, 2, 3, 4, 6, 9, 14, 21, 30]


def test_what_cannot_be_measured(bench: Any, tmp_path: Path):
    with pytest.raises(SeeWhyError, match="no run folder"):
        bench.main([str(tmp_path)])
    config = described_run(tmp_path, truth=False)
    with pytest.raises(SeeWhyError, match="no ground truth"):
        bench.main([config.output])


def test_no_descriptions_at_all_are_refused(bench: Any, tmp_path: Path):
    with pytest.raises(SeeWhyError, match="at least 1 description"):
        bench.main([described_run(tmp_path).output, "--counts", "0,1"])
