"""`seewhy data check`: every kind of finding, and that it scales."""

import csv
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from published_sets import PUBLISHED, draw
from seewhy.cli import main
from seewhy.config import DataConfig
from seewhy.domain.check import DataCheck, Finding, check_data, close_pairs, near_duplicates, signature
from seewhy.domain.domain import load_domain


def photo(seed: int, side: int = 96) -> Image.Image:
    """Smooth random colours: what photographs have and noise has not."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of ten train and two test photos each."""
    seed = 0
    for split, count in (("train", 10), ("test", 2)):
        for label in ("Crow", "Fish Crow"):
            (tmp_path / "birds" / split / label).mkdir(parents=True)
            for number in range(count):
                photo(seed := seed + 1).save(tmp_path / "birds" / split / label / f"{number}.png")
    (tmp_path / "c.yaml").write_text(
        "Crow: [black bill, long tail, glossy wings]\nFish Crow: [short bill, big head, legs]"
    )
    return tmp_path / "birds"


def check(root: Path, **settings: str) -> DataCheck:
    return check_data(DataConfig(str(root), **{"concepts": str(root.parent / "c.yaml"), **settings}))  # type: ignore[arg-type]


def found(checked: DataCheck, kind: str) -> Finding:
    (finding,) = (finding for finding in checked.findings if finding.kind == kind)
    return finding


def test_a_whole_data_set(root: Path) -> None:
    checked = check(root)
    assert checked.counts == {"Crow": {"train": 10, "test": 2}, "Fish Crow": {"train": 10, "test": 2}}
    assert checked.errors == 0
    assert [(f.level, f.kind, f.items) for f in checked.findings] == [
        ("note", "splits", ()), ("note", "labels", ("'Crow' in 'Fish Crow'",)),
    ]  # fmt: skip
    assert "there is no val image" in found(checked, "splits").message


def test_every_broken_file_is_listed(root: Path) -> None:
    for number in range(25):
        (root / f"train/Crow/bad{number}.png").write_bytes((root / "train/Crow/1.png").read_bytes()[:200])
    (root / "test/Crow/empty.jpg").touch()
    finding = found(check(root), "broken files")
    assert (finding.level, len(finding.items)) == ("error", 26)
    assert "test/Crow/empty.jpg is empty (0 bytes); replace or remove it." in finding.items


def test_copies_and_near_copies(root: Path) -> None:
    shutil.copy(root / "train/Crow/0.png", root / "test/Crow/copy.png")
    shutil.copy(root / "train/Crow/1.png", root / "train/Fish Crow/copy.png")
    shutil.copy(root / "train/Crow/2.png", root / "train/Crow/copy.png")
    with Image.open(root / "train/Crow/3.png") as image:
        image.resize((60, 60)).save(root / "test/Crow/small.jpg", quality=60)
        image.point([min(255, int(v * 1.1)) for v in range(256)] * 3).save(root / "train/Fish Crow/bright.png")
    with Image.open(root / "train/Crow/4.png") as image:
        image.save(root / "train/Crow/again.jpg", quality=80)
    checked = check(root)
    expected = {
        "copies across splits": ("error", ["test/Crow/copy.png and train/Crow/0.png"]),
        "copies across classes": ("error", ["train/Fish Crow/copy.png and train/Crow/1.png"]),
        "copies": ("note", ["train/Crow/copy.png and train/Crow/2.png"]),
        "near-copies across classes": ("warning", ["train/Fish Crow/bright.png and train/Crow/3.png"]),
        "near-copies": ("note", ["train/Crow/again.jpg and train/Crow/4.png"]),
    }
    for kind, (level, items) in expected.items():
        finding = found(checked, kind)
        assert (finding.level, list(finding.items)) == (level, items), kind
    across = found(checked, "near-copies across splits")
    assert across.level == "warning"
    assert set(across.items) == {
        "test/Crow/small.jpg and train/Crow/3.png", "test/Crow/small.jpg and train/Fish Crow/bright.png",
    }  # fmt: skip


def test_copies_in_published_splits_are_warnings(tmp_path: Path) -> None:
    source = PUBLISHED["dogs"].make(tmp_path)
    folder = source / "Images/n02085620-Chihuahua"
    shutil.copy(folder / "n02085620_0.jpg", folder / "n02085620_4.jpg")
    assert found(check_data(DataConfig(str(source))), "copies across splits").level == "warning"


