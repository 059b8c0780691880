"""What an answer states: a table of sentences, read by a person."""

import time

import pytest

from seewhy.errors import SeeWhyError
from seewhy.proof.stated import StatedConcepts

BIRDS = (
    "red crown", "yellow crown", "bright red crown", "yellow breast", "red breast", "short conical bill",
    "conical bill", "short thick bill", "white eye ring", "tall crest", "plain neck", "white wing bar", "black wings",
    "blue wings", "long pointed tail", "pink legs", "spotted belly", "whistling song",
)  # fmt: skip
FRUIT = (
    "green skin", "dark green skin", "green skin showing between russet patches", "red stripes over a yellow ground",
    "smooth rind without a net", "fine pale net", "no stem", "orange rind", "round to oval body", "round body",
    "pale green flesh when cut", "brown spots on the peel", "crown of long stiff green leaves", "pear-shaped body",
    "grey-green leaf",
)  # fmt: skip
NAMES = ("Red-crowned Crane", "Orange", "Yellow-breasted Bunting", "Sorrel Wren")
CASES = [
    # as they stand
    ("This is a Sorrel Wren. It has a red crown.", {"red crown"}),
    ("RED CROWN!", {"red crown"}),
    ("A bird with a short conical bill.", {"short conical bill"}),
    ("A bird with a short, conical bill.", {"short conical bill"}),
    ("A bird with a short and conical bill.", {"short conical bill"}),
    ("It has black wing tips, and blue wings.", {"black wings", "blue wings"}),
    ("Its two white wing-bars stand out.", {"white wing bar"}),
    ("A pear shaped body.", {"pear-shaped body"}),
    ("Gray-green leaves hang on it.", {"grey-green leaf"}),
    ("A red-coloured crown.", {"red crown"}),
    ("It shows: red crown, yellow breast, pink legs.", {"red crown", "yellow breast", "pink legs"}),
    ("It is a red-crowned bird.", {"red crown"}),
    ("The bird's red crown shows.", {"red crown"}),
    ("A bird with a short, conical, pink bill.", {"short conical bill"}),
    ("The breast is covered in red and yellow breast feathers.", {"red breast", "yellow breast"}),
    # words of different concepts, or across a boundary
    ("red crown and yellow breast", {"red crown", "yellow breast"}),
    ("Its wings are red, crown yellow.", set()),
    ("The breast is red. Crown and legs are covered.", {"red breast"}),
    ("The bird is red and has a crown.", set()),
    ("The crown shines and the breast is red.", {"red breast"}),
    ("The crown is covered. Yellow breast.", {"yellow breast"}),
    ("The bill is yellow and red crown feathers show.", {"red crown"}),
    ("Redcrown.", set()),
    ("It has a black wing bar.", set()),
    # turned round
    ("Its bill is short and conical.", {"short conical bill"}),
    ("Its bill is conical and short.", {"short conical bill"}),
    ("The crown is red.", {"red crown"}),
    ("The crown is very clearly red, the breast yellow.", {"red crown"}),
    ("Its wings are blue on top.", {"blue wings"}),
    ("The legs look pink.", {"pink legs"}),
    ("a breast that is yellow", {"yellow breast"}),
    ("The bill is black and conical.", {"conical bill"}),
    ("**Crown:** red\n**Breast:** yellow", {"red crown", "yellow breast"}),
    ("The crown is red striped.", set()),
    ("The crown is not red.", set()),
    ("The crown isn't red.", set()),
    ("The crown is neither red nor yellow.", set()),
    # the longer phrase wins
    ("It has dark green skin.", {"dark green skin"}),
    ("It has dark green skin, and green skin below.", {"dark green skin", "green skin"}),
    ("The crown is bright red.", {"bright red crown"}),
    ("A bright red crown; the crown is red.", {"bright red crown", "red crown"}),
    ("A body that is round to oval.", {"round to oval body"}),
    # denied
    ("There is no white eye ring.", set()),
    ("It is without a tall crest.", set()),
    ("This is not a red crown.", set()),
    ("It lacks a tall crest or white eye ring.", set()),
    ("It has no tall crest, white wing bar or spotted belly.", set()),
    ("It does not have a red crown.", set()),
    ("It doesn't have a red crown but a yellow crown.", {"yellow crown"}),
    ("No tall crest, but a red crown.", {"red crown"}),
    ("No tall crest, a red crown and pink legs.", {"red crown", "pink legs"}),
    ("It has no tall crest and a red crown.", {"red crown"}),
    ("This is not a crow: it has a red crown.", {"red crown"}),
    ("This is not an orange because it has a pear-shaped body.", {"pear-shaped body"}),
    ("The red crown is not visible.", set()),
    ("The red crown is hidden by a leaf.", set()),
    ("Pink legs cannot be seen.", set()),
    ("A hidden red crown.", set()),
    ("A leaf hides the head; no red crown can be seen.", set()),
    ("Neither the tall crest nor the spotted belly is visible.", set()),
    ("Not only a red crown but also pink legs.", {"red crown", "pink legs"}),
    # concepts that deny
    ("The fruit has no stem.", {"no stem"}),
    ("A fruit without a stem.", {"no stem"}),
    ("The stem is long.", set()),
    ("It has a smooth rind without a net.", {"smooth rind without a net"}),
    ("Without a fine pale net.", set()),
    # names are nobody's reason
    ("This is a Red-crowned Crane.", set()),
    ("These are red crowned cranes.", set()),
    ("A Red-crowned Crane with a red crown.", {"red crown"}),
    ("A yellow breasted bunting, I think.", set()),
    ("This is an orange with an orange rind.", {"orange rind"}),
    # long phrases in parts
    ("It has green skin showing between russet patches.", {"green skin showing between russet patches"}),
    ("Russet patches with green skin showing between them.", {"green skin showing between russet patches"}),
    ("There are red stripes on the yellow ground.", {"red stripes over a yellow ground"}),
    ("There are yellow stripes on the red ground.", set()),
    ("Red stripes. The ground is yellow.", set()),
    ("The peel has brown spots.", {"brown spots on the peel"}),
    ("The peel has no brown spots.", set()),
    ("The cut flesh is pale green.", {"pale green flesh when cut"}),
    ("A rind that is smooth, with no net.", {"smooth rind without a net"}),
    ("Pale green skin with no stem and brown marks.", {"green skin", "no stem"}),
    # nothing
    ("", set()),
    ("This is a Sorrel Wren.", set()),
    ("I am sure about this bird because of its beauty.", set()),
]  # fmt: skip


