"""What stands in for the candidates of a query that has lost them all: a model told the label and the concepts."""

import pytest

from method.fakes import DOMAIN, FakeSampler, example, stated
from seewhy.config import SynthesiseConfig
from seewhy.domain.questions import synthesis_prompt
from seewhy.method.told import Query, reasons_for
from seewhy.records import Sampling

CONFIG = SynthesiseConfig(max_new_tokens=9, tries=2)
HERON, CROW = example("a", "Heron"), example("c")
SELECTED = {"a": ("long legs", "grey back"), "c": ()}
LOST = [Query("a/2/0", HERON, "explain", "Which bird, and why?"), Query("a/2/3", HERON, "cot", "Describe, then name.")]
LISTED = {
    "a/2/0": ("This is a Heron. It shows: long legs, grey back.", "listed"),
    "a/2/3": ("It shows: long legs, grey back. This is a Heron.", "listed"),
}


def stand_ins(write, lost=LOST):
    sampler = FakeSampler(write)
    found = reasons_for(lost, DOMAIN, SELECTED, stated, sampler, CONFIG, seed=3)
    return {name: tuple(one) for name, one in found.items()}, sampler


def test_the_model_is_told_label_and_concepts_of_the_query_that_was_lost():
    found, sampler = stand_ins(lambda prompt, sample: f"A Heron: long legs. {prompt.id}")
    assert found == {query.id: (f"A Heron: long legs. {query.id}", "rewritten") for query in LOST}
    assert [(p.id, p.image, p.text) for p in sampler.prompts] == [
        (q.id, "/images/a.png", synthesis_prompt("Heron", SELECTED["a"], q.text, "bird")) for q in LOST
    ]
    assert sampler.samplings[0] == Sampling(1, 0.3, 1.0, 9)


@pytest.mark.parametrize("text", ["A Herron: long legs.", "A Crow: long legs.", "", "A Heron. <image>"])
def test_a_name_that_the_model_does_not_copy_comes_with_the_concepts_as_text(text):
    found, sampler = stand_ins(lambda prompt, sample: text)
    assert found == LISTED
    assert len(sampler.prompts) == 4  # each query twice


@pytest.mark.parametrize("concept", ["black bill", "yellow bill"])
def test_a_concept_that_was_not_selected_is_refused_though_the_class_lists_it(concept):
    found, sampler = stand_ins(lambda prompt, sample: f"A Heron: {concept}, long legs.")
    assert found == LISTED
    assert len(sampler.prompts) == 4


def test_an_image_that_shows_no_concept_has_no_stand_in():
    found, sampler = stand_ins(lambda prompt, sample: "A Crow.", [Query("c/2/0", CROW, "explain", "Why?")])
    assert (found, sampler.prompts) == ({}, [])
