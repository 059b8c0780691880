import csv
import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from seewhy.config import DataConfig
from seewhy.domain import inspection, load_domain
from seewhy.domain.check import check_data
from seewhy.domain.domain import VOCABULARY_FILE, Vocabulary
from seewhy.domain.loaders.folder import label_of
from seewhy.errors import SeeWhyError

CLASSES = ("Crow", "Fish_Crow", "Raven")
CONCEPTS = "Crow: [black bill, long tail]\nFish Crow: {concepts: [short bill], aliases: [Corvus]}\nRaven: [big bill]\n"


def draw(path: Path) -> Path:
    """A small picture that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(path.as_posix().encode()).digest()[:4], "big")
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Three classes, two train and one test image each; val has only Crow."""
    root = tmp_path / "birds"
    for name in CLASSES:
        for image in ("train/{}/1.png", "train/{}/2.png", "test/{}/3.png"):
            draw(root / image.format(name))
    draw(root / "val/Crow/4.png")
    (tmp_path / "concepts.yaml").write_text(CONCEPTS)
    return DataConfig(source=str(root), concepts=str(tmp_path / "concepts.yaml"), noun="bird")


def refused(data: DataConfig) -> str:
    with pytest.raises(SeeWhyError) as error:
        load_domain(data)
    return str(error.value)


def test_a_folder_is_read(data: DataConfig) -> None:
    birds = load_domain(data)
    assert birds.name == "birds"
    assert birds.labels == ("Crow", "Fish Crow", "Raven")
    assert [len(birds.split(split)) for split in ("train", "val", "test")] == [6, 1, 3]
    first = birds.examples[0]
    assert (first.id, first.image, first.label, first.split) == ("train/Crow/1", "train/Crow/1.png", "Crow", "train")
    assert first.sha256 == hashlib.sha256(Path(birds.path(first)).read_bytes()).hexdigest()
    assert birds.concepts["Fish Crow"] == ("short bill",)
    assert birds.matcher.is_correct("a Corvus", "Fish Crow")
    assert birds.truth is None
    assert any("bird" in question for question in birds.questions.describe)


def test_ids_are_unique_where_extensions_alone_differ(data: DataConfig) -> None:
    root = Path(data.source)
    draw(root / "train/Crow/1.bmp")
    draw(root / "train/Crow/1.png.bmp")
    ids = [example.id for example in load_domain(data).examples]
    assert len(set(ids)) == len(ids)
    assert {"train/Crow/1.bmp", "train/Crow/1.png", "train/Crow/1.png.bmp", "train/Crow/2"} <= set(ids)


def test_hidden_and_side_files_are_passed_over(data: DataConfig) -> None:
    root = Path(data.source)
    for name in ("README.md", "train/.DS_Store", "train/Crow/._1.png", "train/Crow/Thumbs.db", "train/Crow/1.txt"):
        (root / name).write_text("x")
    assert len(load_domain(data).examples) == 10


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("Black_footed__Albatross", "Black footed Albatross"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("737-300", "737-300"),
        ("747", "747"),
        ("e\u0301tourneau", "\u00e9tourneau"),
        ("小嘴乌鸦", "小嘴乌鸦"),
    ],
)
def test_labels_of_class_folders(folder: str, label: str) -> None:
    assert label_of(folder) == label


def test_the_fingerprint_covers_what_a_run_depends_on(data: DataConfig, tmp_path: Path) -> None:
    original = load_domain(data).fingerprint
    moved = shutil.copytree(data.source, tmp_path / "elsewhere")
    assert load_domain(replace(data, source=str(moved))).fingerprint == original
    truth = tmp_path / "truth.jsonl"
    truth.write_text('{"image": "train/Crow/1.png", "visible": ["black bill"]}')
    assert load_domain(replace(data, truth=str(truth))).fingerprint == original
    changed = {original, load_domain(replace(data, noun="corvid")).fingerprint}
    for concepts in (CONCEPTS.replace("big", "huge"), CONCEPTS.replace("Corvus", "Corvid")):
        (tmp_path / "other.yaml").write_text(concepts)
        changed.add(load_domain(replace(data, concepts=str(tmp_path / "other.yaml"))).fingerprint)
    shutil.move(moved / "train/Crow/2.png", moved / "val/Crow/2.png")
    changed.add(load_domain(replace(data, source=str(moved))).fingerprint)
    (moved / "val/Crow/2.png").write_bytes(draw(tmp_path / "new.png").read_bytes())
    changed.add(load_domain(replace(data, source=str(moved))).fingerprint)
    assert len(changed) == 6


