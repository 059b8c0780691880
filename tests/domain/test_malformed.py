"""Files of a user that are broken in any way are refused in our words, and never end in somebody else's traceback."""

import errno
import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from published_sets import PUBLISHED
from seewhy.config import DataConfig
from seewhy.domain import load_domain
from seewhy.domain.concepts import load_concepts
from seewhy.domain.images import image_size, inspect_image
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.loaders.llava import load_replay
from seewhy.domain.questions import Questions
from seewhy.errors import SeeWhyError

DEEP = "[" * 5_000
HUGE = "9" * 5_000
INSERTED = (
    b"\0",
    b"\xff\xfe",
    b"[[[[",
    b"{",
    b'"',
    b"&a *a",
    b"\n",
    b"\xef\xbb\xbf",
    b"- ",
    b": ",
    b"9" * 50,
    b"," * 30,
)


def broken(data: bytes, rng: random.Random) -> bytes:
    """`data` with some bytes changed, left out or put in, or cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place, kind = rng.randrange(len(found) + 1), rng.random()
        if kind < 0.4:
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif kind < 0.6:
            del found[place : place + rng.randint(1, 8)]
        elif kind < 0.9:
            found[place:place] = rng.choice(INSERTED)
        else:
            del found[place:]
    return bytes(found)


def is_told(read: Callable[[], object]) -> None:
    """Whatever is wrong with a file is a SeeWhyError, and no other exception; much that is broken can still be read."""
    with suppress(SeeWhyError):
        read()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, label in enumerate(("Crow", "Raven")):
        for split in ("train", "test"):
            (tmp_path / "birds" / split / label).mkdir(parents=True)
            pixels = np.random.default_rng(2 * number + len(split)).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "birds" / split / label / "0.png")
    (tmp_path / "c.yaml").write_text("Crow: [black bill]\nRaven: {concepts: [big bill], aliases: [Corvus]}\n")
    return tmp_path / "birds"


def rows(root: Path) -> list[dict[str, str]]:
    images = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png"))]
    return [{"image": image, "label": image.split("/")[1], "split": image.split("/")[0]} for image in images]


@pytest.mark.parametrize("text", [DEEP, HUGE, "\ud800", '{"a": ' * 5_000], ids=["deep", "huge", "half", "nested"])
def test_what_json_and_yaml_cannot_take(root: Path, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    for name in ("a.jsonl", "a-train.json", "a.yaml", "a.json"):
        (root / name).write_bytes(data)
    for read in (
        lambda: read_data(DataConfig(str(root / "a.jsonl"))),
        lambda: read_data(DataConfig(str(root / "a-train.json"))),
        lambda: load_concepts(root / "a.yaml"),
        lambda: load_concepts(root / "a.json"),
        lambda: load_replay(root / "a.json"),
        lambda: Questions.for_noun("bird", root / "a.yaml"),
        lambda: load_domain(DataConfig(str(root), str(root.parent / "c.yaml"), truth=str(root / "a.jsonl"))),
    ):
        with pytest.raises(SeeWhyError, match=r"a(-train)?\.(jsonl|json|yaml)"):
            read()


def test_names_that_no_file_has(root: Path) -> None:
    for image in ("\u00e9" * 300, "a/" * 3000, "a\0b", "\ud800", "x" * 5000):
        (root / "a.jsonl").write_text(json.dumps({"image": image, "label": "Crow", "split": "train"}))
        with pytest.raises(SeeWhyError, match=r"line 1: image .* (is no usable path|not UTF-8)"):
            load_domain(DataConfig(str(root / "a.jsonl"), str(root.parent / "c.yaml")))
        (root / "a-train.json").write_text(json.dumps([{"img_path": image, "label": "Crow"}]))
        with pytest.raises(SeeWhyError, match=r"row 1: image .* (is no usable path|not UTF-8)"):
            load_domain(DataConfig(str(root / "a-train.json"), str(root.parent / "c.yaml")))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "c.yaml", "truth.jsonl", "r.json", "s-train.json"])
def test_random_damage_to_lists(root: Path, name: str) -> None:
    rng, listed = random.Random(name), rows(root)
    truth = [{"image": listed[0]["image"], "visible": ["black bill"], "boxes": {"black bill": [1, 2, 3, 4]}}]
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A crow."}]
    whole = {
        "t.csv": "image,label,split\n" + "\n".join(",".join(row.values()) for row in listed),
        "t.jsonl": "\n".join(map(json.dumps, listed)),
        "c.yaml": (root.parent / "c.yaml").read_text(),
        "truth.jsonl": "\n".join(map(json.dumps, truth)),
        "r.json": json.dumps([{"image": listed[0]["image"], "conversations": talk}]),
        "s-train.json": json.dumps([{"img_path": row["image"], **row} for row in listed]),
    }[name]
    path, bank = root / name, str(root.parent / "c.yaml")
    read = {
        "c.yaml": lambda: load_domain(DataConfig(str(root), str(path))),
        "truth.jsonl": lambda: load_domain(DataConfig(str(root), bank, truth=str(path))),
        "r.json": lambda: load_replay(path),
    }.get(name, lambda: load_domain(DataConfig(str(path), bank)))
    for _ in range(30):
        path.write_bytes(broken(whole.encode(), rng))
        is_told(read)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif", "bmp", "ppm", "tga", "ico", "pcx", "dds"])
def test_random_damage_to_images(tmp_path: Path, suffix: str) -> None:
    rng, path = random.Random(suffix), tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 36, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for _ in range(60):
        path.write_bytes(broken(whole, rng))
        is_told(lambda: inspect_image(path))
        is_told(lambda: image_size(path))


@pytest.mark.parametrize("name", PUBLISHED)
def test_random_damage_to_published_sets(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    source = PUBLISHED[name].make(tmp_path)
    indices = [
        path
        for path in sorted(tmp_path.rglob("*"))
        if path.is_file() and path.suffix.lower() not in (".jpg", ".png", ".jpeg")
    ]
    for path in indices:
        whole = path.read_bytes()
        for _ in range(5):
            path.write_bytes(broken(whole, rng))
            is_told(lambda: read_data(DataConfig(str(source), layout=name)))  # pyright: ignore[reportArgumentType]
        path.write_bytes(whole)


def test_a_damaged_number_of_a_published_set_is_told(tmp_path: Path) -> None:
    source = PUBLISHED["cub200"].make(tmp_path)
    path = next(tmp_path.rglob("class_attribute_labels_continuous.txt"))
    path.write_text(path.read_text().replace("49.9", "4x9"))
    with pytest.raises(SeeWhyError, match=r"continuous\.txt is damaged \(could not convert string to float: '4x9'\)"):
        read_data(DataConfig(str(source), layout="cub200"))
    source = PUBLISHED["fgvc"].make(tmp_path / "fgvc")
    path = next((tmp_path / "fgvc").rglob("images_manufacturer_trainval.txt"))
    path.write_text("\n".join(line.split()[0] for line in path.read_text().splitlines()))
    assert "is not in images_manufacturer_trainval.txt" in read_data(DataConfig(str(source), layout="fgvc")).problems[0]


def test_a_folder_that_may_not_be_read_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = os.scandir

    def forbidden(folder: Any) -> object:
        if Path(folder).name == "Raven":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(SeeWhyError, match=r"train/Raven cannot be read \(Permission denied\); check its permissions"):
        read_data(DataConfig(str(root)))
