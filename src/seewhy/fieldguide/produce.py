"""Draw produce of any look: it gives the base model words for real fruit."""

import math
import random

from seewhy.fieldguide.draw import Colour, Drawing, Pen, Point, ellipse_points, shade, tint
from seewhy.fieldguide.world import Look

_RADII = {"round": (0.62, 0.6), "oval": (0.78, 0.55), "flat": (0.7, 0.46), "pear": (0.6, 0.66), "long": (1.0, 0.42),
          "curved": (1.0, 0.42), "conical": (0.6, 0.64), "barrel": (0.66, 0.86)}  # fmt: skip
_TABLES = ((190, 160, 120), (120, 120, 125), (230, 230, 228), (90, 130, 90), (60, 60, 65), (170, 120, 80))


def draw_produce(look: Look, rng: random.Random) -> Drawing:
    """Return one to four pieces of the same produce on a table or in a box, some of them in front of others."""
    pen = Pen(tint(rng.choice(_TABLES), rng, 25), scale=1, angle=0, shift=(0, 0), mirror=False)
    for _ in range(rng.randint(0, 5)):
        pen.ellipse((rng.uniform(-1.6, 1.6), rng.uniform(-1.6, 1.6)), (rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.5)),
                    tint(rng.choice(_TABLES), rng, 40), None, turn=rng.uniform(0, 3))  # fmt: skip
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
    """Return the outline of a piece of produce."""
    rx, ry = _RADII[shape]
    if shape == "pear":
        return [(x * (1.0 if y > 0 else 1 - 0.55 * (-y / ry) ** 1.3), y - (0.25 if y < -0.2 else 0))
                for x, y in ellipse_points((0, 0), (rx, ry))]  # fmt: skip
    if shape == "conical":
        return [(x * (1 - 0.32 * max(0.0, y / ry)), y) for x, y in ellipse_points((0, 0), (rx, ry))]
    if shape == "curved":
        return [(x, y * 0.62 + 0.4 * (x / rx) ** 2 - 0.2) for x, y in ellipse_points((0, 0), (rx, ry))]
    return ellipse_points((0, 0), (rx, ry))


def _piece(pen: Pen, look: Look, rng: random.Random) -> None:
    shape = look["shape"]
    rx, ry = _RADII[shape]
    skin = tint(look["skin"], rng)
    if look["leaves"] == "crown":
        for k in range(7):
            t = -math.pi / 2 + (k - 3) * 0.28
            pen.polygon([(-0.16, -ry * 0.8), (1.0 * math.cos(t), -ry * 0.8 + 0.75 * math.sin(t)), (0.16, -ry * 0.8)],
                        tint((60, 125, 65), rng), "leaves")  # fmt: skip
    if look["stem"] in ("thin", "thick"):
        width, length = (0.07, 0.6) if look["stem"] == "thin" else (0.16, 0.32)
        pen.stroke((0, -ry + 0.1), (rng.uniform(-0.15, 0.15), -ry - length), width, tint((95, 65, 35), rng), "stem")
    shadow = tuple(int(v * 0.72) for v in skin)
    points = outline(shape)
    pen.polygon([(x * 1.03, y * 1.03 + 0.02) for x, y in points], (shadow[0], shadow[1], shadow[2]), "body")
    pen.polygon([(x * 0.96, y * 0.96 - 0.02) for x, y in points], skin, "body")
    if look["flesh"] != "none":
        flesh = tint(look["flesh"], rng)
        pen.polygon([(x * 0.82, y * 0.82) for x, y in points], flesh, "flesh")
        for k in range(6):
            t = k * math.tau / 6
            pen.ellipse((0.2 * math.cos(t), 0.2 * math.sin(t)), (0.05, 0.03), (60, 40, 25), "flesh", turn=t)
    else:
        _surface(pen, look["surface"], skin, (rx, ry), rng)
        _marks(pen, look["marks"], (rx, ry), rng)
    if look["leaves"] == "leaf":
        pen.ellipse((0.28, -ry - 0.06), (0.36, 0.15), tint((55, 130, 50), rng), "leaves", turn=-0.4)
    elif look["leaves"] == "calyx":
        for k in range(5):
            t = -math.pi / 2 + (k - 2) * 0.4
            pen.polygon([(-0.12, -ry + 0.05), (0.4 * math.cos(t), -ry - 0.05 + 0.32 * math.sin(t)), (0.12, -ry + 0.05)],
                        skin, "leaves")  # fmt: skip
    if look["stem"] == "button":
        pen.ellipse((rng.uniform(-0.1, 0.1), -ry * 0.62), (0.12, 0.09), tint((85, 120, 50), rng), "stem")


def _inside(radii: Point, rng: random.Random, reach: float = 0.8) -> Point:
    t, r = rng.uniform(0, math.tau), reach * math.sqrt(rng.random())
    return radii[0] * r * math.cos(t), radii[1] * r * 0.85 * math.sin(t)


def _surface(pen: Pen, surface: str, skin: Colour, radii: Point, rng: random.Random) -> None:
    rx, ry = radii
    if surface == "glossy":
        pen.ellipse((-0.3 * rx, -0.38 * ry), (0.24 * rx, 0.15 * ry), shade(skin, 1.7), "body", turn=-0.5)
        pen.ellipse((-0.32 * rx, -0.4 * ry), (0.11, 0.07), (250, 250, 250), "body", turn=-0.5)
    elif surface in ("dimpled", "pebbly"):
        size, factor, count = (0.028, 0.8, 34) if surface == "dimpled" else (0.085, 0.7, 22)
        for _ in range(count):
            pen.ellipse(_inside(radii, rng), (size, size), shade(skin, factor), "body")
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
                pen.stroke((x * 0.8, y0 * ry), (x + rng.uniform(-0.1, 0.1), y1 * ry), 0.035, shade(skin, 0.6), "body")
    elif surface == "diamonds":
        for k in range(-2, 3):
            for sign in (-1, 1):
                x, lean = k * 0.22 * rx, 0.25 * rx * sign
                pen.stroke((x - lean, -ry * 0.62), (x + lean, ry * 0.62), 0.05, shade(skin, 0.55), "body")
    elif surface == "fuzzy":
        for _ in range(40):
            x, y = _inside(radii, rng, 0.98)
            pen.stroke((x, y), (x + 0.04, y - 0.08), 0.02, shade(skin, 1.25), "body")


def _marks(pen: Pen, marks: str, radii: Point, rng: random.Random) -> None:
    rx, ry = radii
    if marks in ("stripes", "streaks"):
        colour = tint((25, 55, 30) if marks == "stripes" else (190, 40, 40), rng)
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
        colour = tint((215, 60, 70) if marks == "blush" else (240, 200, 60), rng)
        pen.ellipse((0.22 * rx, 0.08 * ry), (0.52 * rx, 0.5 * ry), colour, "mark", turn=0.5)
    elif marks == "russet":
        for _ in range(5):
            pen.ellipse(_inside(radii, rng, 0.6), (0.17, 0.12), tint((140, 95, 50), rng), "mark", turn=rng.random() * 3)
