"""CUB-200-2011's attributes as phrases, as a bank and as truth; the names of its species."""

from dataclasses import replace
from pathlib import Path

import pytest

from published_sets import ATTRIBUTES, make_cub200, write, write_concepts
from seewhy.config import DataConfig
from seewhy.domain import Domain, load_domain
from seewhy.domain.loaders.cub200 import attribute_box, parts_of, phrase, species
from seewhy.errors import SeeWhyError

ALBATROSS = "images/001.Black_footed_Albatross/Black_footed_Albatross_0000_1"


def words(text: str) -> list[str]:
    return text.split()


COLOURS = words("blue brown iridescent purple rufous grey yellow olive green pink orange black white red buff")
PATTERNS = words("solid spotted striped multi-colored")
GROUPS = {
    "bill_shape": words(
        "curved_(up_or_down) dagger hooked needle hooked_seabird spatulate all-purpose cone specialized"
    ),
    "tail_shape": [f"{shape}_tail" for shape in words("forked rounded notched fan-shaped pointed squared")],
    "wing_shape": [f"{shape}-wings" for shape in words("rounded pointed broad tapered long")],
    "head_pattern": words("spotted malar crested masked unique_pattern eyebrow eyering plain eyeline striped capped"),
    "bill_length": words("about_the_same_as_head longer_than_head shorter_than_head"),
    "size": words(
        "large_(16_-_32_in) small_(5_-_9_in) very_large_(32_-_72_in) medium_(9_-_16_in) very_small_(3_-_5_in)"
    ),
    "shape": words(
        "upright-perching_water-like chicken-like-marsh long-legged-like duck-like owl-like gull-like hummingbird-like "
        "pigeon-like tree-clinging-like hawk-like sandpiper-like upland-ground-like swallow-like perching-like"
    ),
    **{f"{part}_pattern": PATTERNS for part in words("breast back tail belly wing")},
    **{
        f"{part}_color": COLOURS
        for part in words(
            "wing upperparts underparts back upper_tail breast throat forehead under_tail nape belly primary leg bill "
            "crown"
        )
    },
    "eye_color": [colour for colour in COLOURS if colour != "iridescent"],
}
"""The 28 groups of the official attributes.txt."""
OFFICIAL = [f"has_{group}::{value}" for group, values in GROUPS.items() for value in values]


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("has_bill_shape::hooked", "hooked bill"),
        ("has_bill_shape::curved_(up_or_down)", "curved bill"),
        ("has_bill_shape::hooked_seabird", "hooked seabird bill"),
        ("has_bill_length::shorter_than_head", "bill shorter than the head"),
        ("has_wing_color::grey", "grey wings"),
        ("has_eye_color::red", "red eyes"),
        ("has_leg_color::pink", "pink legs"),
        ("has_upper_tail_color::buff", "buff upper tail"),
        ("has_tail_shape::fan-shaped_tail", "fan-shaped tail"),
        ("has_wing_shape::long-wings", "long wings"),
        ("has_head_pattern::eyering", "eye ring"),
        ("has_head_pattern::striped", "striped head"),
        ("has_belly_pattern::solid", "solid-colored belly"),
        ("has_wing_pattern::multi-colored", "multi-colored wings"),
        ("has_primary_color::olive", "mainly olive plumage"),
        ("has_size::very_small_(3_-_5_in)", "very small size"),
        ("has_shape::gull-like", "gull-like shape"),
        ("has_shape::upright-perching_water-like", "upright-perching water bird shape"),
    ],
)
def test_attributes_become_phrases(attribute: str, expected: str) -> None:
    assert phrase(attribute) == expected


def test_every_official_attribute_has_a_phrase_of_its_own_and_known_parts() -> None:
    assert len(OFFICIAL) == 312
    phrases = [phrase(attribute) for attribute in OFFICIAL]
    assert len(set(phrases)) == 312
    assert not any(mark in text for text in phrases for mark in "_():")
    without_parts = {name.partition("::")[0] for name in OFFICIAL if not parts_of(name)}
    assert without_parts == {"has_size", "has_shape", "has_primary_color"}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("001.Black_footed_Albatross", "Black-footed Albatross"),
        ("004.Groove_billed_Ani", "Groove-billed Ani"),
        ("009.Brewer_Blackbird", "Brewer's Blackbird"),
        ("022.Chuck_will_Widow", "Chuck-will's-widow"),
        ("029.American_Crow", "American Crow"),
        ("105.Whip_poor_Will", "Whip-poor-will"),
        ("122.Harris_Sparrow", "Harris's Sparrow"),
        ("124.Le_Conte_Sparrow", "Le Conte's Sparrow"),
        ("126.Nelson_Sharp_tailed_Sparrow", "Nelson's Sharp-tailed Sparrow"),
        ("141.Artic_Tern", "Arctic Tern"),
        ("144.Forsters_Tern", "Forster's Tern"),
        ("159.Black_and_white_Warbler", "Black-and-white Warbler"),
        ("162.Canada_Warbler", "Canada Warbler"),
        ("190.Red_cockaded_Woodpecker", "Red-cockaded Woodpecker"),
        ("193.Bewick_Wren", "Bewick's Wren"),
        ("200.Common_Yellowthroat", "Common Yellowthroat"),
    ],
)
def test_names_of_species(folder: str, name: str) -> None:
    assert species(folder) == name