def test_flat_and_different_images_are_no_copies(root: Path) -> None:
    for number, grey in enumerate((0, 10, 255)):
        Image.new("RGB", (80, 80), (grey, grey, grey)).save(root / f"train/Crow/flat{number}.png")
    assert not [f for f in check(root).findings if "copies" in f.kind]


def test_image_modes_and_sizes(root: Path) -> None:
    wide = np.random.default_rng(5).integers(0, 4096, (80, 80)).astype(np.uint16)
    Image.fromarray(wide).save(root / "train/Crow/16bit.png")
    photo(101).convert("P").save(root / "train/Crow/palette.png")
    photo(102).convert("CMYK").save(root / "train/Crow/cmyk.jpg")
    clear = photo(103).convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 100))
    clear.save(root / "train/Crow/clear.png")
    photo(104).convert("L").save(root / "train/Crow/grey.png")
    photo(105, side=20).save(root / "train/Crow/tiny.png")
    checked = check(root)
    modes = {f.message: f.items for f in checked.findings if f.kind == "image modes"}
    assert modes == {
        "images with 16 bits a pixel, read as 8": ("train/Crow/16bit.png",),
        "images with CMYK colours, read as RGB": ("train/Crow/cmyk.jpg",),
        "images with a palette, read as RGB": ("train/Crow/palette.png",),
        "images with transparency, read as on white": ("train/Crow/clear.png",),
        "grey images among colour ones: a shortcut, where classes differ in it": (
            "train/Crow/16bit.png", "train/Crow/grey.png",
        ),
    }  # fmt: skip
    assert found(checked, "small images").items == ("train/Crow/tiny.png: 20 pixels",)
    assert checked.errors == 0


def test_imbalance_and_empty_splits(root: Path) -> None:
    for number in range(3):
        draw(root / f"train/Rook/{number}.png", side=80)
    for number in range(40):
        draw(root / f"train/Crow/more{number}.png", side=80)
    messages = {f.message: f for f in check(root).findings if f.kind == "imbalance"}
    assert messages["classes with fewer than 10 train images"].items == ("Rook: 3",)
    assert messages["classes without test images: nothing is measured of them"].items == ("Rook",)
    assert any("'Crow' has 50 train images and 'Rook' 3" in message for message in messages)
    shutil.rmtree(root / "test")
    finding = next(f for f in check(root).findings if f.kind == "splits")
    assert (finding.level, finding.message) == ("error", "there is no test image; add images")


def test_labels_that_cannot_be_told_apart(root: Path) -> None:
    draw(root / "train/fish-crow/1.png", side=80)
    finding = next(f for f in check(root).findings if f.kind == "labels" and f.level == "error")
    assert "differ only in case or punctuation" in finding.items[0]


@pytest.mark.parametrize(
    ("concepts", "level", "message"),
    [
        ("Crow: [a, b, c]", "error", "class 'Fish Crow' has no concepts"),
        ("- Crow", "error", "is no mapping of classes"),
        (None, "warning", "`seewhy concepts draft` writes one"),
    ],
)
def test_the_concept_bank_is_checked(root: Path, concepts: str | None, level: str, message: str) -> None:
    path = root.parent / "c.yaml"
    path.unlink() if concepts is None else path.write_text(concepts)
    finding = found(check(root), "concepts")
    assert finding.level == level
    assert message in "\n".join((finding.message, *finding.items))


def test_what_need_not_be_mended_is_a_note(root: Path) -> None:
    shutil.copytree(root / "train/Crow", root / "train/Red-Beet")
    for path in (root / "train/Red-Beet").iterdir():
        photo(int(path.stem) + 1000).save(path)
    (root.parent / "c.yaml").write_text("Crow: [a, b]\nFish Crow: [c, d]\nRed-Beet: [e, f]\nRook: [g]\nJay: [h]")
    checked = check(root)
    assert checked.errors == 0
    assert found(checked, "unused concepts").level == "note"
    assert found(checked, "unused concepts").items == ("Rook", "Jay")
    assert 'said as it is written: "This is a Red-Beet."' in found(checked, "spoken labels").message
    assert "rename its class folders to 'Red_Beet'" in found(checked, "spoken labels").message


