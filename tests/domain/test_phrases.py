"""What is a usable concept, phrase by phrase."""

import pytest

from seewhy.domain.phrases import (
    find_head_word,
    find_name,
    is_uninformative,
    non_visual_kind,
    phrase_key,
    strip_name,
    tidy_phrase,
    unusable_reason,
)


@pytest.mark.parametrize(
    ("said", "concept"),
    [
        ("Short hooked bill.", "short hooked bill"),
        ("- a red crown", "red crown"),
        ("3. Its wings", "wings"),
        ("It has a long tail", "long tail"),
        ("The bird has a long tail", "long tail"),
        ("has the tail of a fish", "tail of a fish"),
        ("“”", "“”"),
        ('"black  legs"', "black legs"),
        ("V-shaped tail", "V-shaped tail"),
        ("737 winglets", "737 winglets"),
        ("T-tail", "T-tail"),
    ],
)
def test_phrases_are_tidied(said: str, concept: str) -> None:
    assert tidy_phrase(said) == concept


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Grey wings", "a gray wing"),
        ("wing-bars", "wing bar"),
        ("The leaves", "leaf"),
        ("colored belly", "coloured belly"),
        ("berries", "berry"),
    ],
)
def test_wordings_of_one_concept_fold_alike(one: str, other: str) -> None:
    assert phrase_key(one) == phrase_key(other)


@pytest.mark.parametrize(("one", "other"), [("red crown", "crown red"), ("red crown", "red crest"), ("wing", "wind")])
def test_other_concepts_do_not(one: str, other: str) -> None:
    assert phrase_key(one) != phrase_key(other)


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("melodious song", "a sound"),
        ("harsh call", "a sound"),
        ("sweet smell", "a smell or taste"),
        ("soft to the touch", "touch"),
        ("aggressive behaviour", "behaviour"),
        ("found in wetlands", "habitat or origin"),
        ("native to Asia", "habitat or origin"),
        ("20 cm long body", "a measure"),
        ("5-7 inch tail", "a measure"),
        ("weighs little", "a measure"),
        ("twenty inches tall", "a measure"),
        ("seats 150 passengers", "a measure"),
        ("caused by a fungus", "no look"),
    ],
)
def test_what_no_picture_shows_is_told(phrase: str, kind: str) -> None:
    assert non_visual_kind(phrase) == kind


@pytest.mark.parametrize(
    "phrase",
    [
        "forest green wings", "scaly legs", "four engines under wings", "two white wing bars", "bell-shaped flower",
        "two in front, two behind", "heavy black bill", "four-footed stance", "concentric brown rings", "4 winglets",
        "callus on bill", "eye stripe", "nested circles", "painted look", "ranged spots", "sharp teeth",
    ],
)  # fmt: skip
def test_what_a_picture_shows_is_not(phrase: str) -> None:
    assert non_visual_kind(phrase) is None


@pytest.mark.parametrize(
    "phrase",
    [
        "has feathers",
        "two wings",
        "distinctive markings",
        "a tail",
        "typical bird shape",
        "beautiful plumage",
        "leaves",
    ],
)
def test_what_all_have_is_generic(phrase: str) -> None:
    assert is_uninformative(phrase, "bird")


@pytest.mark.parametrize("phrase", ["red wings", "forked tail", "spots", "crest", "wing bars", "hooked beak"])
def test_what_some_have_is_not(phrase: str) -> None:
    assert not is_uninformative(phrase, "bird")


@pytest.mark.parametrize(
    ("phrase", "names", "found"),
    [
        ("wings like a fish crow", ["Fish Crow"], "Fish Crow"),
        ("Fish Crows' bill", ["Fish Crow"], "Fish Crow"),
        ("crow on a fish", ["Fish Crow"], None),
        ("orange rind", ["Orange"], None),
        ("orange", ["Orange"], "Orange"),
        ("kiwi-like fuzz", ["Kiwi"], "Kiwi"),
        ("737-300 winglets", ["737-300"], "737-300"),
        ("737-400 winglets", ["737-300"], None),
        ("heart of normal size", ["Normal"], None),
    ],
)
def test_names_inside(phrase: str, names: list[str], found: str | None) -> None:
    assert find_name(phrase, names) == found


@pytest.mark.parametrize(
    ("phrase", "name", "found"),
    [
        ("crow-like shape", "Fish Crow", "crow"),
        ("fish scales", "Fish Crow", None),
        ("red crown", "Black Red", None),
        ("700 series nose", "Boeing 700", None),
    ],
)
def test_the_last_word_of_a_name(phrase: str, name: str, found: str | None) -> None:
    assert find_head_word(phrase, [name]) == found


def test_a_name_before_a_phrase_is_taken_off() -> None:
    assert strip_name("Fish Crow's short bill", ["Crow", "Fish Crow"]) == "short bill"
    assert strip_name("The fish crow: short bill", ["Fish Crow"]) == "short bill"
    assert strip_name("Fish Crow bill", ["Fish Crow"]) == "Fish Crow bill"
    assert strip_name("Fish Crow's", ["Fish Crow"]) == "Fish Crow's"


@pytest.mark.parametrize(
    ("phrase", "fault"),
    [
        ("one two three four five six", None),
        ("one two three four five six seven", "longer than 6 words"),
        ("red <image> crown", "holds the control token <image>"),
        ("!?", "no words"),
        ("", "no words"),
    ],
)
def test_what_can_be_no_concept(phrase: str, fault: str | None) -> None:
    assert unusable_reason(phrase) == fault
