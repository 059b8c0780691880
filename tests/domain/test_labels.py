# ruff: noqa: RUF001
import time

import pytest

from seewhy.domain.labels import LabelMatcher, lenient_match, name_ranges
from seewhy.domain.text import name_key
from seewhy.errors import SeeWhyError

BIRDS = ["Crow", "Fish Crow", "Raven", "Black-footed Albatross", "Anna Hummingbird", "Forsters Tern", "Tufted Titmouse"]
PLANES = ["737-300", "737-400", "A320", "DC-10", "F-16A/B", "Boeing 717"]
OTHERS = ["Iris", "Geococcyx", "Satsumas", "Cherry", "Leaf", "Cactus", "Kiwi", "St. Bernard", "Corn (maize) Rust"]
SCRIPTS = ["乌鸦", "小嘴乌鸦", "ворона", "Épervier d'Europe", "カラス", "까마귀", "กา", "कौआ", "Grünspecht", "ΚΟΡΑΚΑΣ"]


@pytest.mark.parametrize(
    ("labels", "text", "named"),
    [
        (BIRDS, "This is a crow.", {"Crow"}),
        (BIRDS, "A FISH CROW!", {"Fish Crow"}),
        (BIRDS, "two fish-crows on a wire", {"Fish Crow"}),
        (BIRDS, "a fish. Crows are black", {"Crow"}),
        (BIRDS, "a fish, crow", {"Crow"}),
        (BIRDS, "scarecrow, crowd, crown", set()),
        (BIRDS, "black footed albatrosses", {"Black-footed Albatross"}),
        (BIRDS, "black_footed_albatross", {"Black-footed Albatross"}),
        (BIRDS, "Anna’s Hummingbird", {"Anna Hummingbird"}),
        (BIRDS, "Forster's tern", {"Forsters Tern"}),
        (BIRDS, "tufted titmice", {"Tufted Titmouse"}),
        (BIRDS, "either a crow or a raven", {"Crow", "Raven"}),
        (BIRDS, "the crow's tail", {"Crow"}),
        (BIRDS, "a crow-like bird, crow-sized", set()),
        (BIRDS, "", set()),
        (PLANES, "a Boeing 737-300.", {"737-300"}),
        (PLANES, "a Boeing 737-400", {"737-400"}),
        (PLANES, "a 737–300", {"737-300"}),
        (PLANES, "a 737-3000, a 1737-300, a 737-300ER, a 737", set()),
        (PLANES, "A320neo", set()),
        (PLANES, "an A320", {"A320"}),
        (PLANES, "DC10 or dc 10", {"DC-10"}),
        (PLANES, "F-16A/B", {"F-16A/B"}),
        (OTHERS, "irises", {"Iris"}),
        (OTHERS, "an iris", {"Iris"}),
        (OTHERS, "Geococcyx californianus", {"Geococcyx"}),
        (OTHERS, "a satsuma", {"Satsumas"}),
        (OTHERS, "cherries", {"Cherry"}),
        (OTHERS, "leaves", {"Leaf"}),
        (OTHERS, "cacti", {"Cactus"}),
        (OTHERS, "A St. Bernard dog", {"St. Bernard"}),
        (OTHERS, "It is a St Bernard", {"St. Bernard"}),
        (OTHERS, "Corn (maize) rust", {"Corn (maize) Rust"}),
        (SCRIPTS, "这是乌鸦。", {"乌鸦"}),
        (SCRIPTS, "这是小嘴乌鸦，因为它是黑色的", {"小嘴乌鸦"}),
        (SCRIPTS, "Это ВОРОНА.", {"ворона"}),
        (SCRIPTS, "воронами", set()),
        (SCRIPTS, "C'est l'e\u0301pervier d’Europe", {"Épervier d'Europe"}),
        (SCRIPTS, "これはカラスです", {"カラス"}),
        (SCRIPTS, "까마귀입니다", {"까마귀"}),
        (SCRIPTS, "물까마귀입니다", set()),
        (SCRIPTS, "นี่คือกา", {"กา"}),
        (SCRIPTS, "यह कौआ है", {"कौआ"}),
        (SCRIPTS, "ein GRÜNSPECHT", {"Grünspecht"}),
        (SCRIPTS, "ο κόρακας", set()),
        (SCRIPTS, "ο κορακας", {"ΚΟΡΑΚΑΣ"}),
        (["Crow", "乌鸦"], "这是Crow。", {"Crow"}),
        (["Crow", "Crows Nest"], "a crows nest", {"Crows Nest"}),
        (["Pin Oak", "Pine Oak"], "a pine oak", {"Pine Oak"}),
        (["Red Delicious", "Lemon"], "its skin is red, delicious lemon", {"Lemon"}),
    ],
)
def test_names(labels: list[str], text: str, named: set[str]) -> None:
    assert LabelMatcher(labels).names(text) == named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("This is not a crow.", set()),
        ("It isn't a crow", set()),
        ("It isn’t really a fish crow", set()),
        ("This is a raven rather than a crow.", {"Raven"}),
        ("Unlike the crow, the raven has a wedge tail.", {"Raven"}),
        ("a raven instead of a crow", {"Raven"}),
        ("neither a crow nor a raven", set()),
        ("not a fish crow or a raven", set()),
        ("It is not a raven but a crow.", {"Crow"}),
        ("It's not a raven, it's a crow.", {"Crow"}),
        ("This is not a Raven. It is a Crow.", {"Crow"}),
        ("No, this is a crow.", {"Crow"}),
        ("There is no doubt this is a crow.", {"Crow"}),
        ("without a doubt a crow", {"Crow"}),
        ("not only a crow", {"Crow"}),
        ("none other than the crow", {"Crow"}),
        ("some bird other than a crow", set()),
        ("It does not look anything like a crow", set()),
        ("It has no red crest like a raven", set()),
        ("It does not have the wedge tail of a raven, so it is a crow", {"Crow"}),
        ("The bird without a crest is a crow", {"Crow"}),
        ("It is a crow and does not have a crest.", {"Crow"}),
        ("It cannot be a crow", set()),
        ("which distinguishes it from the raven: a crow", {"Crow"}),
        ("A crow, not to be confused with the raven", {"Crow"}),
        ("Unlike the raven the crow is small", {"Crow"}),
    ],
)
def test_negation(text: str, named: set[str]) -> None:
    assert LabelMatcher(["Crow", "Fish Crow", "Raven"]).names(text) == named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A Cantaloupe with orange flesh when cut.", {"Cantaloupe"}),
        ("A Cantaloupe: its flesh is orange.", {"Cantaloupe"}),
        ("A Cantaloupe, green to orange", {"Cantaloupe"}),
        ("This is an Orange, it has an orange rind.", {"Orange"}),
        ("This is an orange.", {"Orange"}),
        ("An orange with green leaves", {"Orange"}),
        ("Cantaloupe or orange", {"Cantaloupe", "Orange"}),
        ("A sweet orange.", {"Orange"}),
    ],
)
def test_a_label_that_is_also_a_word_of_description(text: str, named: set[str]) -> None:
    concepts = {
        "Orange": ("orange rind", "round body", "sweet orange"),
        "Cantaloupe": ("orange flesh when cut", "green to orange rind", "orange with a net"),
    }
    assert LabelMatcher(concepts, None, concepts).names(text) == named


