"""The world of the field guide: what birds and produce can look like, and which species there are.

Every attribute takes one of a few values; a value has the phrase an expert would use for it. A species fixes the values
of a bird. Half of the species have two plumages, both of them in the concept bank; a few concepts (song, habitat) can
never be seen. So a class's list is not true of each of its images, which is what makes the field guide an instrument.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

Look = Mapping[str, str]
"""Attribute -> value: what one bird, or one kind of produce, looks like."""


@dataclass(frozen=True)
class Attribute:
    """One way in which looks differ. `values` maps each value to its phrases, the expert's own first."""

    name: str
    question: str
    """How a question names it: 'crown'."""
    values: Mapping[str, tuple[str, ...]]


def _coloured(noun: str, *colours: str) -> dict[str, tuple[str, ...]]:
    return {colour: (f"{colour} {noun}",) for colour in colours}


BIRD = (
    Attribute("crown", "crown", _coloured("crown", "red", "yellow", "black", "white", "blue", "brown")),
    Attribute("crest", "head", {"tall": ("tall crest",), "none": ("smooth round head",)}),
    Attribute("eye_ring", "eye", {**_coloured("eye ring", "white", "yellow", "red"), "none": ("plain dark eye",)}),
    Attribute("bill_shape", "shape of the bill",
              {"thick": ("short thick bill",), "thin": ("long thin bill",), "hooked": ("hooked bill",),
               "curved": ("long curved bill",)}),
    Attribute("bill_colour", "colour of the bill", _coloured("bill", "yellow", "black", "red", "blue")),
    Attribute("collar", "neck", {**_coloured("collar", "white", "black", "red"), "none": ("plain neck",)}),
    Attribute("breast", "breast", _coloured("breast", "yellow", "white", "red", "orange", "grey")),
    Attribute("belly", "belly",
              {"plain": ("plain belly",), "spotted": ("spotted belly",), "streaked": ("streaked belly",),
               "barred": ("barred belly",)}),
    Attribute("wings", "wings", _coloured("wings", "blue", "green", "brown", "grey", "black")),
    Attribute("wing_bar", "wing bar", {**_coloured("wing bar", "white", "yellow"), "none": ("unmarked wings",)}),
    Attribute("tail_shape", "shape of the tail",
              {"forked": ("forked tail",), "fan": ("wide fan tail",), "pointed": ("long pointed tail",),
               "square": ("short square tail",)}),
    Attribute("tail_colour", "colour of the tail", _coloured("tail", "black", "white", "red", "blue", "brown")),
    Attribute("legs", "legs", _coloured("legs", "pink", "black", "yellow", "blue")),
)  # fmt: skip

PRODUCE = (
    Attribute("shape", "shape", {
        "round": ("round body", "small round body"), "oval": ("oval body", "small oval body"),
        "flat": ("flattened body", "slightly flattened ends"), "pear": ("pear-shaped body", "long tapering neck"),
        "long": ("long narrow body", "large elongated body"), "curved": ("long curved shape", "curved body"),
        "conical": ("conical body", "bumps at the base"), "barrel": ("large barrel-shaped body", "large body")}),
    Attribute("skin", "skin", {
        "red": ("red skin", "deep red skin"), "dark red": ("dark red skin", "dark red rind"),
        "green": ("green skin", "green rind"), "bright green": ("bright green skin", "light green skin"),
        "dark green": ("dark green skin", "dark green to black skin"),
        "yellow": ("bright yellow peel", "yellow rind", "yellow skin"), "yellow-green": ("yellow-green skin",),
        "golden": ("golden yellow rind", "golden brown skin"), "orange": ("orange rind", "orange skin"),
        "brown": ("brown skin", "brown russet skin"), "purple": ("dark purple skin", "purple skin"),
        "pink": ("pink skin", "pink to red skin"), "beige": ("beige rind", "pale rind")}),
    Attribute("surface", "surface", {
        "glossy": ("glossy surface", "smooth shiny skin"), "matt": ("matt surface", "dull surface"),
        "dimpled": ("dimpled rind", "fine pores"), "net": ("net over the rind", "fine pale net"),
        "pebbly": ("rough pebbly skin", "rough surface"), "wrinkled": ("wrinkled skin", "fine wrinkles"),
        "diamonds": ("diamond-patterned rind", "hexagonal eyes over the rind"),
        "fuzzy": ("fuzzy skin", "velvety surface")}),
    Attribute("marks", "marks", {
        "none": ("even single colour",), "stripes": ("dark stripes", "green rind with dark stripes"),
        "streaks": ("red stripes", "mottled streaky skin"), "dots": ("small pale dots", "small white dots"),
        "spots": ("brown spots", "small dark specks"), "blush": ("red blush", "pink to red blush"),
        "yellow patch": ("yellow patch", "yellow to orange patches"), "russet": ("russet patches", "brown marks")}),
    Attribute("stem", "stem", {
        "none": ("no stem",), "thin": ("long thin stem", "thin curved brown stem"), "thick": ("short thick stem",),
        "button": ("green button at the stem end", "round stem scar")}),
    Attribute("leaves", "leaves", {
        "none": ("no leaves",), "leaf": ("green leaves attached", "green leaf"),
        "crown": ("crown of long stiff green leaves", "spiky leaf tips"), "calyx": ("crown-shaped calyx",)}),
    Attribute("flesh", "flesh", {
        "none": ("whole fruit",),
        **{c: (f"{c} flesh when cut", f"{c} flesh") for c in ("orange", "red", "pale green")}}),
)  # fmt: skip

