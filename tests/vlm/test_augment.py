import random
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps, ImageStat

from seewhy.config import AugmentConfig
from seewhy.vlm.data import _shift_corners, augment

NONE: dict[str, Any] = {"flip": 0.0, "rotate": 0.0, "colour": 0.0, "blur": 0.0, "perspective": 0.0}


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


def test_upside_down(image: Image.Image):
    assert not differ(augment(image, AugmentConfig(**{**NONE, "upside_down": 1.0}), 0), ImageOps.flip(image))


def test_an_affine_change_turns_shifts_and_zooms_by_no_more_than_it_may():
    image = Image.new("RGB", (100, 100), "white")
    image.paste("black", (40, 40, 60, 60))
    plain = AugmentConfig(**{**NONE, "affine": 1.0, "affine_turn": 0.0, "affine_shift": 0.0, "affine_zoom": 0.0})
    assert not differ(augment(image, plain, 3), image)

    def box(seed: int, **changes: float) -> tuple[int, int, int, int]:
        view = augment(image, AugmentConfig(**{**NONE, **vars(plain), **changes}), seed)
        found = view.convert("L").point([255 * (value < 128) for value in range(256)]).getbbox()
        assert found is not None
        return found

    for seed in range(8):
        left, top, right, bottom = box(seed, affine_shift=0.2)
        assert abs(left - 40) <= 21
        assert abs(top - 40) <= 21
        assert abs((right - left) - 20) <= 1
        assert abs((bottom - top) - 20) <= 1
        left, _, right, _ = box(seed, affine_zoom=0.5)
        assert 9 <= right - left <= 31
        assert abs((left + right) / 2 - 50) <= 1  # about the middle
    sizes = {box(seed, affine_zoom=0.5)[2] for seed in range(8)}
    assert min(sizes) < 58
    assert max(sizes) > 62  # both smaller and larger


@pytest.mark.parametrize("share", ["rotate_share", "colour_share", "perspective_share"])
def test_a_share_says_how_often(image: Image.Image, share: str):
    amount = {"rotate_share": "rotate", "colour_share": "colour", "perspective_share": "perspective"}[share]
    strength = {"rotate": 20.0, "colour": 0.5, "perspective": 0.3}[amount]
    config = AugmentConfig(**{**NONE, amount: strength, share: 0.25})
    changed = sum(differ(augment(image, config, seed), image) for seed in range(200))
    assert 30 <= changed <= 70


def test_so_many_of_the_changes_at_most(image: Image.Image):
    """Two changes that always happen when they are drawn: of seven, one to four are."""
    config = AugmentConfig(**{**NONE, "at_most": 4, "flip": 1.0, "upside_down": 1.0})
    views = {"none": 0, "flip": 0, "upside_down": 0, "both": 0}
    expected = {
        "none": image,
        "flip": ImageOps.mirror(image),
        "upside_down": ImageOps.flip(image),
        "both": ImageOps.flip(ImageOps.mirror(image)),
    }
    for seed in range(400):
        view = augment(image, config, seed)
        (name,) = [name for name, wanted in expected.items() if not differ(view, wanted)]
        views[name] += 1
    share = (1 + 2 + 3 + 4) / 4 / 7  # that one of them is drawn
    assert (views["flip"] + views["both"]) / 400 == pytest.approx(share, abs=0.08)
    assert views["both"] / 400 == pytest.approx((0 + 2 + 6 + 12) / 4 / 42, abs=0.06)
    assert not differ(augment(image, config, 7), augment(image, config, 7))


@pytest.mark.parametrize("seed", range(6))
def test_our_own_views_are_those_of_before_there_was_more_to_choose_from(image: Image.Image, seed: int):
    rng, config = random.Random(seed), AugmentConfig()
    fill = tuple(round(mean) for mean in ImageStat.Stat(image).mean)
    view = ImageOps.mirror(image) if rng.random() < 0.5 else image
    view = view.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR, fillcolor=fill)
    view = _shift_corners(view, 0.1, fill, rng)
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = enhancer(view).enhance(1 + rng.uniform(-0.1, 0.1))
    if rng.random() < 0.1:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 1.0) * max(view.size) / 224))
    assert not differ(augment(image, config, seed), view)