def test_all_problems_come_in_one_message(data: DataConfig, tmp_path: Path) -> None:
    root = Path(data.source)
    (root / "train/Crow/empty.jpg").touch()
    (root / "train/Crow/cut.png").write_bytes((root / "train/Crow/1.png").read_bytes()[:-60])
    shutil.copy(root / "train/Raven/1.png", root / "test/Raven/copy.png")
    draw(root / "train/Jay/1.png")
    draw(root / "test/Rook/1.png")
    (tmp_path / "concepts.yaml").write_text(CONCEPTS + "Rook: ['a <image>', grey face]\nMagpie: [long tail]\n")
    message = refused(data)
    assert message.startswith(f"{data.source}: 6 problems.")
    for part in (
        "train/Crow/empty.jpg is empty (0 bytes)",
        "train/Crow/cut.png is corrupt or truncated",
        "test/Raven/copy.png is the same image as train/Raven/1.png, in another split",
        "class 'Rook' has no train image",
        "class 'Jay' has no concepts",
        "concepts of 'Rook': 'a <image>' holds '<image>'",
    ):
        assert part in message


def test_classes_whose_own_sentence_does_not_name_them_are_refused(data: DataConfig, tmp_path: Path) -> None:
    """All of them at once, each with its sentence and another name."""
    rows = [
        row | {"label": {"Crow": "Crow?", "Raven": "Raven?!"}.get(row["label"], row["label"])} for row in rows_of(data)
    ]
    concepts = tmp_path / "others.yaml"
    concepts.write_text('"Crow?": [black bill]\nFish Crow: [short bill]\n"Raven?!": [big bill]\n')
    table = replace(data, source=write_table(tmp_path / "birds" / "table.csv", rows), concepts=str(concepts))
    message = refused(table)
    assert "2 problems" in message
    assert '"This is a Crow?." is not taken for naming it' in message
    assert "rename the class, for instance to 'Crow'" in message
    assert '"This is a Raven?!."' in message


def test_the_words_of_a_run_are_written_and_read(data: DataConfig, tmp_path: Path) -> None:
    birds = load_domain(data)
    words = Vocabulary.of(birds)
    assert (
        Vocabulary.of_run(tmp_path, data).record() == words.record()
    )  # a run that has not written them: from its data
    (tmp_path / VOCABULARY_FILE).write_text(json.dumps(words.record()))
    shutil.rmtree(birds.root)
    again = Vocabulary.of_run(tmp_path, data)
    assert again.record() == words.record()
    assert again.matcher.names("a Corvus") == {"Fish Crow"}


def test_letters_and_digits_are_classes(data: DataConfig, tmp_path: Path) -> None:
    rows = [row | {"label": {"Crow": "A", "Fish Crow": "B", "Raven": "7"}[row["label"]]} for row in rows_of(data)]
    concepts = tmp_path / "others.yaml"
    concepts.write_text('"A": [black bill]\n"B": [short bill]\n"7": [big bill]\n')
    letters = load_domain(
        replace(data, source=write_table(tmp_path / "birds" / "table.csv", rows), concepts=str(concepts))
    )
    assert [letters.matcher.names(f"This is a {label}.") for label in letters.labels] == [{"7"}, {"A"}, {"B"}]
    assert letters.matcher.names("A bird with a tail.") == set()


def test_one_class_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "birds/train/Crow/1.png")
    (tmp_path / "c.yaml").write_text("Crow: [black]")
    assert "'Crow' is the only class" in refused(DataConfig(str(tmp_path / "birds"), str(tmp_path / "c.yaml")))


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("crow", "labels 'Crow' and 'crow' differ only in case or punctuation"),
        ("Fish Crow", "the class folders 'Fish Crow', 'Fish_Crow' are all the label 'Fish Crow'"),
        ("Fish-Crow", "labels 'Fish Crow' and 'Fish-Crow' differ only in case or punctuation"),
        ("Corvus", "'Corvus' names both"),
        ("a <image> crow", "holds '<image>'"),
        ("<|im_start|>", "holds '<|im start|>'"),
        ("[INST]", "holds '[INST]'"),
        ("x" * 101, "has 101 characters, more than 100"),
        ("!!!", "holds no letter or digit"),
    ],
)
def test_bad_class_folders_are_named(data: DataConfig, folder: str, message: str) -> None:
    draw(Path(data.source) / "train" / folder / "1.png")
    assert message in refused(data)


