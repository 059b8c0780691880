"""Draws birds and produce, and knows what of them can be seen and where.

Everything is a polygon, drawn twice: in colour at twice the size (then reduced, which smooths the edges), and as part
numbers on a larger canvas, so that what lies under a leaf, in the grass or outside the frame is known pixel by pixel.
Coordinates are in units of about a third of the picture, the bird looking right, y down.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seewhy.fieldguide.world import Look

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
    """A picture and its part numbers. `full_P` counts each part's pixels were nothing in the way."""

    image: Image.Image
    parts_HW: np.ndarray
    full_P: np.ndarray

    @property
    def seen_P(self) -> np.ndarray:
        """Pixels of each part that can be seen."""
        return np.bincount(self.parts_HW.ravel(), minlength=len(PARTS))

    def box(self, part: str) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of what is seen of a part, in pixels."""
        ys, xs = np.nonzero(self.parts_HW == PART[part])
        return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


class _Pen:
    """Draws a polygon in colour and as a part number, through one rotation, mirroring, scale and shift."""

    def __init__(self, background: Colour, *, scale: float, angle: float, shift: Point, mirror: bool) -> None:
        side = SIZE + 2 * _MARGIN
        self.image = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), background)
        self.parts = Image.new("L", (side, side), 0)
        self._draw = ImageDraw.Draw(self.image)
        self._draw_parts = ImageDraw.Draw(self.parts)
        self.place(scale=scale, angle=angle, shift=shift, mirror=mirror)

    def place(self, *, scale: float, angle: float, shift: Point, mirror: bool) -> None:
        """Where, how large and which way round the next shapes are drawn."""
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
        """Pixels of each part so far, inside the frame and out."""
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
    """Points of an ellipse's arc, angles in radians, clockwise on the screen from the right."""
    (cx, cy), (rx, ry), c, s = centre, radii, math.cos(turn), math.sin(turn)
    points = []
    for k in range(count):
        t = start + (stop - start) * k / (count - 1)
        x, y = rx * math.cos(t), ry * math.sin(t)
        points.append((cx + x * c - y * s, cy + x * s + y * c))
    return points


