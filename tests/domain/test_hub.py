"""Data sets of the Hugging Face library, saved and loaded without a network."""

import sys
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from published_sets import write_concepts
from seewhy.config import DataConfig
from seewhy.domain import load_domain
from seewhy.domain.loaders import hub
from seewhy.domain.loaders.layouts import layout_of, read_data
from seewhy.errors import SeeWhyError

datasets = pytest.importorskip("datasets")
CLASSES = ["fish_crow", "raven"]


def picture(seed: int, kind: str = "PNG") -> dict[str, Any]:
    file = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return {"bytes": file.getvalue(), "path": None}


def part(seeds: range, **more: list[Any]) -> Any:
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)}
    kinds = {name: datasets.ClassLabel(names=["x", "y"]) for name in more}
    content = {"image": [picture(s) for s in seeds], "label": [s % 2 for s in seeds], **more}
    return datasets.Dataset.from_dict(content, datasets.Features(features | kinds))


def saved(folder: Path, **parts: Any) -> str:
    datasets.DatasetDict(parts).save_to_disk(str(folder))
    return str(folder)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEWHY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def birds(tmp_path: Path) -> str:
    return saved(tmp_path / "birds", train=part(range(6)), validation=part(range(6, 8)), test=part(range(8, 12)))


def test_a_saved_data_set_is_read(birds: str, cache: Path, tmp_path: Path) -> None:
    assert layout_of(Path(birds)) == "hub"
    concepts = write_concepts(tmp_path / "c.yaml", ["fish crow", "raven"])
    domain = load_domain(DataConfig(birds, str(concepts)))
    assert domain.name == "birds"
    assert domain.labels == ("fish crow", "raven")
    assert Counter((e.split, e.label) for e in domain.examples) == {
        ("train", "fish crow"): 3, ("train", "raven"): 3, ("val", "fish crow"): 1, ("val", "raven"): 1,
        ("test", "fish crow"): 2, ("test", "raven"): 2,
    }  # fmt: skip
    first = next(example for example in domain.examples if example.split == "train")
    assert Path(domain.path(first)).read_bytes() == picture(0)["bytes"]
    assert first.sha256 in first.image
    assert Path(domain.path(first)).is_relative_to(cache)


