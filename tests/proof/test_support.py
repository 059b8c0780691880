"""Which phrases of a bank the descriptions have words for, and what is said where too few are."""

from pathlib import Path

import pytest

from seewhy.proof.support import support, too_few

TEXTS = ("It shows stripes on a rounded red crown.", "The fruit has a green skin with spots; the stem is thick.")


@pytest.mark.parametrize(
    ("phrase", "unsaid"),
    [
        ("red crown", ()),
        ("striped crown", ()),  # a paraphrase in the same words, whatever their endings
        ("spotted thick stem", ()),  # words of two descriptions: the weakest test there is
        ("round to slightly green skin", ("slightly",)),
        ("skin without spots", ()),
        ("crinkled leaf edges", ("crinkled", "leaf", "edge")),
        ("Red Crowns", ()),
    ],
)
def test_a_phrase_is_supported_when_all_its_words_are_said_somewhere(phrase: str, unsaid: tuple[str, ...]):
    found = support([phrase], TEXTS)
    assert found.unsaid.get(phrase, ()) == unsaid
    assert found.share == (0.0 if unsaid else 1.0)


def test_a_phrase_counts_once_and_a_bank_without_phrases_lacks_nothing():
    found = support(["red crown", "red crown", "leek stalk"], TEXTS, minimum=0.5)
    assert (found.phrases, found.descriptions, found.share) == (2, 2, 0.5)
    assert not found.too_low  # at the bound it goes on
    assert support([], TEXTS, minimum=1.0).share == 1.0


def test_without_a_description_nothing_is_supported():
    assert support(["red crown"], [], minimum=0.33).too_low


def test_what_stops_a_run_names_phrases_causes_and_remedies():
    found = support([f"leek {'x' * n} stalk" for n in range(2, 29)] + ["red crown"] * 9, TEXTS, minimum=0.33)
    speaks_of = "the base that comes with SeeWhy speaks of birds and of fruit"
    told = too_few(found, stops=True, example=TEXTS[0], speaks_of=speaks_of, folder=Path("runs/veg"))
    for words in (
        "1 of 28 phrases (4 %)", "At least 33 %", "leek xx stalk (never said: leek, xx, stalk)", "and 15 more",
        TEXTS[0], "no words for this domain", "birds and of fruit", "model.name_or_path",
        "not said as one would describe", "--keep_going true",
    ):  # fmt: skip
        assert words in told
    going_on = too_few(found, stops=False, example="", speaks_of="", folder=Path("runs/veg"))
    assert "birds" not in going_on
    assert "goes on all the same" in going_on
    assert "--keep_going" not in going_on