def test_correct_means_that_label_and_no_other() -> None:
    matcher = LabelMatcher(["Crow", "Fish Crow"], {"Crow": ("Corvus brachyrhynchos", "American Crow")})
    assert matcher.is_correct("An American crow.", "Crow")
    assert matcher.is_correct("Corvus brachyrhynchos, a crow", "Crow")
    assert not matcher.is_correct("A fish crow", "Crow")
    assert not matcher.is_correct("A crow or a fish crow", "Crow")
    assert matcher.states("A crow or a fish crow", "Crow")
    assert not matcher.is_correct("A bird", "Crow")


@pytest.mark.parametrize(
    ("labels", "aliases", "message"),
    [
        (["Crow", "CROW"], {}, "'Crow' and 'CROW' differ only in case"),
        (["Fish Crow", "fish-crow"], {}, "differ only in case or punctuation"),
        (["Crow", "Raven"], {"Raven": ("crow",)}, "'crow' names both 'Crow' and 'Raven'"),
        (["Crow", "?!"], {}, "'\\?!' holds no letter"),
    ],
)
def test_ambiguous_names_are_refused(labels: list[str], aliases: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(SeeWhyError, match=message):
        LabelMatcher(labels, aliases)


def test_lenient_match_is_the_references_substring_rule() -> None:
    assert lenient_match("It is a Fish Crow!", "Crow")
    assert lenient_match("a black-footed  albatross's".replace("  ", " "), "Black-footed Albatross")
    assert lenient_match("scarecrow", "Crow")
    assert lenient_match("not a crow", "Crow")
    assert not lenient_match("a raven", "Crow")
    assert lenient_match("Boeing 737-300ER", "737-300")
    assert not lenient_match("Boeing 737-400", "737-300")
    assert lenient_match("an A320", "A330")  # the reference drops digits
    assert lenient_match("这是乌鸦", "乌鸦")
    assert not lenient_match("这是鸽子", "乌鸦")


@pytest.mark.parametrize(
    ("text", "names", "found"),
    [
        ("A Fish Crow, no crow.", ["Crow", "Fish Crow"], ["Fish Crow", "crow"]),
        ("It is a red-crested  finch.", ["Red-crested Finch"], ["red-crested  finch"]),
        ("Crows and scarecrow", ["Crow"], []),
        ("It is C. (corax)", ["C. corax"], ["C. (corax"]),
        ("A black crow.", ["Black_Crow"], ["black crow"]),
        ("A crow.", ["-"], []),
        ("A crow.", [], []),
    ],
)
def test_the_places_of_a_name(text: str, names: list[str], found: list[str]) -> None:
    assert [text[start:end] for start, end in name_ranges(text, names)] == found


def test_keys_fold_what_is_not_said() -> None:
    assert name_key("Black_footed-ALBATROSS") == name_key("black footed albatross") == ("black", "footed", "albatross")


def test_two_hundred_labels_cost_no_more_than_ten() -> None:
    syllables = ["ba", "ko", "ri", "tu", "ne", "so", "mi", "la", "ve", "du"]
    labels = [f"{a}{b}{c}n Warbler" for a in syllables for b in syllables for c in ("la", "ve")]
    reasons = "It has a long grey bill, and a white wing bar. " * 9
    answers = [(f"This bird is a {labels[i % 10]}. {reasons}", labels[i % 10]) for i in range(300)]

    def seconds(some: list[str]) -> float:
        matcher, start = LabelMatcher(some), time.process_time()
        assert all(matcher.is_correct(text, label) for text, label in answers)
        return time.process_time() - start

    few, many = (min(seconds(some) for _ in range(3)) for some in (labels[:10], labels))
    assert many < 4 * few  # a pattern a label would take 20 times as long
    assert many < 10  # 300 answers; 0.05 s on an idle core


def test_repetition_costs_no_time() -> None:
    matcher, start = LabelMatcher(["Crow", "Raven"]), time.process_time()
    for word in ("of", "not", "no", "@", "not a", "crow not", "raven or", "the of a"):
        matcher.names(f"not {' '.join([word] * 300)} x y z crow")
    assert time.process_time() - start < 5