def load(root: Path, **settings: str | None) -> Domain:
    return load_domain(replace(DataConfig(source=str(make_cub200(root))), **settings))  # type: ignore[arg-type]


def test_the_attributes_are_the_bank_where_there_is_no_other(tmp_path: Path) -> None:
    bank = load(tmp_path).concepts
    assert bank["Black-footed Albatross"] == ("hooked bill", "black wings", "small size")  # 80, 60 and exactly 50 %
    assert bank["Brewer's Blackbird"] == ("cone-shaped bill", "black wings", "yellow eyes")
    assert bank["American Crow"] == ("hooked bill", "cone-shaped bill", "black wings")  # none has 50 %: the three most


def test_marks_and_parts_become_truth(tmp_path: Path) -> None:
    domain = load(tmp_path)
    assert domain.truth is not None
    assert domain.truth.keys() == {example.id for example in domain.examples}
    truth = domain.truth[ALBATROSS]
    assert truth.visible == ("hooked bill", "yellow eyes", "forked tail")  # definitely, probably, definitely
    assert truth.hidden == ("black wings", "small size")  # not visible though of its class; present by a guess
    assert truth.boxes == {
        "hooked bill": (10, 32, 20, 48),  # 64 / 8 either way of (12, 40), cut to the bird's box
        "yellow eyes": (26, 26, 38, 34),  # 64 / 16 either way of both eyes
        "forked tail": (66, 76, 74, 84),
    }
    crow = next(found for name, found in domain.truth.items() if "American_Crow" in name)
    assert crow.visible == ()
    assert crow.hidden == ("black wings",)  # of its class, and no wing is visible in part_locs


def test_truth_is_left_out_where_the_concepts_are_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ("American Crow", "Black-footed Albatross", "Brewer's Blackbird")
    assert load(tmp_path, concepts=str(write_concepts(tmp_path / "c.yaml", labels))).truth is None
    assert "its annotations know nothing of 'dark patches'" in " ".join(capsys.readouterr().err.split())
    same = write(tmp_path / "c.yaml", [f'"{label}": [hooked bill, black wings, forked tail]' for label in labels])
    domain = load(tmp_path, concepts=str(same))
    assert domain.truth is not None
    assert domain.truth[ALBATROSS].visible[0] == "hooked bill"


def test_boxes_that_are_outside_the_bird_are_none() -> None:
    bird = (10.0, 20.0, 64.0, 64.0)
    assert attribute_box("has_bill_shape::hooked", {"beak": (200.0, 40.0)}, bird) is None
    assert attribute_box("has_bill_shape::hooked", {"left eye": (20.0, 40.0)}, bird) is None
    assert attribute_box("has_size::large_(16_-_32_in)", {}, bird) == (10, 20, 74, 84)


def test_without_attributes_a_bank_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_cub200(tmp_path)
    (base / "attributes/image_attribute_labels.txt").unlink()
    with pytest.raises(SeeWhyError, match=r"set data\.concepts"):
        load_domain(DataConfig(str(base)))
    labels = ("American Crow", "Black-footed Albatross", "Brewer's Blackbird")
    assert load_domain(DataConfig(str(base), str(write_concepts(tmp_path / "c.yaml", labels)))).truth is None
    assert "nothing is known of what each image shows" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("images.txt", ["1 a b"], "images.txt line 1: is not a number and a value"),
        ("image_class_labels.txt", ["1 1"], "images.txt line 2: image 2 has no class or no split"),
        ("bounding_boxes.txt", ["1 a b c d"], "its part or box files are damaged"),
        ("parts/part_locs.txt", ["1 99 1.0 1.0 1"], "its part or box files are damaged"),
        ("attributes/image_attribute_labels.txt", ["1 1 1 4 2.0", "1 2 x"], "line 2 is not image, attribute, present"),
        ("attributes/class_attribute_labels_continuous.txt", ["1 2 3"], f"3 shares for {len(ATTRIBUTES)} attributes"),
        ("../attributes.txt", None, "attributes.txt is not there"),
        ("parts/parts.txt", None, "parts.txt is not there"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, lines: list[str] | None, message: str) -> None:
    base = make_cub200(tmp_path)
    write(base / file, lines) if lines else (base / file).unlink()
    with pytest.raises(SeeWhyError) as error:
        load_domain(DataConfig(str(base)))
    assert message in str(error.value)