def test_the_same_image_in_two_classes_is_named(data: DataConfig) -> None:
    root = Path(data.source)
    shutil.copy(root / "train/Crow/1.png", root / "train/Raven/9.png")
    assert "train/Raven/9.png is the same image as train/Crow/1.png, in another class" in refused(data)


def test_links_out_of_the_folder_are_refused(data: DataConfig, tmp_path: Path) -> None:
    root = Path(data.source)
    outside = draw(tmp_path / "outside/secret.png")
    (root / "train/Crow/link.png").symlink_to(outside)
    (root / "train/Jay").symlink_to(outside.parent)
    (root / "train/Crow/loop.png").symlink_to(root / "train/Crow/loop.png")
    (root / "train/Crow/dangling.png").symlink_to(root / "train/Crow/none.png")
    message = refused(data)
    assert "'train/Crow/link.png' leads out of the data folder" in message
    assert "train/Jay leads out of the data folder by a link" in message
    assert "'train/Crow/dangling.png' is not there" in message
    assert "'train/Crow/loop.png' is" in message


def test_a_link_inside_the_folder_is_followed(data: DataConfig) -> None:
    root = Path(data.source)
    draw(root / "store/9.png")
    (root / "train/Crow/9.png").symlink_to(root / "store/9.png")
    assert any(example.id == "train/Crow/9" for example in load_domain(data).examples)


def test_a_linked_split_is_read(data: DataConfig, tmp_path: Path) -> None:
    root = Path(data.source)
    expected = load_domain(data)
    for split, target in (("train", tmp_path / "disk/photos"), ("test", root / "testing")):
        target.parent.mkdir(exist_ok=True)
        (root / split).rename(target)
        (root / split).symlink_to(target)
    domain = load_domain(data)
    assert domain.examples == expected.examples
    assert domain.fingerprint == expected.fingerprint
    (tmp_path / "disk/photos/Crow/out.png").symlink_to(draw(tmp_path / "outside/secret.png"))
    assert "'train/Crow/out.png' leads out of the data folder" in refused(data)


def test_a_split_that_links_to_nothing_is_named(data: DataConfig, tmp_path: Path) -> None:
    root = Path(data.source)
    for split in ("test", "train"):
        shutil.rmtree(root / split)
        (root / split).symlink_to(tmp_path / "gone")
        assert f"{split} is a link to {tmp_path / 'gone'}, which is no folder that is there" in refused(data)
        (root / split).unlink()
        draw(root / f"{split}/Crow/1.png")


def test_lost_images_of_a_folder_are_named(data: DataConfig) -> None:
    root = Path(data.source)
    draw(root / "train/loose.png")
    draw(root / "train/Crow/deeper/5.png")
    draw(root / "validation/Crow/6.png")
    (root / "train/Crow/phone.heic").write_bytes(b"not read by Pillow")
    (root / "test/Jay").mkdir()
    message = refused(data)
    for part in (
        "train/loose.png stands outside the class folders",
        "train/Crow/deeper is a folder inside a class folder",
        "validation/ is not read; name the split 'val'",
        "train/Crow/phone.heic is not an image",
        "test/Jay holds no image",
    ):
        assert part in message


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_a_file_name_that_is_not_utf8_is_refused(data: DataConfig) -> None:
    try:
        shutil.copy(
            Path(data.source) / "train/Crow/1.png", os.fsdecode(os.fsencode(data.source) + b"/train/Crow/\xff.png")
        )
    except OSError:
        pytest.skip("this file system has no such names")
    assert "has a file name that is not UTF-8" in refused(data)


