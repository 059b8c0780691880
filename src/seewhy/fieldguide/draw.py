"""Draw polygons in colour, and record which part of the drawing is visible where.

Every polygon is drawn twice: in colour at twice the size (then reduced, which smooths the edges), and as a part number
on a larger canvas, so that what is under a leaf, in the grass or outside the frame is known pixel by pixel. Coordinates
are in units of about a third of the picture, the bird looking right, y down.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 96
"""Side of a picture, pixels."""
PARTS = ("none", "occluder", "tail", "legs", "breast", "belly", "wing", "wing_bar", "collar", "face", "crown", "crest",
         "eye", "eye_ring", "bill", "body", "stem", "leaves", "flesh", "mark")  # fmt: skip
PART = {name: number for number, name in enumerate(PARTS)}
VISIBLE_SHARE = 0.35
"""A part is visible when at least this share of its pixels is."""
_SCALE = 2
_MARGIN = 40

COLOURS = {
    "red": (205, 35, 35), "yellow": (240, 210, 40), "black": (25, 25, 28), "white": (245, 245, 242),
    "blue": (45, 90, 205), "brown": (125, 75, 35), "orange": (240, 135, 25), "grey": (140, 142, 145),
    "green": (50, 140, 60), "pink": (240, 150, 165), "dark red": (130, 15, 35), "bright green": (130, 195, 50),
    "dark green": (35, 65, 35), "yellow-green": (190, 200, 60), "golden": (205, 155, 50), "purple": (75, 30, 75),
    "beige": (205, 180, 130), "pale green": (205, 220, 150),
}  # fmt: skip

Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Drawing:
    """A picture and its part numbers. `full_P` counts each part's pixels without anything in front."""

    image: Image.Image
    parts_HW: np.ndarray
    full_P: np.ndarray

    @property
    def seen_P(self) -> np.ndarray:
        """Return pixels of each part that can be seen."""
        return np.bincount(self.parts_HW.ravel(), minlength=len(PARTS))

    def box(self, part: str) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) of what is seen of a part, in pixels."""
        ys, xs = np.nonzero(self.parts_HW == PART[part])
        return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


class Pen:
    """A pen that draws a polygon in colour and as a part number, rotated, mirrored, scaled and shifted."""

    def __init__(self, background: Colour, *, scale: float, angle: float, shift: Point, mirror: bool) -> None:
        side = SIZE + 2 * _MARGIN
        self.image = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), background)
        self.parts = Image.new("L", (side, side), 0)
        self._draw = ImageDraw.Draw(self.image)
        self._draw_parts = ImageDraw.Draw(self.parts)
        self.place(scale=scale, angle=angle, shift=shift, mirror=mirror)

    def place(self, *, scale: float, angle: float, shift: Point, mirror: bool) -> None:
        """Set where, how large and which way round the next shapes are drawn."""
        unit = SIZE / 3.2 * scale
        c, s = math.cos(angle) * unit, math.sin(angle) * unit
        m = -1 if mirror else 1
        self._matrix = np.array([[m * c, -m * s], [s, c]])
        self._shift = np.array(shift) * SIZE / 3.2 + SIZE / 2

    def polygon(self, points: Sequence[Point], colour: Colour, part: str | None) -> None:
        xy = np.asarray(points) @ self._matrix.T + self._shift
        self._draw.polygon([tuple(p) for p in xy * _SCALE], fill=colour)
        if part is not None:
            self._draw_parts.polygon([tuple(p) for p in xy + _MARGIN], fill=PART[part])

    def ellipse(self, centre: Point, radii: Point, colour: Colour, part: str | None, *, turn: float = 0.0) -> None:
        self.polygon(ellipse_points(centre, radii, turn), colour, part)

    def stroke(self, start: Point, end: Point, width: float, colour: Colour, part: str | None) -> None:
        (x0, y0), (x1, y1) = start, end
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        dx, dy = -(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2
        self.polygon([(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)], colour, part)

    def counts(self) -> np.ndarray:
        """Return pixels of each part so far, inside the frame and out."""
        return np.bincount(np.asarray(self.parts).ravel(), minlength=len(PARTS))

    def finish(self, full_P: np.ndarray, rng: random.Random) -> Drawing:
        inside = (_MARGIN, _MARGIN, _MARGIN + SIZE, _MARGIN + SIZE)
        image = self.image.reduce(_SCALE)
        if rng.random() < 0.15:
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
        pixels = np.asarray(image, dtype=np.float32) * rng.uniform(0.85, 1.1)
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal((SIZE, SIZE, 1), dtype=np.float32)
        pixels = np.clip(pixels + noise * rng.uniform(1, 6), 0, 255).astype(np.uint8)
        return Drawing(Image.fromarray(pixels), np.asarray(self.parts.crop(inside)), full_P)


def ellipse_points(centre: Point, radii: Point, turn: float = 0.0, *, start: float = 0.0, stop: float = math.tau,
                   count: int = 22) -> list[Point]:  # fmt: skip
    """Return points of an ellipse's arc, angles in radians, clockwise on the screen from the right."""
    (cx, cy), (rx, ry), c, s = centre, radii, math.cos(turn), math.sin(turn)
    points = []
    for k in range(count):
        t = start + (stop - start) * k / (count - 1)
        x, y = rx * math.cos(t), ry * math.sin(t)
        points.append((cx + x * c - y * s, cy + x * s + y * c))
    return points


def tint(colour: str | Colour, rng: random.Random, spread: int = 12) -> Colour:
    base = COLOURS[colour] if isinstance(colour, str) else colour
    shade = rng.randint(-spread, spread)
    r, g, b = (min(255, max(0, v + shade + rng.randint(-spread // 2, spread // 2))) for v in base)
    return r, g, b


def shade(colour: Colour, factor: float) -> Colour:
    r, g, b = (min(255, int(v * factor)) for v in colour)
    return r, g, b
