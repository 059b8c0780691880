"""EXIF: the pixels are turned as its orientation says, whatever else stands in it."""

import random
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from exif_blocks import BROKEN, ORIENTATION, Entry, block, save_tiff, short
from seewhy.domain.images import image_size, load_image

FORMATS = ("jpg", "png", "webp", "tif")


def corners() -> Image.Image:
    """48 x 16 in blocks of 16 pixels, so that no turn looks like another, and JPEG keeps the colours."""
    colours = np.array([[[220, 20, 20], [20, 200, 20], [20, 20, 220]]], dtype=np.uint8)
    colours_HWC = np.repeat(np.repeat(colours, 32, axis=0), 16, axis=1)
    colours_HWC[16:] //= 2
    return Image.fromarray(colours_HWC)


def save(path: Path, entries: Sequence[Entry], exif: bytes | None = None) -> Path:
    if path.suffix == ".tif":
        save_tiff(path, corners(), entries)
    else:
        kept = {".webp": {"lossless": True}, ".jpg": {"quality": 95, "subsampling": 0}}.get(path.suffix, {})
        corners().save(path, exif=block(entries) if exif is None else exif, **kept)
    return path


def turned(orientation: int) -> np.ndarray:
    """What a viewer shows of `corners` stored with an orientation (EXIF 2.32, tag 274)."""
    stored_HWC = np.asarray(corners())
    steps = {
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2), 6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2), 8: lambda x: np.rot90(x),
    }  # fmt: skip
    return steps[orientation](stored_HWC)


def is_turned(path: Path, orientation: int) -> bool:
    got_HWC, expected_HWC = np.asarray(load_image(path)).astype(int), turned(orientation).astype(int)
    close = 40 if path.suffix == ".jpg" else 0
    return got_HWC.shape == expected_HWC.shape and np.abs(got_HWC - expected_HWC).max() <= close


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = save(tmp_path / f"a.{suffix}", [short(ORIENTATION, orientation)])
    assert is_turned(path, orientation)
    assert image_size(path) == load_image(path).size


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("what", BROKEN)
def test_what_else_is_in_the_block_does_not_matter(tmp_path: Path, suffix: str, what: str) -> None:
    path = save(tmp_path / f"a.{suffix}", [short(ORIENTATION, 6), BROKEN[what]])
    assert is_turned(path, 6)
    assert image_size(path) == (32, 48)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "entry",
    [
        short(ORIENTATION, 0), short(ORIENTATION, 9), (ORIENTATION, 2, 4, b"left"), (ORIENTATION, 7, 1, b"\6"),
        (ORIENTATION, 5, 1, struct.pack("<II", 6, 0)), (ORIENTATION, 11, 1, struct.pack("<f", 6.5)),
    ],
)  # fmt: skip
def test_no_orientation_turns_nothing(tmp_path: Path, suffix: str, entry: Entry) -> None:
    assert is_turned(save(tmp_path / f"a.{suffix}", [entry]), 1)


def test_a_block_that_is_none(tmp_path: Path) -> None:
    for exif in (b"Exif\0\0", b"Exif\0\0garbage!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0"):
        for suffix in ("jpg", "png", "webp"):
            assert is_turned(save(tmp_path / f"a.{suffix}", [], exif), 1), exif


def test_xmp_in_numbers_does_not_stop_a_tiff(tmp_path: Path) -> None:
    numbers = (0x02BC, 3, 4, struct.pack("<4H", 1, 2, 3, 4))
    assert is_turned(save(tmp_path / "a.tif", [short(ORIENTATION, 8), numbers]), 8)


@pytest.mark.filterwarnings("ignore")
def test_random_blocks(tmp_path: Path) -> None:
    rng = random.Random(0)
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
    tags = (0x010F, 0x011A, 0x011B, 0x0128, 0x0132, 0x0213, 0x02BC, 0x8298, 0x8769, 0x8825, 0xA005, 0x9286, 0xC4A5)
    for number in range(300):
        entries = []
        for tag in rng.sample(tags, rng.randint(1, 5)):
            kind = rng.choice([*sizes, 0, 99])
            count = rng.choice([0, 1, 2, 3, 7])
            entries.append((tag, kind, count, rng.randbytes(count * sizes.get(kind, 1))))
        orientation = rng.randint(1, 8)
        path = tmp_path / f"a.{FORMATS[number % 4]}"
        save(path, [short(ORIENTATION, orientation), *entries])
        assert is_turned(path, orientation), entries


@pytest.mark.filterwarnings("ignore")
def test_blocks_with_random_bytes(tmp_path: Path) -> None:
    rng = random.Random(1)
    for number in range(200):
        exif = bytearray(block([short(ORIENTATION, 6), *rng.sample(list(BROKEN.values()), 3)]))
        for _ in range(rng.randint(1, 12)):
            exif[rng.randrange(6, len(exif))] = rng.randrange(256)
        path = save(tmp_path / f"a.{FORMATS[number % 3]}", [], bytes(exif))
        assert any(is_turned(path, orientation) for orientation in range(1, 9)), exif.hex()
        assert image_size(path) == load_image(path).size


def test_whole_blocks_give_the_pixels_that_pillow_gives(tmp_path: Path) -> None:
    noise_HWC = np.random.default_rng(0).integers(0, 255, (33, 21, 3), dtype=np.uint8)
    for suffix in FORMATS:
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[ORIENTATION] = orientation
            exif[0x010F] = "Maker"
            path = tmp_path / f"{orientation}.{suffix}"
            Image.fromarray(noise_HWC).save(path, exif=exif)
            with Image.open(path) as image, warnings.catch_warnings():
                expected_HWC = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            assert np.array_equal(np.asarray(load_image(path)), expected_HWC), path