def test_what_is_missing_is_named(data: DataConfig, tmp_path: Path) -> None:
    assert "no folder or table" in refused(replace(data, source=str(tmp_path / "none")))
    assert "set data.concepts" in refused(replace(data, concepts=None))
    (tmp_path / "bare").mkdir()
    assert "no folder 'train'" in refused(replace(data, source=str(tmp_path / "bare")))
    (tmp_path / "bare/train").mkdir()
    assert "no image that can be used" in refused(replace(data, source=str(tmp_path / "bare")))


def rows_of(data: DataConfig) -> list[dict[str, str]]:
    root = Path(data.source)
    files = sorted(path.relative_to(root) for path in root.rglob("*.png"))
    return [
        {"image": path.as_posix(), "label": path.parts[1].replace("_", " "), "split": path.parts[0]} for path in files
    ]


def write_table(path: Path, rows: list[dict[str, str]]) -> str:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_is_read_as_the_folder_it_lists(data: DataConfig, suffix: str) -> None:
    table = write_table(Path(data.source) / f"table{suffix}", rows_of(data))
    from_table, from_folder = load_domain(replace(data, source=table)), load_domain(data)
    assert from_table.name == "table"
    assert sorted(from_table.examples, key=lambda e: e.id) == sorted(from_folder.examples, key=lambda e: e.id)
    assert from_table.fingerprint == from_folder.fingerprint


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "../x.png"}, "leads out of the data folder"),
        ({"image": "/etc/hostname"}, "is an absolute path"),
        ({"image": "train/Crow/none.png"}, "is not there"),
        ({"image": "train/../train/Crow/1.png"}, "is listed before, at {first}"),
        ({"image": ""}, "'image' is missing"),
        ({"label": " "}, "'label' is missing"),
        ({"split": "Train"}, "split 'Train' is none of train, val, test (did you mean 'train'?)"),
        ({"label": "<image>"}, "holds '<image>'"),
    ],
)
@pytest.mark.parametrize(("suffix", "where"), [(".csv", "line {}"), (".jsonl", "line {}"), (".parquet", "row {}")])
def test_bad_rows_are_named(data: DataConfig, suffix: str, where: str, row: dict[str, str], message: str) -> None:
    rows = rows_of(data)
    draw(Path(data.source) / "more/1.png")
    rows.insert(5, {"image": "more/1.png", "label": "Crow", "split": "train", **row})
    table = write_table(Path(data.source) / f"table{suffix}", rows)
    told = refused(replace(data, source=table))
    header = suffix == ".csv"
    first = 1 + header + next(i for i, r in enumerate(rows) if r["image"] == "train/Crow/1.png")
    last = 6 + header
    if row == {"label": "<image>"}:
        assert message in told
    elif "listed before" in message and first > last:
        assert f"{where.format(first)}: " in told
        assert "is listed before" in told
    else:
        assert f"{where.format(last)}: " in told
        assert message.format(first=where.format(first)) in told


@pytest.mark.parametrize("delimiter", [";", "\t", "; ", ","])
def test_a_csv_may_be_parted_otherwise(data: DataConfig, delimiter: str) -> None:
    root = Path(data.source)
    expected = load_domain(data)
    header, rows = (
        ["image", "note", "label", "split"],
        [[example.image, "a, b", example.label, example.split] for example in expected.examples],
    )
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in [header, *rows]]
    (root / "t.csv").write_text("\n".join(map(delimiter.join, quoted)))
    if delimiter == "; ":  # a space belongs to what stands behind it, but for names of columns and labels
        (root / "t.csv").write_text((root / "t.csv").read_text().replace("; train/", ";train/"))
    assert load_domain(replace(data, source=str(root / "t.csv"))).fingerprint == expected.fingerprint


