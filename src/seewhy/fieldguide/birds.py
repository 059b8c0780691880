"""Draw birds of any look in a landscape, partly hidden by leaves, grass and the frame."""

import math
import random

from seewhy.fieldguide.draw import Colour, Drawing, Pen, Point, ellipse_points, tint
from seewhy.fieldguide.world import Look

_TARGETS = {"tail": (-1.1, 0.05, 0.62), "head": (0.75, -0.62, 0.55), "bill": (1.3, -0.42, 0.42),
            "wing": (-0.15, -0.08, 0.72), "breast": (0.55, 0.12, 0.5)}  # fmt: skip
_BACKGROUNDS = ((165, 205, 235), (205, 225, 240), (185, 205, 165), (225, 215, 190), (150, 175, 150), (200, 200, 205))


def draw_bird(look: Look, rng: random.Random, *, occlude: bool = True) -> Drawing:
    """Draw a bird of this look in a landscape; parts may be behind a leaf, in grass or outside the frame."""
    mirror, scale = rng.random() < 0.5, rng.uniform(0.86, 1.02)
    shift = (rng.uniform(-0.08, 0.08), rng.uniform(-0.06, 0.1))
    cut = rng.random() if occlude else 1.0
    if cut < 0.1:  # the tail leaves the frame
        shift = ((1 if mirror else -1) * rng.uniform(0.62, 0.8), shift[1])
    elif cut < 0.18:  # the legs leave the frame
        shift = (shift[0], rng.uniform(0.72, 0.85))
    pen = Pen(tint(rng.choice(_BACKGROUNDS), rng, 18), scale=1, angle=0, shift=(0, 0), mirror=False)
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


def _landscape(pen: Pen, rng: random.Random) -> None:
    horizon = rng.uniform(0.5, 1.4)
    pen.polygon([(-2, horizon), (2, horizon + rng.uniform(-0.2, 0.2)), (2, 2), (-2, 2)],
                tint(rng.choice([(120, 160, 90), (170, 150, 110), (110, 140, 105)]), rng, 18), None)  # fmt: skip
    for _ in range(rng.randint(0, 4)):  # clouds, bushes and stones: never a reason for a name
        pen.ellipse((rng.uniform(-1.6, 1.6), rng.uniform(-1.6, 1.6)), (rng.uniform(0.1, 0.5), rng.uniform(0.08, 0.3)),
                    tint(rng.choice([(235, 240, 245), (100, 140, 90), (150, 140, 130)]), rng, 20), None)  # fmt: skip


def _bird(pen: Pen, look: Look, rng: random.Random) -> None:
    _tail(pen, look["tail_shape"], tint(look["tail_colour"], rng))
    legs = tint(look["legs"], rng)
    for x in (-0.12, 0.22):
        pen.stroke((x, 0.42), (x - 0.04, 1.0), 0.12, legs, "legs")
        pen.stroke((x - 0.1, 1.0), (x + 0.16, 1.0), 0.1, legs, "legs")
    pen.ellipse((0.02, 0.06), (0.8, 0.52), tint(look["breast"], rng), "breast", turn=-0.2)
    _belly(pen, look["belly"], rng)
    wing = tint(look["wings"], rng)
    pen.polygon([*ellipse_points((-0.12, -0.1), (0.48, 0.27), -0.15, start=-math.pi, stop=0.9),
                 (-0.85, 0.22)], wing, "wing")  # fmt: skip
    if look["wing_bar"] != "none":
        bar = tint(look["wing_bar"], rng)
        pen.stroke((-0.28, -0.34), (-0.08, 0.16), 0.17, bar, "wing_bar")
    head = tint((150, 128, 108), rng)
    pen.ellipse((0.72, -0.5), (0.4, 0.38), head, "face")
    if look["collar"] != "none":
        pen.polygon([(0.3, -0.34), (0.42, -0.22), (0.72, -0.08), (1.04, -0.18), (0.98, 0.0), (0.7, 0.1), (0.34, -0.04),
                     (0.2, -0.2)], tint(look["collar"], rng), "collar")  # fmt: skip
    else:
        pen.polygon(
            [(0.36, -0.3), (0.72, -0.1), (1.02, -0.2), (0.94, -0.06), (0.7, 0.04), (0.3, -0.12)], head, "collar"
        )
    crown = tint(look["crown"], rng)
    if look["crest"] == "tall":
        pen.polygon(
            [(0.95, -0.8), (0.62, -1.0), (0.3, -1.38), (0.34, -1.02), (0.1, -1.1), (0.36, -0.66)], crown, "crest"
        )
    pen.polygon(ellipse_points((0.72, -0.54), (0.42, 0.38), 0.0, start=-math.pi - 0.15, stop=0.0), crown, "crown")
    if look["eye_ring"] != "none":
        pen.ellipse((0.84, -0.46), (0.17, 0.17), tint(look["eye_ring"], rng), "eye_ring")
    pen.ellipse((0.84, -0.46), (0.085, 0.085), (15, 15, 15), "eye")
    _bill(pen, look["bill_shape"], tint(look["bill_colour"], rng))


