"""Answers about copies with a covered part: what cannot be seen any more is never stated."""

import pytest

from method.fakes import BANK, DOMAIN, FakeSampler, example, stated
from seewhy.config import SynthesiseConfig
from seewhy.domain.questions import synthesis_prompt
from seewhy.method.covered import answers, answers_each, still_shown

IMAGES = [example("a", "Heron"), example("b", "Heron"), example("c")]
COPIES = [example(f"{image.id}/covered/0", image.label) for image in IMAGES]
SHOWN = {"a/covered/0": ("long legs",), "b/covered/0": (), "c/covered/0": ("black bill", "square tail")}
CONFIG = SynthesiseConfig(answers_per_image=5, simple_share=0.4, tries=2, max_new_tokens=9)


def about(write, copies=COPIES, **options):
    sampler = FakeSampler(write)
    options = {"seed": 0, "query_seed": 0, **options}
    return answers(copies, DOMAIN, SHOWN, stated, sampler, CONFIG, **options), sampler


def test_a_copy_shows_no_more_than_its_image_and_what_is_selected_for_it_again():
    selected = {"a": ("long legs", "grey back"), "b": ("yellow bill",), "c": ()}
    again = {"a/covered/0": ("yellow bill", "long legs"), "b/covered/0": (), "c/covered/0": ("black bill",)}
    assert still_shown(dict(zip(COPIES, IMAGES, strict=True)), selected, again) == {
        "a/covered/0": ("long legs",), "b/covered/0": (), "c/covered/0": (),
    }  # fmt: skip


def test_the_base_is_told_what_can_still_be_seen():
    found, sampler = about(lambda prompt, sample: "A Heron: long legs." if "Heron" in prompt.text else "A Crow.")
    assert [a.example_id for a in found] == ["a/covered/0"] * 3 + ["c/covered/0"] * 3  # b shows nothing that is known
    assert {a.kind for a in found} == {"explain", "cot"}
    assert {a.source for a in found} == {"synthesised"}
    assert len({a.id for a in found}) == 6
    first = found[0]
    told = synthesis_prompt("Heron", ("long legs",), first.query, "bird")
    assert (sampler.prompts[0].text, sampler.prompts[0].image) == (told, "/images/a/covered/0.png")


@pytest.mark.parametrize("text", ["A Heron: long legs, grey back.", "A Heron: black bill.", "Long legs.", ""])
def test_an_answer_that_states_more_or_names_no_label_gives_way_to_a_template(text):
    found, sampler = about(lambda prompt, sample: text, COPIES[:1])
    assert len(sampler.prompts) == 6  # each twice
    for one in found:
        seen, name = "It shows: long legs.", "This is a Heron."
        assert (one.text, one.source) == (f"{seen} {name}" if one.kind == "cot" else f"{name} {seen}", "listed")
        assert not set(stated(one.text)) & (set(BANK["Heron"]) - {"long legs"})


def test_questions_hang_on_the_copy_and_the_seed_of_questions_alone():
    def queries(copies, **options):
        return [(a.id, a.query) for a in about(lambda prompt, sample: "A Heron.", copies, **options)[0]]

    assert queries(COPIES[:1], seed=5) == queries(COPIES)[:3]
    assert queries(COPIES[:1], query_seed=1) != queries(COPIES[:1])


@pytest.mark.parametrize(("answers_per_image", "share", "each"), [(3, 0.4, 2), (8, 0.4, 5), (1, 1.0, 1)])
def test_a_copy_has_as_many_answers_as_an_image_has_with_reasons(answers_per_image, share, each):
    assert answers_each(SynthesiseConfig(answers_per_image=answers_per_image, simple_share=share)) == each