def test_images_are_written_once(birds: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read_data(DataConfig(birds)).rows
    times = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert len(times) == 12 + 1
    monkeypatch.setattr(hub, "_materialise", lambda *_: pytest.fail("written again"))
    assert read_data(DataConfig(birds)).rows == rows
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_writing_that_broke_off_is_taken_up(birds: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = hub._write
    left = iter(range(5))

    def out_of_time(path: Path, content: bytes) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(hub, "_write", out_of_time)
    with pytest.raises(KeyboardInterrupt):
        read_data(DataConfig(birds))
    assert not list(cache.rglob("index.jsonl"))
    assert len(list(cache.rglob("*.png"))) == 5
    monkeypatch.setattr(hub, "_write", write)
    assert len(read_data(DataConfig(birds)).rows) == 12


def test_a_data_set_that_changes_is_written_anew(tmp_path: Path, cache: Path) -> None:
    first = read_data(DataConfig(saved(tmp_path / "a/birds", train=part(range(4)))))
    other = read_data(DataConfig(saved(tmp_path / "b/birds", train=part(range(1, 5)))))
    assert first.root != other.root
    assert first.root.parent == other.root.parent == cache / "hub"


def test_a_caller_may_say_where_images_go(birds: str, tmp_path: Path) -> None:
    assert read_data(DataConfig(birds), tmp_path / "mine").root.is_relative_to(tmp_path / "mine")


def test_parquet_files_and_other_formats(tmp_path: Path, cache: Path) -> None:
    train = part(range(4))
    kept = [picture(n, kind) for n, kind in enumerate(("JPEG", "PNG", "WEBP", "BMP"))]
    train = datasets.Dataset.from_dict({"image": kept, "label": [0, 1, 0, 1]}, train.features)
    (tmp_path / "set").mkdir()
    train.to_parquet(str(tmp_path / "set/train-00000-of-00001.parquet"))
    part(range(8, 10)).to_parquet(str(tmp_path / "set/test-00000-of-00001.parquet"))
    reading = read_data(DataConfig(str(tmp_path / "set"), layout="hub"))
    assert [Path(row.image).suffix for row in reading.rows] == [".jpg", ".png", ".webp", ".bmp", ".png", ".png"]
    assert [row.split for row in reading.rows] == ["train"] * 4 + ["test"] * 2


def test_images_that_repeat(tmp_path: Path, cache: Path) -> None:
    seeds = [0, 1, 2, 0, 1]
    content = {"image": [picture(s) for s in seeds], "label": [0, 1, 0, 0, 0]}
    train = datasets.Dataset.from_dict(content, part(range(1)).features)
    reading = read_data(DataConfig(saved(tmp_path / "birds", train=train, test=part(range(2)))))
    assert len(reading.rows) == 3 + 2
    assert reading.problems == []
    assert reading.notes == [
        "birds: train row 5 is the same image as train row 2, and called 'fish crow', not 'raven'; left out.",
        "birds: 1 rows repeat an image of their split and class; left out.",
    ]


def test_rows_without_image_or_label_are_named(tmp_path: Path, cache: Path) -> None:
    content = {"image": [None, picture(1), picture(2)], "label": [0, None, 1]}
    train = datasets.Dataset.from_dict(content, part(range(1)).features)
    problems = read_data(DataConfig(saved(tmp_path / "birds", train=train))).problems
    assert problems == [
        "birds: train row 1 has no image; remove the row.", "birds: train row 2 has no label; remove the row."
    ]  # fmt: skip


def test_the_column_to_learn(tmp_path: Path, cache: Path) -> None:
    source = saved(tmp_path / "birds", train=part(range(4), family=[0, 1, 1, 1]))
    with pytest.raises(SeeWhyError, match=r"the label columns label, family .* set data\.label_column"):
        read_data(DataConfig(source))
    rows = read_data(DataConfig(source, label_column="family")).rows
    assert [row.label for row in rows] == ["x", "y", "y", "y"]
    with pytest.raises(SeeWhyError, match=r"no column 'familly' \(did you mean 'family'\?\)"):
        read_data(DataConfig(source, label_column="familly"))
    with pytest.raises(SeeWhyError, match=r"column 'image' is neither"):
        read_data(DataConfig(source, label_column="image"))


def test_labels_as_text(tmp_path: Path, cache: Path) -> None:
    train = datasets.Dataset.from_dict({"photo": [picture(0), picture(1)], "name": ["Crow", "Rook"]})
    source = saved(tmp_path / "birds", train=train.cast_column("photo", datasets.Image()))
    with pytest.raises(SeeWhyError, match=r"no column of type ClassLabel \(columns: photo, name\)"):
        read_data(DataConfig(source))
    assert [row.label for row in read_data(DataConfig(source, label_column="name")).rows] == ["Crow", "Rook"]


def test_data_sets_that_cannot_be_used(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = datasets.Dataset.from_dict({"text": ["a"], "label": ["b"]})
    with pytest.raises(SeeWhyError, match=r"no image column \(columns: text, label\)"):
        read_data(DataConfig(saved(tmp_path / "text", train=text)))
    with pytest.raises(SeeWhyError, match="its part 'extra' is none of train, validation and test"):
        read_data(DataConfig(saved(tmp_path / "parts", train=part(range(2)), extra=part(range(2)))))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SeeWhyError, match=r"empty cannot be loaded .* save_to_disk"):
        read_data(DataConfig(str(tmp_path / "empty"), layout="hub"))
    with pytest.raises(SeeWhyError, match=r"or data\.layout to 'hub' if it is a data set on the Hugging Face Hub"):
        read_data(DataConfig("owner/birds"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SeeWhyError, match=r"pip install 'seewhy\[data\]'"):
        read_data(DataConfig("owner/birds", layout="hub"))


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("owner/birds", ("owner/birds", None, None)),
        ("owner/birds@v1", ("owner/birds", None, "v1")),
        ("owner/birds:small@v1", ("owner/birds", "small", "v1")),
    ],
)
def test_configuration_and_revision_on_the_hub(
    source: str, asked: tuple[str | None, ...], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(name: str, configuration: str | None, *, revision: str | None) -> Any:
        assert (name, configuration, revision) == asked
        return datasets.DatasetDict(train=part(range(4)))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    reading = read_data(DataConfig(source, layout="hub"))
    assert (reading.name, len(reading.rows)) == ("owner/birds", 4)


def test_a_data_set_that_is_a_script_is_told_in_our_words(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "cub").mkdir()
    (tmp_path / "cub/cub.py").write_text("import datasets\nclass Cub(datasets.GeneratorBasedBuilder): pass\n")
    with pytest.raises(SeeWhyError, match=r"cub is read by a script of its own .*refs/convert/parquet.*save_to_disk"):
        read_data(DataConfig(str(tmp_path / "cub"), layout="hub"))
    with pytest.raises(SeeWhyError, match=r"no folder 'train'.* Set data\.layout to 'hub' if it is a Hugging Face"):
        read_data(DataConfig(str(tmp_path / "cub")))


def test_a_broken_card_is_told_in_our_words(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "card").mkdir()
    (tmp_path / "card/README.md").write_text("---\nconfigs: [a, : b\n---\n")
    (tmp_path / "card/train.csv").write_text("a\n1\n")
    with pytest.raises(SeeWhyError, match=r"card cannot be loaded \(while parsing"):
        read_data(DataConfig(str(tmp_path / "card"), layout="hub"))


def test_the_folder_that_the_hint_names_is_read(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data").mkdir()
    part(range(6)).to_parquet(tmp_path / "data/train-00000-of-00001.parquet")
    part(range(6, 8)).to_parquet(tmp_path / "data/test-00000-of-00001.parquet")
    with pytest.raises(SeeWhyError, match=r"Set data\.layout to 'hub'"):
        read_data(DataConfig(str(tmp_path / "data/train-00000-of-00001.parquet")))
    rows = read_data(DataConfig(str(tmp_path / "data"), layout="hub")).rows
    assert Counter(row.split for row in rows) == {"train": 6, "test": 2}


def write_rows_of_paths(file: Path, paths: list[str]) -> None:
    """Write rows that name their image and do not hold it, which the library itself fills in."""
    part(range(len(paths))).to_parquet(str(file))
    table = pq.read_table(file)
    images = pa.array([{"bytes": None, "path": path} for path in paths], table.schema.field("image").type)
    pq.write_table(table.set_column(0, table.schema.field("image"), images), file)


@pytest.mark.parametrize("named", ["absolute", "../private.png", "link.png"])
def test_a_row_reads_no_file_outside_of_its_data_set(tmp_path: Path, cache: Path, named: str) -> None:
    """What a row names would be trained on, shown and exported."""
    private, folder = tmp_path / "private.png", tmp_path / "set"
    private.write_bytes(picture(0)["bytes"])
    folder.mkdir()
    (folder / "own.png").write_bytes(picture(1)["bytes"])
    (folder / "link.png").symlink_to(private)
    paths = ["own.png", str(private) if named == "absolute" else named]
    write_rows_of_paths(folder / "train.parquet", paths)
    with pytest.raises(SeeWhyError, match=r"train row 2 names the file .*, which is not in the data set"):
        read_data(DataConfig(str(folder), layout="hub"))
    assert private.read_bytes() not in [path.read_bytes() for path in cache.rglob("*.png")]


def test_a_row_may_name_a_file_of_its_data_set(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for n in range(2):
        (folder / f"{n}.png").write_bytes(picture(n)["bytes"])
    write_rows_of_paths(folder / "train.parquet", ["0.png", str(folder / "1.png")])
    reading = read_data(DataConfig(str(folder), layout="hub"))
    assert [(reading.root / row.image).read_bytes() for row in reading.rows] == [picture(n)["bytes"] for n in range(2)]
