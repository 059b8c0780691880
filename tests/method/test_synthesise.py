import math
from dataclasses import replace

import pytest

from method.fakes import DOMAIN, QUESTIONS, FakeSampler, example, stated
from seewhy.config import SynthesiseConfig
from seewhy.domain.questions import label_sentence, synthesis_prompt
from seewhy.method.synthesise import fallback_share, label_answers, synthesise
from seewhy.records import Sampling

CONFIG = SynthesiseConfig(answers_per_image=8, max_new_tokens=9, fallback="label")
EXAMPLES = [example("c"), example("a", "Heron"), example("b", "Fish Crow")]
SELECTED = {"c": ("black bill", "black legs"), "a": ("long legs",), "b": ("short legs",)}
LABELS = {e.id: e.label for e in EXAMPLES}


def run(write, examples=EXAMPLES, selected=SELECTED, config=CONFIG, seed=5):
    sampler = FakeSampler(write)
    return synthesise(examples, DOMAIN, selected, stated, sampler, config, seed=seed, query_seed=seed), sampler


def truthful(prompt, sample):
    name = prompt.id.split("/")[0]
    return f"It is a {LABELS[name]}, as it has {SELECTED[name][0]}. {prompt.image}"


def test_every_answer_is_about_its_own_image_and_query():
    answers, sampler = run(truthful)
    assert [a.id for a in answers] == [f"{e.id}/1/{n}" for e in EXAMPLES for n in range(8)]
    asked = {prompt.id: prompt for prompt in sampler.prompts}
    for a in answers:
        assert a.text == truthful(asked[a.id], 0)
        assert asked[a.id].image == f"/images/{a.example_id}.png"
        assert asked[a.id].text == synthesis_prompt(LABELS[a.example_id], SELECTED[a.example_id], a.query, "bird")
        assert a.query in getattr(QUESTIONS, a.kind)
        assert (a.source, a.round, a.reason) == ("synthesised", 1, f"names {LABELS[a.example_id]}")
        assert math.isnan(a.score)
    assert sampler.samplings == [Sampling(1, 0.3, 1.0, 9)]
    assert fallback_share(answers) == 0


def test_shares_of_the_kinds():
    answers, _ = run(truthful, config=replace(CONFIG, answers_per_image=500))
    kinds = [a.kind for a in answers]
    assert kinds.count("simple") / len(kinds) == pytest.approx(0.4, abs=0.04)
    assert kinds.count("explain") / kinds.count("cot") == pytest.approx(1, abs=0.15)


def test_queries_do_not_depend_on_the_shard():
    def queries(examples, seed=5):
        answers, _ = run(truthful, examples=examples, seed=seed)
        return {a.id: a.query for a in answers}

    together = queries(EXAMPLES)
    assert queries(EXAMPLES[::-1]) == together
    assert queries(EXAMPLES[1:2]).items() <= together.items()
    assert queries(EXAMPLES, seed=6) != together


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("a bird with a black bill", "names no label"),
        ("This is a Fish Crow.", "names Fish Crow, not Crow"),
        ("A Crow or a Heron.", "names Crow and Heron, not Crow alone"),
        ("This is not a Crow.", "names no label"),
        ("A Crow. <image>", "holds special token <image>"),
        ("A Crow. Answer the question in your own words!", "repeats the instruction ('answer the question in your')"),
    ],
)
def test_a_faulty_answer_falls_back_and_says_why(text, reason):
    answers, _ = run(lambda prompt, sample: text, examples=EXAMPLES[:1])
    assert len(answers) == 8
    for a in answers:
        assert (a.kind, a.text, a.source, a.reason) == ("simple", label_sentence("Crow"), "label sentence", reason)
        assert a.query in QUESTIONS.simple
    assert len({a.query for a in answers}) == 8
    assert fallback_share(answers) == 1


def test_a_class_whose_name_the_model_cannot_copy_is_taught_its_reasons():
    config = replace(CONFIG, fallback="reasons", answers_per_image=20)
    bare, _ = run(
        lambda prompt, sample: "a Cruw with a black bill",
        examples=EXAMPLES[:1],
        config=replace(CONFIG, answers_per_image=20),
    )
    answers, sampler = run(lambda prompt, sample: "a Cruw with a black bill", examples=EXAMPLES[:1], config=config)
    first, last = (
        "This is a Crow. It shows: black bill, black legs.",
        "It shows: black bill, black legs. This is a Crow.",
    )
    expected = {"explain": (first, "listed"), "cot": (last, "listed"), "simple": ("This is a Crow.", "label sentence")}
    assert {a.kind for a in answers} == expected.keys()
    for a in answers:
        assert (a.text, a.source) == expected[a.kind]
        assert a.reason == "names no label"
        assert a.kind == "simple" or synthesis_prompt("Crow", SELECTED["c"], a.query, "bird") in {
            prompt.text for prompt in sampler.prompts if prompt.id == a.id
        }
    assert fallback_share(bare) == 1
    assert fallback_share(answers) == sum(a.kind == "simple" for a in answers) / 20 < 0.7
    assert [a for a in answers if a.kind == "simple"] == [
        b for a, b in zip(answers, bare, strict=True) if a.kind == "simple"
    ]