def test_truth_and_questions_are_checked(root: Path) -> None:
    (root.parent / "t.jsonl").write_text('{"image": "none.png", "visible": []}')
    checked = check(root, truth=str(root.parent / "t.jsonl"), noun=" ")
    assert "'none.png' is no example" in found(checked, "truth").message
    assert "The noun ' '" in found(checked, "questions").message


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = root.parent / "birds.yaml"
    config.write_text(f"data: {{source: {root}, concepts: {root.parent / 'c.yaml'}}}\n")
    assert main(["data", "check", str(config)]) == 0
    assert "Nothing is wrong." in capsys.readouterr().out
    for number in range(12):
        (root / f"train/Crow/bad{number:02d}.png").touch()
    assert main(["data", "check", str(config)]) == 1
    shown = capsys.readouterr().out
    assert "error: files that are no whole image (12)" in shown
    assert "and 2 more; --json lists all" in shown
    assert "1 errors, 0 warnings." in shown
    assert main(["data", "check", str(config), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["errors"] == 1
    assert told["images"] == {"train": 32, "val": 0, "test": 4}
    assert len(told["findings"][0]["items"]) == 12
    assert main(["data", "check", str(root / "none.yaml")]) == 1


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", "--help"])
    assert ended.value.code == 0
    assert "seewhy data check configs/cub200.yaml" in capsys.readouterr().out


# --- near-duplicates --------------------------------------------------------------------------------------------------


def test_close_pairs_are_those_of_the_full_comparison() -> None:
    rng = np.random.default_rng(0)
    hash_N = rng.integers(0, 2**64, 300, dtype=np.uint64)
    for n in range(1, 300, 3):  # copies that differ in 0 to 9 bits
        bits = rng.choice(64, n % 10, replace=False)
        hash_N[n] = hash_N[n - 1] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=np.uint64(0))
    distance = np.bitwise_count(hash_N[:, None] ^ hash_N)
    expected = {(i, j) for i in range(300) for j in range(i + 1, 300) if distance[i, j] <= 6}
    got = {pair for i_K, j_K in close_pairs(hash_N) for pair in zip(i_K.tolist(), j_K.tolist(), strict=True)}
    assert got == expected
    assert len(expected) >= 60


def test_fifty_thousand_images_take_seconds() -> None:
    rng = np.random.default_rng(0)
    hash_N = rng.integers(0, 2**64, 50_000, dtype=np.uint64)
    thumbnail_NSS = rng.integers(0, 255, (50_000, 16, 16), dtype=np.uint8)
    hash_N[40_000], thumbnail_NSS[40_000] = hash_N[7] ^ np.uint64(5), thumbnail_NSS[7]
    start = time.process_time()
    assert near_duplicates(hash_N, thumbnail_NSS) == [(7, 40_000)]
    assert time.process_time() - start < 20


def test_hashes_alone_are_not_believed() -> None:
    phash, thumbnail_SS = signature(photo(1))
    _, other_SS = signature(photo(2))
    hash_N = np.array([phash, phash], dtype=np.uint64)
    assert near_duplicates(hash_N, np.stack([thumbnail_SS, other_SS])) == []
    assert near_duplicates(hash_N, np.stack([thumbnail_SS, thumbnail_SS])) == [(0, 1)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_tables_groups(root: Path, suffix: str) -> None:
    """Photos of one subject: told where they lie in two splits, kept whole by `val_share`, and known to the domain."""
    images = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    rows = [{"image": i, "label": i.split("/")[1], "split": i.split("/")[0], "group": None} for i in images]
    for row in rows:
        if row["image"] in ("train/Crow/1.png", "train/Crow/2.png", "test/Crow/0.png"):
            row["group"] = "7"
        elif row["image"] in ("train/Fish Crow/1.png", "train/Fish Crow/2.png"):
            row["group"] = "8"
    table = root / f"table{suffix}"
    if suffix == ".csv":
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == ".jsonl":
        numbered = [{**row, "group": row["group"] and int(row["group"])} for row in rows]
        table.write_text("\n".join(map(json.dumps, numbered)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), table)
    leaks = found(check(table, concepts=str(root.parent / "c.yaml")), "groups across splits")
    assert (leaks.level, leaks.items) == ("warning", ("7: train, test",))
    domain = load_domain(DataConfig(str(table), concepts=str(root.parent / "c.yaml")))
    assert domain.groups == {
        "train/Crow/1": "7", "train/Crow/2": "7", "test/Crow/0": "7",
        "train/Fish Crow/1": "8", "train/Fish Crow/2": "8",
    }  # fmt: skip
    assert domain.clusters(["train/Crow/1", "train/Crow/3", "train/Crow/2"]) == ["7", "train/Crow/3", "7"]