@pytest.fixture(scope="module")
def stated() -> StatedConcepts:
    return StatedConcepts((*BIRDS, *FRUIT), NAMES)


@pytest.mark.parametrize(("text", "concepts"), CASES, ids=[text[:40] for text, _ in CASES])
def test_states_just_these_concepts(stated: StatedConcepts, text: str, concepts: set[str]):
    assert set(stated(text)) == concepts


def test_order_is_that_of_the_text_and_each_counts_once(stated: StatedConcepts):
    assert stated("Pink legs, red crown. The legs are pink.") == ("pink legs", "red crown")


def test_two_spellings_of_a_phrase_are_one_concept():
    assert StatedConcepts(["red wings", "Red wing"])("It has red wings.") == ("red wings",)


def test_text_in_a_script_without_spaces():
    stated = StatedConcepts(["红色的头冠", "黄色的胸部"])
    assert stated("这只鸟有红色的头冠。没有别的。") == ("红色的头冠",)


def test_a_phrase_without_words_is_an_error_that_names_it():
    with pytest.raises(SeeWhyError, match=r"'!!!'.*concept bank"):
        StatedConcepts(["red crown", "!!!"])


def test_three_thousand_answers_over_a_bank_of_1600_phrases_take_seconds():
    colours = ["red", "yellow", "black", "white", "blue", "brown", "grey", "green"]
    nouns = [f"{a}{b}" for a in ("crown", "breast", "bill", "tail", "leg") for b in "abcdefgh"]
    adjectives = ("long", "pale", "dark", "wide", "thin")
    stated = StatedConcepts([f"{adjective} {c} {n}" for adjective in adjectives for c in colours for n in nouns])
    texts = [
        f"This is bird {i}: a long {c} {n}, and its {m} is dark and {c}, without a pale {c} {n}. It sits on a branch."
        for i in range(10) for c in colours for n, m in zip(nouns, reversed(nouns), strict=True)
    ]  # fmt: skip
    start = time.process_time()
    counts = [len(stated(text)) for text in texts]
    assert min(counts) == max(counts) == 2
    assert time.process_time() - start < 20