SONGS = ("whistling song", "rattling call", "song at dusk", "loud alarm call", "call like a bell", "soft cooing call")
HABITATS = ("lives in reed beds", "nests in pine woods", "feeds in orchards", "winters on the coast",
            "breeds near streams", "lives on dry heath")  # fmt: skip

_NAMES = (
    "Velmar Finch", "Orlick Finch", "Brusk Warbler", "Tansy Warbler", "Kestin Warbler", "Dunmore Thrush",
    "Haldane Thrush", "Pellam Thrush", "Sorrel Wren", "Lesser Sorrel Wren", "Ivo Wren", "Quillon Bunting",
    "Marram Bunting", "Asker Bunting", "Tolver Tanager", "Zennor Tanager", "Ruddle Tanager", "Fallow Shrike",
    "Corvane Shrike", "Nimrod Shrike", "Lintel Pipit", "Osmund Pipit", "Wexcombe Pipit", "Yarrow Finch",
)  # fmt: skip
_TWINS = ("crown", "breast", "wings", "bill_colour")
"""Four pairs of species differ in this one attribute alone."""
_DIMORPHIC = ("crown", "breast", "wings", "collar", "tail_colour", "wing_bar")
"""The sexes of a species differ in three of these."""
_MIN_DIFFERENCE = 5


@dataclass(frozen=True)
class Species:
    """A class of the field guide: its plumages (one, or male and female) and what an expert writes of it."""

    name: str
    plumages: tuple[Look, ...]
    unseen: tuple[str, ...]
    """Concepts that no picture can show."""

    @property
    def concepts(self) -> tuple[str, ...]:
        """Return the expert's list: every value of either plumage, and what cannot be seen."""
        phrases = [phrase(a, look) for a in BIRD for look in self.plumages]
        return (*dict.fromkeys(phrases), *self.unseen)


def phrase(attribute: Attribute, look: Look) -> str:
    """Return the expert's phrase for the value that `look` has of `attribute`."""
    return attribute.values[look[attribute.name]][0]


def random_look(attributes: tuple[Attribute, ...], rng: random.Random) -> dict[str, str]:
    """Return a look with every value drawn evenly; produce shows cut flesh, leaves and a stem less often than not."""
    look = {a.name: rng.choice(tuple(a.values)) for a in attributes}
    if "flesh" in look and rng.random() < 0.7:
        look["flesh"] = "none"
    return look


def make_species(seed: int = 7) -> tuple[Species, ...]:
    """Return the 24 species.

    Any two differ in at least five attributes, but for four pairs of twins that differ in one.
    """
    rng = random.Random(seed)
    species: list[Species] = []
    for number, name in enumerate(_NAMES):
        twin_of = number - 1 if number % 2 and number // 2 < len(_TWINS) else None
        if twin_of is None:
            plumages = _new_plumages(species, rng, dimorphic=number % 4 >= 2)
        else:
            plumages = _twin(species[twin_of].plumages, _TWINS[number // 2], rng)
        species.append(Species(name, plumages, (rng.choice(SONGS), rng.choice(HABITATS))))
    return tuple(species)


def _new_plumages(known: list[Species], rng: random.Random, *, dimorphic: bool) -> tuple[Look, ...]:
    while True:
        male = random_look(BIRD, rng)
        plumages: tuple[Look, ...] = (male,)
        if dimorphic:
            plumages = (male, _changed(male, rng.sample(_DIMORPHIC, 3), rng))
        others = [look for s in known for look in s.plumages]
        if all(_difference(a, b) >= _MIN_DIFFERENCE for a in plumages for b in others):
            return plumages


def _twin(plumages: tuple[Look, ...], attribute: str, rng: random.Random) -> tuple[Look, ...]:
    """Return the same birds but for one attribute, which takes in both plumages a value that neither has."""
    taken = {look[attribute] for look in plumages}
    values = next(a.values for a in BIRD if a.name == attribute)
    value = rng.choice([v for v in values if v not in taken])
    return tuple({**look, attribute: value} for look in plumages)


def _changed(look: Look, names: list[str], rng: random.Random) -> Look:
    changed = dict(look)
    for attribute in BIRD:
        if attribute.name in names:
            changed[attribute.name] = rng.choice([v for v in attribute.values if v != look[attribute.name]])
    return changed


def _difference(a: Look, b: Look) -> int:
    return sum(a[name] != b[name] for name in a)
