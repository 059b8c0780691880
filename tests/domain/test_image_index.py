"""A second start decodes only images that have changed, and sees every change."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from seewhy.config import DataConfig
from seewhy.domain import image_index, inspection
from seewhy.domain.domain import Domain, load_domain
from seewhy.domain.image_index import ImageIndex
from seewhy.domain.images import inspect_image
from seewhy.errors import SeeWhyError

Decoded = list[str]


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Six images of two classes."""
    for number in range(6):
        path = tmp_path / "data" / ("train", "test")[number % 2] / ("Crow", "Raven")[number // 3] / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + number, 8), (number, 0, 0)).save(path)
    (tmp_path / "concepts.yaml").write_text("Crow: [black bill]\nRaven: [wedge-shaped tail]\n")
    return DataConfig(source=str(tmp_path / "data"), concepts=str(tmp_path / "concepts.yaml"))


@pytest.fixture
def start(data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Domain, Decoded]]:
    """Load as a run does. The files count as old, so that no test has to wait until they are."""
    monkeypatch.setattr(image_index, "SETTLED", -(10**12))
    decoded: Decoded = []

    def counted(path: Path) -> object:
        decoded.append(Path(path).name)
        return inspect_image(path)

    monkeypatch.setattr(inspection, "inspect_image", counted)

    def load() -> tuple[Domain, Decoded]:
        decoded.clear()
        index = ImageIndex(tmp_path / "images.parquet")
        domain = load_domain(data, index=index)
        index.save()
        return domain, sorted(decoded)

    return load


def test_a_second_start_decodes_nothing_and_finds_the_same(
    start: Callable[[], tuple[Domain, Decoded]], data: DataConfig
):
    first, decoded = start()
    assert len(decoded) == 6
    second, decoded = start()
    assert not decoded
    assert second == first == load_domain(data)


def test_a_changed_byte_is_seen_even_under_the_old_time(start: Callable[[], tuple[Domain, Decoded]], data: DataConfig):
    first, _ = start()
    path = Path(data.source) / "train" / "Crow" / "0.bmp"
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-4] + bytes([content[-4] ^ 1]) + content[-3:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    second, decoded = start()
    assert decoded == ["0.bmp"]
    assert second.fingerprint != first.fingerprint


def test_new_and_removed_images_are_seen(start: Callable[[], tuple[Domain, Decoded]], data: DataConfig):
    start()
    crows = Path(data.source) / "train" / "Crow"
    (crows / "0.bmp").unlink()
    Image.new("RGB", (9, 9), (99, 0, 0)).save(crows / "new.bmp")
    domain, decoded = start()
    assert decoded == ["new.bmp"]
    assert {e.image for e in domain.examples if e.label == "Crow"} == {
        "train/Crow/2.bmp", "train/Crow/new.bmp", "test/Crow/1.bmp"
    }  # fmt: skip
    assert start()[1] == []


def test_what_is_broken_is_said_at_every_start(start: Callable[[], tuple[Domain, Decoded]], data: DataConfig):
    (Path(data.source) / "train" / "Crow" / "0.bmp").write_bytes(b"BM nothing")
    for _ in range(2):
        with pytest.raises(SeeWhyError, match=r"0\.bmp is"):
            start()


@pytest.mark.parametrize("change", ["damaged", "emptied", "other checks", "other folder"])
def test_an_index_that_cannot_be_relied_on_is_none(
    start: Callable[[], tuple[Domain, Decoded]], data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: str,
):  # fmt: skip
    first, _ = start()
    index = tmp_path / "images.parquet"
    if change == "other checks":
        monkeypatch.setattr(image_index, "CHECKS", 0)
    elif change == "other folder":
        (tmp_path / "data").rename(tmp_path / "moved")
        (tmp_path / "data").symlink_to(tmp_path / "moved")
    else:
        index.write_bytes(index.read_bytes()[: 100 if change == "damaged" else 0])
    second, decoded = start()
    assert len(decoded) == 6
    assert second.fingerprint == first.fingerprint


def test_a_file_that_has_just_changed_is_not_relied_on(data: DataConfig, tmp_path: Path):
    index = ImageIndex(tmp_path / "images.parquet")
    load_domain(data, index=index)
    index.save()
    again = ImageIndex(tmp_path / "images.parquet")
    again.read(Path(data.source))
    recent = image_index.stamp_of(str(Path(data.source) / "train" / "Crow" / "0.bmp"))
    assert recent is not None
    assert max(recent[1:]) > time.time_ns() - 60 * 10**9
    assert again.find("train/Crow/0.bmp", recent) is None
