import pytest
from PIL import Image, ImageChops, ImageOps

from seewhy.config import AugmentConfig
from seewhy.vlm.augment import augment

NONE = {"flip": 0.0, "rotate": 0.0, "colour": 0.0, "blur": 0.0, "perspective": 0.0}


@pytest.fixture
def image() -> Image.Image:
    """Red at the left, green at the right, a white bar across."""
    made = Image.new("RGB", (64, 48), "red")
    made.paste("green", (32, 0, 64, 48))
    made.paste("white", (0, 20, 64, 24))
    return made


def differ(a: Image.Image, b: Image.Image) -> bool:
    return ImageChops.difference(a, b).getbbox() is not None


def test_nothing_asked_for_changes_nothing(image: Image.Image):
    assert not differ(augment(image, AugmentConfig(**NONE), 5), image)


@pytest.mark.parametrize(
    ("name", "amount"), [("flip", 1.0), ("rotate", 20.0), ("colour", 0.5), ("blur", 1.0), ("perspective", 0.3)]
)
def test_each_change_changes_by_its_seed(image: Image.Image, name: str, amount: float):
    config = AugmentConfig(**{**NONE, name: amount})
    changed = augment(image, config, 5)
    assert changed.size == image.size
    assert changed.mode == "RGB"
    assert differ(changed, image)
    assert not differ(changed, augment(image, config, 5))
    if name != "flip":
        assert differ(changed, augment(image, config, 6))


def test_flip_is_left_to_right(image: Image.Image):
    assert not differ(augment(image, AugmentConfig(**{**NONE, "flip": 1.0}), 0), ImageOps.mirror(image))


@pytest.mark.parametrize("seed", range(5))
def test_perspective_shifts_corners_by_no_more_than_its_share(seed: int):
    image = Image.new("RGB", (100, 100), "white")
    image.paste("black", (30, 30, 70, 70))
    view = augment(image, AugmentConfig(**{**NONE, "perspective": 0.2}), seed)
    dark = view.convert("L").point([255 * (value < 128) for value in range(256)]).getbbox()
    assert dark is not None
    assert all(abs(found - expected) <= 15 for found, expected in zip(dark, (30, 30, 70, 70), strict=True))


def test_empty_corners_take_the_mean_colour():
    image = Image.new("RGB", (64, 64), (200, 100, 50))
    turned = augment(image, AugmentConfig(**{**NONE, "rotate": 30.0, "perspective": 0.3}), 1)
    assert not differ(turned, image)
