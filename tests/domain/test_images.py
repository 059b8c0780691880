import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from seewhy.domain import images
from seewhy.domain.images import LONGEST_SIDE, image_sha256, image_size, inspect_image, load_image
from seewhy.errors import SeeWhyError
from seewhy.upright import FORMATS
from seewhy.vlm.chat import open_image


def two_halves(left: tuple[int, int, int] = (200, 30, 30), right: tuple[int, int, int] = (30, 30, 200)) -> Image.Image:
    """32 x 16, red on the left and blue on the right."""
    image = Image.new("RGB", (32, 16), left)
    image.paste(right, (16, 0, 32, 16))
    return image


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def near(image: Image.Image, x: int, y: int, colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(pixel(image, x, y), colour, strict=True))


@pytest.mark.parametrize(
    ("mode", "name"),
    [("P", "a.png"), ("P", "a.gif"), ("CMYK", "a.jpg"), ("RGBA", "a.png"), ("RGBA", "a.webp"), ("YCbCr", "a.jpg")],
)
def test_every_mode_becomes_rgb_of_the_same_colours(tmp_path: Path, mode: str, name: str) -> None:
    two_halves().convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / name)
    image = load_image(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (32, 16))
    assert near(image, 4, 8, (200, 30, 30))
    assert near(image, 28, 8, (30, 30, 200))


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    for mode, expected in (("L", 77), ("1", 255), ("LA", 77)):
        path = tmp_path / f"{mode}.png"
        Image.new("L", (4, 4), expected).convert(mode).save(path)
        assert pixel(load_image(path), 1, 1) == (expected,) * 3


