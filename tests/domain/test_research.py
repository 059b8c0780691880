"""The research code's own JSON: what is accepted, and how wrong rows are named."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from published_sets import draw, write_concepts
from seewhy.config import DataConfig
from seewhy.domain import load_domain
from seewhy.domain.loaders.layouts import layout_of, read_data
from seewhy.errors import SeeWhyError


def item(number: int, split: str, label: str) -> dict[str, Any]:
    return {"id": number, "img_path": f"CUB/{split}/{number}.png", "label": label}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """data/cub-200/cub-200-{train,test}.json with paths relative to data/, as the research code has it."""
    for split, count in (("train", 4), ("test", 2)):
        items = [item(n, split, ("Crow", "Raven")[n % 2]) for n in range(count)]
        for one in items:
            draw(tmp_path / "data" / one["img_path"])
        written(tmp_path / f"data/cub-200/cub-200-{split}.json", items)
    return tmp_path / "data/cub-200"


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_the_splits_of_one_set_are_read(folder: Path, tmp_path: Path) -> None:
    for source in (folder, folder / "cub-200-train.json", folder / "cub-200-test.json"):
        assert layout_of(source) == "research"
        concepts = str(write_concepts(tmp_path / "c.yaml", ["Crow", "Raven"]))
        domain = load_domain(DataConfig(str(source), concepts))
        assert domain.labels == ("Crow", "Raven")
        assert Counter(example.split for example in domain.examples) == {"train": 4, "test": 2}
        assert domain.examples[0].id == "CUB/train/0"


def test_conversations_beside_their_images(tmp_path: Path) -> None:
    """LLaVA's form with labels: several rows an image, the split in the row, paths relative to the file."""
    talk = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A crow."}]
    rows = [
        {"id": f"{n}", "image": f"{n // 2}.png", "label": ["Crow"], "split": "train", "conversations": talk}
        for n in range(6)
    ]
    for n in range(3):
        draw(tmp_path / f"{n}.png")
    reading = read_data(DataConfig(str(written(tmp_path / "birds.json", rows))))
    assert reading.problems == []
    assert [(row.image, row.label, row.split) for row in reading.rows] == [
        ("0.png", "Crow", "train"), ("1.png", "Crow", "train"), ("2.png", "Crow", "train"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Crow", "row 5: is 'Crow'; write"),
        ({"id": 9, "label": "Crow"}, "row 5: has no path under 'img_path' or 'image'"),
        ({"img_path": 3, "label": "Crow"}, "row 5: has no path"),
        (item(0, "train", " "), "row 5: 'label' is ' ', not a text"),
        ({"img_path": "CUB/train/0.png"}, "row 5: 'label' is None"),
        (item(0, "train", "Raven"), "row 5: image 'CUB/train/0.png' has another label at cub-200-train.json row 1"),
        (item(1, "test", "Raven"), "has another split"),
        (
            item(0, "train", "Crow") | {"split": "Train"},
            "split 'Train' is none of train, val, test (did you mean 'train'?)",
        ),
        (item(99, "train", "Crow"), "image 'CUB/train/99.png' is not there"),
        ({"img_path": "../../etc/hostname", "label": "Crow"}, "leads out of the data folder"),
    ],
)
def test_wrong_rows_are_named(folder: Path, row: Any, message: str) -> None:
    path = folder / "cub-200-train.json"
    written(path, [*json.loads(path.read_text()), row])
    assert message in "\n".join(read_data(DataConfig(str(folder))).problems)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("birds-train.json", {"a": 1}, "is no list of rows"),
        ("birds-train.json", [], "is no list of rows, or an empty one"),
        ("birds.json", None, "cannot be read"),
    ],
)
def test_files_that_are_no_rows(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = written(tmp_path / name, content)
    if content is None:
        path.write_text("[{")
    with pytest.raises(SeeWhyError, match=message):
        read_data(DataConfig(str(path)))


def test_a_split_must_be_told(tmp_path: Path) -> None:
    draw(tmp_path / "0.png")
    path = written(tmp_path / "birds.json", [{"image": "0.png", "label": "Crow"}])
    assert "split None is none of train, val, test" in "\n".join(read_data(DataConfig(str(path))).problems)


def test_several_sets_in_one_folder_are_refused(folder: Path) -> None:
    written(folder / "dogs-train.json", [])
    with pytest.raises(SeeWhyError, match=r"files of several data sets \(cub-200, dogs\)"):
        read_data(DataConfig(str(folder)))
    with pytest.raises(SeeWhyError, match=r"no file called <name>-train\.json"):
        read_data(DataConfig(str(folder.parent), layout="research"))