def _tail(pen: Pen, shape: str, colour: Colour) -> None:
    outlines = {
        "forked": [(-0.6, -0.05), (-1.5, -0.42), (-1.0, 0.1), (-1.5, 0.55), (-0.6, 0.28)],
        "fan": [(-0.6, 0.05), (-1.2, -0.45), (-1.4, -0.15), (-1.45, 0.15), (-1.4, 0.42), (-1.15, 0.68), (-0.6, 0.25)],
        "pointed": [(-0.6, -0.02), (-1.55, 0.14), (-1.55, 0.2), (-0.6, 0.28)],
        "square": [(-0.6, -0.08), (-1.08, -0.1), (-1.08, 0.38), (-0.6, 0.32)],
    }
    pen.polygon(outlines[shape], colour, "tail")


def _bill(pen: Pen, shape: str, colour: Colour) -> None:
    outlines = {
        "thick": [(1.02, -0.66), (1.4, -0.46), (1.04, -0.26)],
        "thin": [(1.06, -0.54), (1.72, -0.46), (1.06, -0.38)],
        "hooked": [(1.04, -0.6), (1.34, -0.58), (1.48, -0.44), (1.46, -0.18), (1.34, -0.36), (1.04, -0.32)],
        "curved": [(1.04, -0.58), (1.36, -0.5), (1.58, -0.28), (1.68, 0.04), (1.48, -0.2), (1.28, -0.36), (1.04, -0.4)],
    }
    pen.polygon(outlines[shape], colour, "bill")


def _belly(pen: Pen, pattern: str, rng: random.Random) -> None:
    cream, dark = tint((235, 228, 205), rng, 8), tint((55, 40, 35), rng, 10)
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


def _grass(pen: Pen, rng: random.Random) -> None:
    colour = tint((70, 130, 55), rng, 20)
    top = rng.uniform(0.42, 0.56)
    pen.polygon([(-2.4, top + 0.2), (2.4, top + 0.2), (2.4, 2.4), (-2.4, 2.4)], colour, "occluder")
    for k in range(24):
        x = -2.3 + k * 0.2 + rng.uniform(-0.05, 0.05)
        tip = (x + rng.uniform(-0.1, 0.1), top - rng.uniform(0.0, 0.14))
        pen.polygon([(x - 0.11, top + 0.25), tip, (x + 0.11, top + 0.25)], tint(colour, rng, 10), "occluder")


def _leaf(pen: Pen, centre: Point, radius: float, rng: random.Random) -> None:
    colour = tint(rng.choice([(60, 120, 50), (95, 135, 45), (150, 110, 50), (40, 95, 60)]), rng, 15)
    turn = rng.uniform(0, math.pi)
    pen.ellipse(centre, (radius, radius * rng.uniform(0.72, 0.9)), colour, "occluder", turn=turn)
    dx, dy = math.cos(turn) * radius, math.sin(turn) * radius
    rib = tint((colour[0] + 35, colour[1] + 35, colour[2] + 25), rng, 5)
    pen.stroke((centre[0] - dx, centre[1] - dy), (centre[0] + 1.25 * dx, centre[1] + 1.25 * dy), 0.06, rib, "occluder")