@pytest.mark.parametrize(("top", "expected"), [(65535, (0, 127, 255)), (4095, (0, 127, 255)), (255, (0, 127, 255))])
def test_sixteen_bits_keep_their_contrast(tmp_path: Path, top: int, expected: tuple[int, ...]) -> None:
    grey_HW = np.tile(np.array([0, top // 2, top], dtype=np.uint16), (2, 1))
    Image.fromarray(grey_HW).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    assert tuple(pixel(image, x, 0)[0] for x in range(3)) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_wide_grey_is_stretched(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.array([[-1000, 0, 1000]] * 2, dtype=dtype)).save(tmp_path / "a.tif")
    image = load_image(tmp_path / "a.tif")
    assert [pixel(image, x, 0)[0] for x in range(3)] == [0, 128, 255]


def test_transparency_becomes_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (4, 0, 8, 8))
    image.save(tmp_path / "a.png")
    assert pixel(load_image(tmp_path / "a.png"), 1, 1) == (255, 255, 255)
    assert pixel(load_image(tmp_path / "a.png"), 6, 1) == (0, 0, 200)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=0)
    assert pixel(load_image(tmp_path / "p.png"), 1, 1) == (255, 255, 255)


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
        assert near(load_image(tmp_path / name), 4, 4, (255, 0, 0))


@pytest.mark.parametrize(("orientation", "red"), [(3, (28, 8)), (6, (8, 4)), (8, (8, 28))])
def test_exif_turns_the_image(tmp_path: Path, orientation: int, red: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    two_halves().save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = load_image(tmp_path / "a.jpg")
    assert image.size == ((32, 16) if orientation == 3 else (16, 32))
    assert near(image, *red, (200, 30, 30))


def test_exif_turns_sixteen_bits_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((4, 10), 60000, dtype=np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert load_image(tmp_path / "a.png").size == (4, 10)


@pytest.mark.parametrize(("name", "width"), [("a.jpg", 4400), ("a.png", 2400)])
def test_a_big_image_is_reduced(tmp_path: Path, name: str, width: int) -> None:
    two_halves().resize((width, width // 2), Image.Resampling.NEAREST).save(tmp_path / name)
    image = load_image(tmp_path / name)
    assert image.size == (LONGEST_SIDE, LONGEST_SIDE // 2)
    assert near(image, 100, 100, (200, 30, 30))
    assert near(image, 2000, 1000, (30, 30, 200))


def test_an_enormous_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 9999)
    with pytest.raises(SeeWhyError, match=r"a\.png has 100 x 100 pixels, more than 9,999; scale it down"):
        load_image(tmp_path / "a.png")


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("1", (1, 1)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(SeeWhyError, match=r"bomb\.png is too large to decode"):
        load_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.bmp", "a.tif"])
def test_every_truncation_is_refused(tmp_path: Path, name: str) -> None:
    noise_HWC = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise_HWC).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for share in (0.02, 0.3, 0.9):
        (tmp_path / name).write_bytes(data[: int(len(data) * share)])
        for read in (load_image, image_sha256):
            with pytest.raises(SeeWhyError, match=rf"{name} is (corrupt or truncated|not an image).*remove it"):
                read(tmp_path / name)


def test_corrupt_bytes_inside_a_png_are_refused(tmp_path: Path) -> None:
    noise_HWC = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise_HWC).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[2000:2100] = bytes(100)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SeeWhyError, match=r"a\.png is corrupt"):
        load_image(tmp_path / "a.png")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(SeeWhyError, match=r"empty\.jpg is empty \(0 bytes\)"):
        load_image(tmp_path / "empty.jpg")
    with pytest.raises(SeeWhyError, match=r"text\.jpg is not an image"):
        load_image(tmp_path / "text.jpg")
    with pytest.raises(SeeWhyError, match=r"none\.jpg cannot be read"):
        load_image(tmp_path / "none.jpg")


def test_sha256_is_of_the_files_bytes(tmp_path: Path) -> None:
    two_halves().save(tmp_path / "a.png")
    assert image_sha256(tmp_path / "a.png") == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()


def test_the_size_that_a_big_image_is_read_at_is_known_from_its_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = [(3000, 2), (2, 3000), (2049, 2048), (4096, 4095), (5001, 7), (2048, 2048), (100_000, 1)]
    shapes += [(int(w), int(h)) for w, h in rng.integers(1, 4000, (60, 2))]
    for shape in shapes:
        image = Image.new("1", shape)
        image.save(tmp_path / "a.png")
        assert image_size(tmp_path / "a.png") == load_image(tmp_path / "a.png").size, shape


def test_an_offset_does_not_take_up_the_levels_of_sixteen_bits(tmp_path: Path) -> None:
    levels_HW = 30_000 + np.arange(2_000, dtype=np.uint16).reshape(40, 50)
    Image.fromarray(levels_HW).save(tmp_path / "a.png")
    grey_HW = np.asarray(load_image(tmp_path / "a.png"))[..., 0]
    assert len(np.unique(grey_HW)) == 256
    assert (np.diff(grey_HW.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_one_saturated_and_one_dead_pixel_do_not_take_up_the_levels(tmp_path: Path, dtype: type) -> None:
    levels_HW = 5_000 + np.arange(4_096).reshape(64, 64) // 2
    levels_HW[3, 3], levels_HW[5, 5] = 65_535, 0
    Image.fromarray(levels_HW.astype(dtype)).save(tmp_path / "a.tif")
    grey_HW = np.asarray(load_image(tmp_path / "a.tif"))[..., 0]
    assert len(np.unique(grey_HW)) == 256
    assert (grey_HW[3, 3], grey_HW[5, 5]) == (255, 0)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_images_of_one_value_and_of_a_few_bright_pixels(tmp_path: Path, dtype: type) -> None:
    flat_HW = np.full((64, 64), 40_000, dtype=dtype)
    Image.fromarray(flat_HW).save(tmp_path / "flat.tif")
    assert np.asarray(load_image(tmp_path / "flat.tif")).max() == 0
    flat_HW[10, 10] = 50_000
    Image.fromarray(flat_HW).save(tmp_path / "star.tif")
    grey_HW = np.asarray(load_image(tmp_path / "star.tif"))[..., 0]
    assert (grey_HW.sum(), grey_HW[10, 10]) == (255, 255)


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    float_HW = np.linspace(-5, 5, 4096, dtype=np.float32).reshape(64, 64)
    float_HW[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(float_HW).save(tmp_path / "a.tif")
    grey_HW = np.asarray(load_image(tmp_path / "a.tif"))[..., 0]
    assert grey_HW[0, :3].tolist() == [0, 255, 0]
    assert len(np.unique(grey_HW)) == 256
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "none.tif")
    assert np.asarray(load_image(tmp_path / "none.tif")).max() == 0


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("name", ["a.png", "a.eps"])
def test_no_program_is_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Pillow knows PostScript by its content, whatever the file is called, and gives it to Ghostscript."""
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **_more: started.append(args))
    (tmp_path / name).write_bytes(POSTSCRIPT)
    for read in (load_image, image_size, image_sha256, inspect_image, open_image):
        with pytest.raises(SeeWhyError, match=name):
            read(str(tmp_path / name))
    assert started == []


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "TGA", "ICO", "PCX"])
def test_each_listed_format_is_read(tmp_path: Path, form: str) -> None:
    assert form in FORMATS
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a", form)
    assert load_image(tmp_path / "a").size == (16, 16)
