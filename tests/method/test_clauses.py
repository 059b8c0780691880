"""Clauses of descriptions and the concepts that they say, with the shipped encoder."""

import numpy as np
import pytest

from seewhy.fieldguide.guide import ENCODER
from seewhy.method.clauses import Said, _usual_similarity, clauses
from seewhy.method.encoder import Encoder

CELLS = (
    "large cell", "small cell", "nucleus with two lobes", "nucleus with many lobes", "round nucleus", "dense chromatin",
    "loose chromatin", "vacuoles in the cytoplasm", "light blue cytoplasm", "blue cytoplasm", "fine granules",
)  # fmt: skip
BIRDS = ("black and white wings", "white wings", "black tail", "no crest", "tall crest", "plain belly")


def said(concepts: tuple[str, ...], noun: str, text: str) -> set[str]:
    encoder = Encoder(str(ENCODER), "cpu")
    found = Said(concepts, encoder.embed_concepts(concepts), noun, encoder).said([text])
    return {concepts[row] for row in found[text]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "This white blood cell shows a small cell, a nucleus with two lobes, dense chromatin and fine granules.",
            {"small cell", "nucleus with two lobes", "dense chromatin", "fine granules"},
        ),
        ("I can see light blue cytoplasm. It also has loose chromatin.", {"light blue cytoplasm", "loose chromatin"}),
        ("A white blood cell with a small cell and blue cytoplasm.", {"small cell", "blue cytoplasm"}),
        ("It has a large cell, but no vacuoles in the cytoplasm.", {"large cell"}),
        ("The white blood cell lies on a slide.", set()),
        ("It might be a large cell.", set()),
    ],
)
def test_each_clause_says_its_nearest_concept(text: str, expected: set[str]) -> None:
    assert said(CELLS, "white blood cell", text) == expected


def test_a_feature_with_and_in_it_stays_whole() -> None:
    assert said(BIRDS, "bird", "It has black and white wings and a black tail.") == {
        "black and white wings", "black tail",
    }  # fmt: skip


def test_what_is_denied_is_said_by_a_concept_that_denies_it() -> None:
    assert said(BIRDS, "bird", "The bird has no crest and a plain belly.") == {"no crest", "plain belly"}


def test_clauses_are_cut_at_marks_and_verbs() -> None:
    found = clauses("The bird has a red crown, blue wings and a forked tail.")
    assert [(c.text, c.joint) for c in found] == [
        ("the bird", ""), ("a red crown", ""), ("blue wings", ""), ("a forked tail", "and"),
    ]  # fmt: skip


def test_the_floor_is_the_usual_similarity_of_two_concepts() -> None:
    rng = np.random.default_rng(0)
    asked_CE, said_CE = (rng.standard_normal((7, 5)).astype(np.float32) for _ in range(2))
    others = (asked_CE @ said_CE.T)[~np.eye(7, dtype=bool)]
    assert _usual_similarity(asked_CE, said_CE) == pytest.approx(others.mean() + others.std(), rel=1e-5)
    assert _usual_similarity(asked_CE[:1], said_CE[:1]) == 0.0