def _tint(colour: str | Colour, rng: random.Random, spread: int = 12) -> Colour:
    base = COLOURS[colour] if isinstance(colour, str) else colour
    shade = rng.randint(-spread, spread)
    r, g, b = (min(255, max(0, v + shade + rng.randint(-spread // 2, spread // 2))) for v in base)
    return r, g, b


# Birds ---------------------------------------------------------------------------------------------------------------

_TARGETS = {"tail": (-1.1, 0.05, 0.62), "head": (0.75, -0.62, 0.55), "bill": (1.3, -0.42, 0.42),
            "wing": (-0.15, -0.08, 0.72), "breast": (0.55, 0.12, 0.5)}  # fmt: skip
_BACKGROUNDS = ((165, 205, 235), (205, 225, 240), (185, 205, 165), (225, 215, 190), (150, 175, 150), (200, 200, 205))


def draw_bird(look: Look, rng: random.Random, *, occlude: bool = True) -> Drawing:
    """A bird of this look somewhere in a landscape; parts may be behind a leaf, in grass or outside the frame."""
    mirror, scale = rng.random() < 0.5, rng.uniform(0.86, 1.02)
    shift = (rng.uniform(-0.08, 0.08), rng.uniform(-0.06, 0.1))
    cut = rng.random() if occlude else 1.0
    if cut < 0.1:  # the tail leaves the frame
        shift = ((1 if mirror else -1) * rng.uniform(0.62, 0.8), shift[1])
    elif cut < 0.18:  # the legs leave the frame
        shift = (shift[0], rng.uniform(0.72, 0.85))
    pen = _Pen(_tint(rng.choice(_BACKGROUNDS), rng, 18), scale=1, angle=0, shift=(0, 0), mirror=False)
    _landscape(pen, rng)
    pen.place(scale=scale, angle=rng.uniform(-0.12, 0.12), shift=shift, mirror=mirror)
    _bird(pen, look, rng)
    full_P = pen.counts()
    if occlude:
        if rng.random() < 0.3:
            _grass(pen, rng)
        if rng.random() < 0.5:
            x, y, radius = _TARGETS[rng.choice(tuple(_TARGETS))]
            _leaf(pen, (x + rng.uniform(-0.06, 0.06), y + rng.uniform(-0.06, 0.06)), radius, rng)
    return pen.finish(full_P, rng)


def _landscape(pen: _Pen, rng: random.Random) -> None:
    horizon = rng.uniform(0.5, 1.4)
    pen.polygon([(-2, horizon), (2, horizon + rng.uniform(-0.2, 0.2)), (2, 2), (-2, 2)],
                _tint(rng.choice([(120, 160, 90), (170, 150, 110), (110, 140, 105)]), rng, 18), None)  # fmt: skip
    for _ in range(rng.randint(0, 4)):  # clouds, bushes and stones: never a reason for a name
        pen.ellipse((rng.uniform(-1.6, 1.6), rng.uniform(-1.6, 1.6)), (rng.uniform(0.1, 0.5), rng.uniform(0.08, 0.3)),
                    _tint(rng.choice([(235, 240, 245), (100, 140, 90), (150, 140, 130)]), rng, 20), None)  # fmt: skip


def _bird(pen: _Pen, look: Look, rng: random.Random) -> None:
    _tail(pen, look["tail_shape"], _tint(look["tail_colour"], rng))
    legs = _tint(look["legs"], rng)
    for x in (-0.12, 0.22):
        pen.stroke((x, 0.42), (x - 0.04, 1.0), 0.12, legs, "legs")
        pen.stroke((x - 0.1, 1.0), (x + 0.16, 1.0), 0.1, legs, "legs")
    pen.ellipse((0.02, 0.06), (0.8, 0.52), _tint(look["breast"], rng), "breast", turn=-0.2)
    _belly(pen, look["belly"], rng)
    wing = _tint(look["wings"], rng)
    pen.polygon([*ellipse_points((-0.12, -0.1), (0.48, 0.27), -0.15, start=-math.pi, stop=0.9),
                 (-0.85, 0.22)], wing, "wing")  # fmt: skip
    if look["wing_bar"] != "none":
        bar = _tint(look["wing_bar"], rng)
        pen.stroke((-0.28, -0.34), (-0.08, 0.16), 0.17, bar, "wing_bar")
    head = _tint((150, 128, 108), rng)
    pen.ellipse((0.72, -0.5), (0.4, 0.38), head, "face")
    if look["collar"] != "none":
        pen.polygon([(0.3, -0.34), (0.42, -0.22), (0.72, -0.08), (1.04, -0.18), (0.98, 0.0), (0.7, 0.1), (0.34, -0.04),
                     (0.2, -0.2)], _tint(look["collar"], rng), "collar")  # fmt: skip
    else:
        pen.polygon(
            [(0.36, -0.3), (0.72, -0.1), (1.02, -0.2), (0.94, -0.06), (0.7, 0.04), (0.3, -0.12)], head, "collar"
        )
    crown = _tint(look["crown"], rng)
    if look["crest"] == "tall":
        pen.polygon(
            [(0.95, -0.8), (0.62, -1.0), (0.3, -1.38), (0.34, -1.02), (0.1, -1.1), (0.36, -0.66)], crown, "crest"
        )
    pen.polygon(ellipse_points((0.72, -0.54), (0.42, 0.38), 0.0, start=-math.pi - 0.15, stop=0.0), crown, "crown")
    if look["eye_ring"] != "none":
        pen.ellipse((0.84, -0.46), (0.17, 0.17), _tint(look["eye_ring"], rng), "eye_ring")
    pen.ellipse((0.84, -0.46), (0.085, 0.085), (15, 15, 15), "eye")
    _bill(pen, look["bill_shape"], _tint(look["bill_colour"], rng))


def _tail(pen: _Pen, shape: str, colour: Colour) -> None:
    outlines = {
        "forked": [(-0.6, -0.05), (-1.5, -0.42), (-1.0, 0.1), (-1.5, 0.55), (-0.6, 0.28)],
        "fan": [(-0.6, 0.05), (-1.2, -0.45), (-1.4, -0.15), (-1.45, 0.15), (-1.4, 0.42), (-1.15, 0.68), (-0.6, 0.25)],
        "pointed": [(-0.6, -0.02), (-1.55, 0.14), (-1.55, 0.2), (-0.6, 0.28)],
        "square": [(-0.6, -0.08), (-1.08, -0.1), (-1.08, 0.38), (-0.6, 0.32)],
    }
    pen.polygon(outlines[shape], colour, "tail")


def _bill(pen: _Pen, shape: str, colour: Colour) -> None:
    outlines = {
        "thick": [(1.02, -0.66), (1.4, -0.46), (1.04, -0.26)],
        "thin": [(1.06, -0.54), (1.72, -0.46), (1.06, -0.38)],
        "hooked": [(1.04, -0.6), (1.34, -0.58), (1.48, -0.44), (1.46, -0.18), (1.34, -0.36), (1.04, -0.32)],
        "curved": [(1.04, -0.58), (1.36, -0.5), (1.58, -0.28), (1.68, 0.04), (1.48, -0.2), (1.28, -0.36), (1.04, -0.4)],
    }
    pen.polygon(outlines[shape], colour, "bill")


def _belly(pen: _Pen, pattern: str, rng: random.Random) -> None:
    cream, dark = _tint((235, 228, 205), rng, 8), _tint((55, 40, 35), rng, 10)
    pen.polygon(ellipse_points((-0.2, 0.1), (0.54, 0.46), -0.08, start=0.0, stop=math.pi), cream, "belly")
    if pattern == "spotted":
        for x, y in (
            (-0.52, 0.24),
            (-0.28, 0.24),
            (-0.04, 0.24),
            (0.18, 0.2),
            (-0.4, 0.42),
            (-0.14, 0.44),
            (0.08, 0.4),
        ):
            pen.ellipse((x, y), (0.08, 0.08), dark, "belly")
    elif pattern == "streaked":
        for x in (-0.56, -0.38, -0.2, -0.02, 0.16):
            pen.stroke((x, 0.14), (x - 0.03, 0.52 - 0.9 * (x + 0.2) ** 2), 0.08, dark, "belly")
    elif pattern == "barred":
        for y, half in ((0.18, 0.5), (0.33, 0.43), (0.47, 0.26)):
            pen.stroke((-0.2 - half, y + 0.03), (-0.2 + half, y - 0.03), 0.08, dark, "belly")


def _grass(pen: _Pen, rng: random.Random) -> None:
    colour = _tint((70, 130, 55), rng, 20)
    top = rng.uniform(0.42, 0.56)
    pen.polygon([(-2.4, top + 0.2), (2.4, top + 0.2), (2.4, 2.4), (-2.4, 2.4)], colour, "occluder")
    for k in range(24):
        x = -2.3 + k * 0.2 + rng.uniform(-0.05, 0.05)
        tip = (x + rng.uniform(-0.1, 0.1), top - rng.uniform(0.0, 0.14))
        pen.polygon([(x - 0.11, top + 0.25), tip, (x + 0.11, top + 0.25)], _tint(colour, rng, 10), "occluder")


def _leaf(pen: _Pen, centre: Point, radius: float, rng: random.Random) -> None:
    colour = _tint(rng.choice([(60, 120, 50), (95, 135, 45), (150, 110, 50), (40, 95, 60)]), rng, 15)
    turn = rng.uniform(0, math.pi)
    pen.ellipse(centre, (radius, radius * rng.uniform(0.72, 0.9)), colour, "occluder", turn=turn)
    dx, dy = math.cos(turn) * radius, math.sin(turn) * radius
    rib = _tint((colour[0] + 35, colour[1] + 35, colour[2] + 25), rng, 5)
    pen.stroke((centre[0] - dx, centre[1] - dy), (centre[0] + 1.25 * dx, centre[1] + 1.25 * dy), 0.06, rib, "occluder")


# Produce -------------------------------------------------------------------------------------------------------------

_RADII = {"round": (0.62, 0.6), "oval": (0.78, 0.55), "flat": (0.7, 0.46), "pear": (0.6, 0.66), "long": (1.0, 0.42),
          "curved": (1.0, 0.42), "conical": (0.6, 0.64), "barrel": (0.66, 0.86)}  # fmt: skip
_TABLES = ((190, 160, 120), (120, 120, 125), (230, 230, 228), (90, 130, 90), (60, 60, 65), (170, 120, 80))


def draw_produce(look: Look, rng: random.Random) -> Drawing:
    """One to four pieces of the same produce on a table or in a box, some of them in front of others."""
    pen = _Pen(_tint(rng.choice(_TABLES), rng, 25), scale=1, angle=0, shift=(0, 0), mirror=False)
    for _ in range(rng.randint(0, 5)):
        pen.ellipse((rng.uniform(-1.6, 1.6), rng.uniform(-1.6, 1.6)), (rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.5)),
                    _tint(rng.choice(_TABLES), rng, 40), None, turn=rng.uniform(0, 3))  # fmt: skip
    count = rng.choice((1, 1, 2, 3, 4))
    scale = {1: 1.35, 2: 1.0, 3: 0.85, 4: 0.75}[count] * rng.uniform(0.85, 1.15)
    for k in range(count):
        spread = 0.0 if count == 1 else 0.8
        shift = (spread * math.cos(k * math.tau / count + 0.5) + rng.uniform(-0.15, 0.15),
                 spread * math.sin(k * math.tau / count + 0.5) + rng.uniform(-0.1, 0.2))  # fmt: skip
        pen.place(scale=scale, angle=rng.uniform(-0.5, 0.5), shift=shift, mirror=rng.random() < 0.5)
        _piece(pen, look, rng)
    return pen.finish(pen.counts(), rng)


def outline(shape: str) -> list[Point]:
    """The outline of a piece of produce."""
    rx, ry = _RADII[shape]
    if shape == "pear":
        return [(x * (1.0 if y > 0 else 1 - 0.55 * (-y / ry) ** 1.3), y - (0.25 if y < -0.2 else 0))
                for x, y in ellipse_points((0, 0), (rx, ry))]  # fmt: skip
    if shape == "conical":
        return [(x * (1 - 0.32 * max(0.0, y / ry)), y) for x, y in ellipse_points((0, 0), (rx, ry))]
    if shape == "curved":
        return [(x, y * 0.62 + 0.4 * (x / rx) ** 2 - 0.2) for x, y in ellipse_points((0, 0), (rx, ry))]
    return ellipse_points((0, 0), (rx, ry))


def _piece(pen: _Pen, look: Look, rng: random.Random) -> None:
    shape = look["shape"]
    rx, ry = _RADII[shape]
    skin = _tint(look["skin"], rng)
    if look["leaves"] == "crown":
        for k in range(7):
            t = -math.pi / 2 + (k - 3) * 0.28
            pen.polygon([(-0.16, -ry * 0.8), (1.0 * math.cos(t), -ry * 0.8 + 0.75 * math.sin(t)), (0.16, -ry * 0.8)],
                        _tint((60, 125, 65), rng), "leaves")  # fmt: skip
    if look["stem"] in ("thin", "thick"):
        width, length = (0.07, 0.6) if look["stem"] == "thin" else (0.16, 0.32)
        pen.stroke((0, -ry + 0.1), (rng.uniform(-0.15, 0.15), -ry - length), width, _tint((95, 65, 35), rng), "stem")
    shadow = tuple(int(v * 0.72) for v in skin)
    points = outline(shape)
    pen.polygon([(x * 1.03, y * 1.03 + 0.02) for x, y in points], (shadow[0], shadow[1], shadow[2]), "body")
    pen.polygon([(x * 0.96, y * 0.96 - 0.02) for x, y in points], skin, "body")
    if look["flesh"] != "none":
        flesh = _tint(look["flesh"], rng)
        pen.polygon([(x * 0.82, y * 0.82) for x, y in points], flesh, "flesh")
        for k in range(6):
            t = k * math.tau / 6
            pen.ellipse((0.2 * math.cos(t), 0.2 * math.sin(t)), (0.05, 0.03), (60, 40, 25), "flesh", turn=t)
    else:
        _surface(pen, look["surface"], skin, (rx, ry), rng)
        _marks(pen, look["marks"], (rx, ry), rng)
    if look["leaves"] == "leaf":
        pen.ellipse((0.28, -ry - 0.06), (0.36, 0.15), _tint((55, 130, 50), rng), "leaves", turn=-0.4)
    elif look["leaves"] == "calyx":
        for k in range(5):
            t = -math.pi / 2 + (k - 2) * 0.4
            pen.polygon([(-0.12, -ry + 0.05), (0.4 * math.cos(t), -ry - 0.05 + 0.32 * math.sin(t)), (0.12, -ry + 0.05)],
                        skin, "leaves")  # fmt: skip
    if look["stem"] == "button":
        pen.ellipse((rng.uniform(-0.1, 0.1), -ry * 0.62), (0.12, 0.09), _tint((85, 120, 50), rng), "stem")


def _shade(colour: Colour, factor: float) -> Colour:
    r, g, b = (min(255, int(v * factor)) for v in colour)
    return r, g, b


def _inside(radii: Point, rng: random.Random, reach: float = 0.8) -> Point:
    t, r = rng.uniform(0, math.tau), reach * math.sqrt(rng.random())
    return radii[0] * r * math.cos(t), radii[1] * r * 0.85 * math.sin(t)


def _surface(pen: _Pen, surface: str, skin: Colour, radii: Point, rng: random.Random) -> None:
    rx, ry = radii
    if surface == "glossy":
        pen.ellipse((-0.3 * rx, -0.38 * ry), (0.24 * rx, 0.15 * ry), _shade(skin, 1.7), "body", turn=-0.5)
        pen.ellipse((-0.32 * rx, -0.4 * ry), (0.11, 0.07), (250, 250, 250), "body", turn=-0.5)
    elif surface in ("dimpled", "pebbly"):
        size, factor, count = (0.028, 0.8, 34) if surface == "dimpled" else (0.085, 0.7, 22)
        for _ in range(count):
            pen.ellipse(_inside(radii, rng), (size, size), _shade(skin, factor), "body")
    elif surface == "net":
        for _ in range(15):
            x, y = _inside(radii, rng, 0.6)
            t = rng.choice((0.5, 2.3)) + rng.uniform(-0.4, 0.4)
            dx, dy = 0.28 * math.cos(t), 0.28 * math.sin(t)
            pen.stroke((x - dx, y - dy), (x + dx, y + dy), 0.045, (232, 220, 180), "body")
    elif surface == "wrinkled":
        for k in range(6):
            x = (k - 2.5) * 0.28 * rx
            for y0, y1 in ((-0.6, -0.1), (0.0, 0.55)):
                pen.stroke((x * 0.8, y0 * ry), (x + rng.uniform(-0.1, 0.1), y1 * ry), 0.035, _shade(skin, 0.6), "body")
    elif surface == "diamonds":
        for k in range(-2, 3):
            for sign in (-1, 1):
                x, lean = k * 0.22 * rx, 0.25 * rx * sign
                pen.stroke((x - lean, -ry * 0.62), (x + lean, ry * 0.62), 0.05, _shade(skin, 0.55), "body")
    elif surface == "fuzzy":
        for _ in range(40):
            x, y = _inside(radii, rng, 0.98)
            pen.stroke((x, y), (x + 0.04, y - 0.08), 0.02, _shade(skin, 1.25), "body")


def _marks(pen: _Pen, marks: str, radii: Point, rng: random.Random) -> None:
    rx, ry = radii
    if marks in ("stripes", "streaks"):
        colour = _tint((25, 55, 30) if marks == "stripes" else (190, 40, 40), rng)
        for k in range(5):
            x = (k - 2) * 0.36 * rx
            top = ry * 0.85 * math.sqrt(max(0.05, 1 - (x / rx) ** 2))
            pen.stroke((x * 0.7, -top), (x, 0), 0.09, colour, "mark")
            pen.stroke((x, 0), (x * 0.7, top), 0.09, colour, "mark")
    elif marks in ("dots", "spots"):
        colour, size = ((245, 238, 205), 0.04) if marks == "dots" else ((85, 50, 25), 0.07)
        for _ in range(16 if marks == "dots" else 8):
            pen.ellipse(_inside(radii, rng), (size, size), colour, "mark")
    elif marks in ("blush", "yellow patch"):
        colour = _tint((215, 60, 70) if marks == "blush" else (240, 200, 60), rng)
        pen.ellipse((0.22 * rx, 0.08 * ry), (0.52 * rx, 0.5 * ry), colour, "mark", turn=0.5)
    elif marks == "russet":
        for _ in range(5):
            pen.ellipse(
                _inside(radii, rng, 0.6), (0.17, 0.12), _tint((140, 95, 50), rng), "mark", turn=rng.random() * 3
            )