def test_parquet_with_the_images_inside_is_told_how_to_be_read(data: DataConfig, tmp_path: Path) -> None:
    struct = pa.array([{"bytes": b"x", "path": "a.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    for columns in ({"image": struct, "label": [0]}, {"picture": struct, "label": ["a"], "split": ["train"]}):
        pq.write_table(pa.table(columns), tmp_path / "train-00000-of-00001.parquet")
        message = refused(replace(data, source=str(tmp_path / "train-00000-of-00001.parquet")))
        assert f"column '{next(iter(columns))}' of bytes and path" in message
        assert f"Set data.layout to 'hub' and data.source to the folder of the Parquet files ({tmp_path})" in message
    assert "Set data.layout to 'hub'" in refused(replace(data, source=str(tmp_path)))
    assert "Set data.layout to 'hub'" not in refused(replace(data, source=str(tmp_path / "birds/test")))


def test_tables_that_are_none_are_refused(data: DataConfig) -> None:
    root = Path(data.source)
    (root / "a.csv").write_text("image,class,split\n")
    assert "lacks the column 'label' (found: image, class, split)" in refused(replace(data, source=str(root / "a.csv")))
    (root / "a.jsonl").write_text('{"image": "x"}\n{"image"\n')
    assert "line 2 is not JSON" in refused(replace(data, source=str(root / "a.jsonl")))
    (root / "b.jsonl").write_text("[1]\n")
    assert "line 1 is not a JSON object" in refused(replace(data, source=str(root / "b.jsonl")))
    (root / "c.jsonl").write_text('{"image": "train/Crow/1.png", "label": 3, "split": "train"}\n')
    assert "line 1: 'label' is 3, not text" in refused(replace(data, source=str(root / "c.jsonl")))
    (root / "a.parquet").write_bytes(b"PAR1 no")
    assert "a.parquet cannot be read" in refused(replace(data, source=str(root / "a.parquet")))
    (root / "a.xlsx").touch()
    assert "a table is one of .csv, .jsonl, .parquet" in refused(replace(data, source=str(root / "a.xlsx")))
    (root / "latin.csv").write_bytes(b"image,label,split\nx,Gr\xfcn,train\n")
    assert "UTF-8" in refused(replace(data, source=str(root / "latin.csv")))


def test_truth_is_read(data: DataConfig, tmp_path: Path) -> None:
    lines = [
        {"image": "test/Crow/3.png", "visible": ["black bill"], "hidden": ["long tail"]},
        {"example_id": "test/Raven/3", "visible": ["big bill"], "boxes": {"big bill": [1, 2, 3, 4]}},
    ]
    path = tmp_path / "truth.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    truth = load_domain(replace(data, truth=str(path))).truth
    assert truth is not None
    assert truth["test/Crow/3"].visible == ("black bill",)
    assert truth["test/Crow/3"].hidden == ("long tail",)
    assert truth["test/Raven/3"].boxes == {"big bill": (1, 2, 3, 4)}


def test_truth_says_what_is_absent_and_whether_it_is_complete(data: DataConfig, tmp_path: Path) -> None:
    lines = [
        {"image": "test/Crow/3.png", "visible": ["Black  bills"], "absent": ["big bill"]},
        {"image": "test/Raven/3.png", "visible": [], "complete": True},
    ]
    path = tmp_path / "truth.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    truth = load_domain(replace(data, truth=str(path))).truth
    assert truth is not None
    crow, raven = truth["test/Crow/3"], truth["test/Raven/3"]
    assert (crow.visible, crow.absent, crow.complete) == (("black bill",), ("big bill",), False)
    assert (raven.absent, raven.complete) == ((), True)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": "none.png", "visible": []}, "'none.png' is no example"),
        ({"image": "test/Crow/3.png"}, "not a list of phrases"),
        ({"image": "test/Crow/3.png", "visible": "black"}, "not a list of phrases"),
        ({"image": "test/Crow/3.png", "visible": ["a"], "hidden": ["a"]}, "'a' is both visible and hidden"),
        ({"image": "test/Crow/3.png", "visible": ["a"], "boxes": {"a": [1, 2, 1, 4]}}, "four whole numbers"),
        ({"image": "test/Crow/3.png", "visible": ["a"], "boxes": {"b": [1, 2, 3, 4]}}, "'b' has a box and is not"),
        ({"image": "test/Crow/3.png", "visible": ["a"], "extra": 1}, "unknown key 'extra'"),
        ({"image": "test/Crow/3.png", "visible": ["a"], "absent": ["a"]}, "'a' is both visible and absent"),
        ({"image": "test/Crow/3.png", "visible": [], "absent": "a"}, "'absent' is not a list of phrases"),
        ({"image": "test/Crow/3.png", "visible": [], "complete": "yes"}, "'complete' is 'yes', not true or false"),
        ({"image": "test/Crow/3.png", "visible": [], "completed": 1}, "(did you mean 'complete'?)"),
        (
            {"image": "test/Crow/3.png", "visible": ["black bil"]},
            "no phrase of the concept bank (did you mean 'black bill'?)",
        ),
        ({"image": "test/Crow/3.png", "visible": [], "absent": ["zebra stripes"]}, "or add it to the concept bank"),
        ({"image": "test/Raven/3.png", "visible": []}, "'test/Raven/3' has a line already"),
    ],
)
def test_bad_truth_is_named(data: DataConfig, tmp_path: Path, record: dict[str, object], message: str) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text(json.dumps({"image": "test/Raven/3.png", "visible": []}) + "\n" + json.dumps(record))
    told = refused(replace(data, truth=str(path)))
    assert "truth.jsonl: 1 problem.\n- line 2: " in told
    assert message in told


def test_truth_of_images_that_a_table_leaves_out_is_a_note(
    data: DataConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(data.source)
    images = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png"))]
    rows = [
        f"{image},{image.split('/')[1].replace('_', ' ')},{image.split('/')[0]}" for image in images if "2" not in image
    ]
    (root / "some.csv").write_text("\n".join(["image,label,split", *rows]))
    names = [{"image": image} for image in images] + [{"example_id": "train/Crow/2"}]
    truth = tmp_path / "truth.jsonl"
    truth.write_text("\n".join(json.dumps({**name, "visible": ["black bill"]}) for name in names))
    table = replace(data, source=str(root / "some.csv"), truth=str(truth))
    domain = load_domain(table)
    assert domain.truth is not None
    assert set(domain.truth) == {example.id for example in domain.examples}
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "speaks of 'train/Crow/2.png', 'train/Fish_Crow/2.png', 'train/Raven/2.png' and 1 more, which the data" in told
    )
    assert check_data(table).errors == 0
    for name in ("train/Crow/5.png", "train/Crow/5", "../concepts.yaml", str(tmp_path / "concepts.yaml")):
        truth.write_text(json.dumps({"image": name, "visible": []}))
        assert f"'{name}' is no example of the data set" in refused(table)


def test_notes_are_said_once(data: DataConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_domain(data)
    assert capsys.readouterr().err == ""
    (Path(data.source) / "train/Raven").rename(Path(data.source) / "train/Raven-Chick")
    (Path(data.source) / "test/Raven").rename(Path(data.source) / "test/Raven-Chick")
    (tmp_path / "concepts.yaml").write_text(CONCEPTS + "Raven-Chick: [grey bill]")
    for number in range(3):
        deep_HW = (
            np.random.default_rng(number).integers(0, 60_000, (8, 8)).astype((np.uint16, np.int32, np.float32)[number])
        )
        Image.fromarray(deep_HW).save(Path(data.source) / f"train/Crow/deep{number}.tif")
    domain = load_domain(data)
    notes = [" ".join(note.split()) for note in capsys.readouterr().err.split("Note: ")[1:]]
    assert len(notes) == 3
    assert notes[0].startswith("the bank has concepts of 'Raven', of which there is no image; they are passed over.")
    assert notes[1].startswith(
        "3 images have 16 or 32 bits a pixel, and models see 8: of each image the 0.1th percentile"
    )
    assert notes[2].startswith("label 'Raven-Chick' will be said as it is written: \"This is a Raven-Chick.\"")
    assert "rename its class folders to 'Raven_Chick'" in notes[2]
    assert "Raven" not in domain.concepts
    assert set(domain.sizes.values()) == {(8, 8)}


def test_missing_truth_is_named(data: DataConfig, tmp_path: Path) -> None:
    assert "cannot be read" in refused(replace(data, truth=str(tmp_path / "none.jsonl")))


def test_long_checks_show_progress(
    data: DataConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load_domain(data)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(inspection, "PROGRESS_AFTER", -1.0)
    load_domain(data)
    assert "checking images" in capsys.readouterr().err


def test_only_what_is_trained_on_needs_train_images(data: DataConfig) -> None:
    shutil.rmtree(Path(data.source) / "train")
    assert len(load_domain(data, to_train=False).split("test")) > 0
    assert "there is no train image at all" in refused(data)