def test_without_selected_concepts_only_the_name_can_be_taught():
    answers, _ = run(truthful, selected={**SELECTED, "a": ()}, config=replace(CONFIG, fallback="reasons"))
    assert {(a.kind, a.text, a.source) for a in answers if a.example_id == "a"} == {
        ("simple", label_sentence("Heron"), "label sentence")
    }


def test_the_fallback_is_counted():
    answers, _ = run(lambda prompt, sample: "Heron" if prompt.id.endswith(("0", "1")) else "none")
    assert fallback_share(answers) == 22 / 24
    assert [a.id for a in answers if a.source == "synthesised"] == ["a/1/0", "a/1/1"]
    assert fallback_share([]) == 0


def test_a_label_that_is_part_of_another():
    answers, _ = run(lambda prompt, sample: "A Crow.", examples=[example("b", "Fish Crow"), example("c")])
    assert {a.example_id: a.source for a in answers} == {"b": "label sentence", "c": "synthesised"}


def test_concepts_and_query_in_an_answer_are_no_echo():
    def write(prompt, sample):
        return "This bird is a Crow. It shows: black bill, black legs."

    answers, _ = run(write, examples=EXAMPLES[:1])
    assert fallback_share(answers) == 0


def test_an_example_without_selected_concepts_is_not_asked():
    answers, sampler = run(truthful, selected={**SELECTED, "a": ()})
    of_a = [a for a in answers if a.example_id == "a"]
    assert len(of_a) == 8
    assert {(a.kind, a.text) for a in of_a} == {("simple", label_sentence("Heron"))}
    assert {a.reason for a in of_a} == {"no concept was selected for this image"}
    assert not any(prompt.id.startswith("a/") for prompt in sampler.prompts)


def test_the_nl_control_has_the_same_queries():
    answers, _ = run(truthful)
    control = label_answers(answers, LABELS)
    assert [(a.id, a.kind, a.query) for a in control] == [(a.id, a.kind, a.query) for a in answers]
    assert all(a.text == label_sentence(LABELS[a.example_id]) for a in control)
    assert fallback_share(control) == 1


def in_turn(*texts):
    """Each prompt gets the first text, when asked again the second, and so on."""
    asked = {}

    def write(prompt, sample):
        asked[prompt.id] = asked.get(prompt.id, -1) + 1
        return texts[asked[prompt.id]]

    return write


@pytest.mark.parametrize(
    ("texts", "taken", "asked"),
    [
        (("A Heron: long legs.", "unasked"), 0, 1),
        (("I cannot say.", "A Heron: long legs."), 1, 2),
        (("A Heron: black bill.", "A Heron: long legs."), 1, 2),  # herons have no black bill
        (("A Heron: black bill.", "A Crow.", "A Heron: short legs."), 0, 3),  # the first that names it
        (("A Crow.", "A Heron: black bill.", "A Crow."), 1, 3),
        (("A Crow.", "", "A Crow.", "A Heron."), None, 3),
    ],
)
def test_an_answer_is_asked_for_again_while_it_has_a_flaw(texts, taken, asked):
    config = replace(CONFIG, answers_per_image=1, tries=3, simple_share=0.0)
    (answer,), sampler = run(in_turn(*texts), examples=EXAMPLES[1:2], config=config)
    assert len(sampler.prompts) == asked
    assert answer.text == (label_sentence("Heron") if taken is None else texts[taken])
    assert (answer.source == "label sentence") == (taken is None)


def test_where_listed_concepts_are_required_the_label_sentence_stands_in():
    config = replace(CONFIG, answers_per_image=1, tries=2, simple_share=0.0, require_listed=True)
    (answer,), sampler = run(in_turn(*["A Heron: black bill."] * 2), examples=EXAMPLES[1:2], config=config)
    assert (answer.text, answer.source, len(sampler.prompts)) == (label_sentence("Heron"), "label sentence", 2)
    assert answer.reason == "states 'black bill', which its class does not list"


def test_with_one_try_it_is_the_papers():
    (answer,), sampler = run(
        in_turn("A Heron: black bill."), examples=EXAMPLES[1:2], config=replace(CONFIG, answers_per_image=1, tries=1)
    )
    assert (answer.text, len(sampler.prompts)) == ("A Heron: black bill.", 1)
