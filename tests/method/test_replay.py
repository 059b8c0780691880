"""Self-replay: which questions are put to the base, which of its texts are no targets, and what a round draws."""

from collections import Counter
from random import Random

import pytest

from method.fakes import BANK, DOMAIN, LABELS, FakeSampler, example
from seewhy.config import DescribeConfig
from seewhy.domain.general import GeneralQuestions, parts_of
from seewhy.method.replay import ORDER, drawn, repeats_to_its_end, replay, until_cut
from seewhy.records import Description, Example, Prompt, Replayed, Sampling


@pytest.mark.parametrize(
    ("concepts", "parts"),
    [
        (["red crown", "blue crown"], ["crown"]),
        (["white wing bar", "yellow wing bar", "brown wings"], ["wing bar", "wings"]),
        (["nucleus with two lobes", "nucleus filling most of the cell", "round nucleus"], ["nucleus"]),
        (["wide cytoplasm around the nucleus", "vacuoles in the cytoplasm"], ["cytoplasm", "vacuoles"]),
        (["glossy green skin", "dull green skin", "red"], ["skin"]),
    ],
)
def test_parts_are_the_nouns_of_the_concepts(concepts: list[str], parts: list[str]) -> None:
    assert list(parts_of(concepts)) == parts


CONFIG = DescribeConfig(max_new_tokens=40)
GENERAL = GeneralQuestions.of("bird", BANK)
EXAMPLES = [example(name, "Heron") for name in ("c", "a", "b")]


def replayed(examples: list[Example], sampler: FakeSampler, turns: int = 8, seed: int = 5) -> list[Replayed]:
    descriptions = {
        e.id: [Description(e.id, f"What is {n}?", 0, f"Text {n} of {e.id}.") for n in "xy"] for e in EXAMPLES
    }
    return replay(examples, DOMAIN, GENERAL, descriptions, sampler, CONFIG, turns=turns, seed=1, query_seed=seed)


def echo(prompt: Prompt, sample: int) -> str:
    return f"{prompt.image} {prompt.text}"


def test_the_base_answers_questions_of_all_kinds_greedily_and_describes_nothing_again() -> None:
    sampler = FakeSampler(echo)
    found = replayed(EXAMPLES, sampler)
    assert [turn.example_id for turn in found] == [e.id for e in EXAMPLES for _ in range(8)]
    for e in EXAMPLES:
        assert Counter(turn.kind for turn in found if turn.example_id == e.id) == Counter(ORDER)
    assert all(t.text == f"/images/{t.example_id}.png {t.query}" for t in found if t.kind != "description")
    texts = {t.text for t in found if t.kind == "description"}
    assert texts == {f"Text {n} of {e.id}." for e in EXAMPLES for n in "xy"}
    assert sampler.samplings == [Sampling(max_new_tokens=40)]
    assert len(sampler.prompts) == 3 * 6


def test_the_class_is_never_asked_for_and_concepts_of_all_classes_are() -> None:
    sampler = FakeSampler(echo)
    examples = [example(f"{n}", "Heron") for n in range(60)]
    found = replayed(examples, sampler, turns=6)
    assert not any(label in prompt.text for prompt in sampler.prompts for label in LABELS)
    features = [turn.query for turn in found if turn.kind == "feature"]
    own = sum(any(concept in query for concept in BANK["Heron"]) for query in features)
    assert 0.4 * len(features) < own < 0.9 * len(features)  # half of its list, and a part of the others by chance
    asked = Counter((turn.example_id, turn.query) for turn in found)
    assert max(asked.values()) == 1


def test_the_questions_do_not_depend_on_the_shard() -> None:
    def queries(examples: list[Example], seed: int = 5) -> dict[str, list[str]]:
        found = replayed(examples, FakeSampler(echo), seed=seed)
        return {e.id: [turn.query for turn in found if turn.example_id == e.id] for e in examples}

    together = queries(EXAMPLES)
    assert queries(EXAMPLES[::-1]) == together
    assert queries(EXAMPLES[1:2]) == {"a": together["a"]}
    assert queries(EXAMPLES, seed=6) != together


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("It has a red crown.", ""),
        ("  ", "empty, or cut off in its first sentence"),
        ("A bird <image>", "holds special token <image>"),
        ("It is a bird a bird a bird", "repeats itself to its end"),
        ("This is a Crow.", "names Crow, not Heron"),
        ("This is a Heron.", ""),
        ("one two " * 30, "empty, or cut off in its first sentence"),
    ],
)
def test_what_no_model_should_learn_is_set_aside_with_the_reason(text: str, fault: str) -> None:
    found = replayed(EXAMPLES[:1], FakeSampler(lambda prompt, sample: text))
    assert {turn.fault for turn in found if turn.kind != "description"} == {fault}


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("red red red", True),
        ("It has red wings, and it has red wings, and it has red wings, and it has", True),
        ("It has a red bill. It has a red tail. It has a red crown.", False),
        ("yes", False),
        ("very very red", False),
    ],
)
def test_only_words_that_go_round_to_the_end_are_a_loop(text: str, *, repeats: bool) -> None:
    assert repeats_to_its_end(text) is repeats


def test_a_text_that_reached_its_limit_ends_with_its_last_full_sentence() -> None:
    sampler = FakeSampler(echo)
    assert until_cut("It is red. It has 1.5 legs! And it", sampler, 9) == "It is red. It has 1.5 legs!"
    assert until_cut("It is red. And it", sampler, 9) == "It is red. And it"
    assert until_cut("It is red and it is also", sampler, 7) == ""


def test_a_round_draws_evenly_over_the_images_and_nothing_with_a_fault() -> None:
    pool = [
        Replayed(f"image {n}", "part", f"q{k}", "t", "empty" if k == 2 else "") for n in range(10) for k in range(4)
    ]
    for wanted, each in ((10, {1}), (15, {1, 2}), (30, {3}), (99, {3})):
        found = drawn(pool, wanted, Random(0))
        assert len(found) == min(wanted, 30)
        assert set(Counter(turn.example_id for turn in found).values()) == each
        assert not any(turn.fault for turn in found)
        assert len({(turn.example_id, turn.query) for turn in found}) == len(found)
    assert drawn(pool, 15, Random(0)) == drawn(pool, 15, Random(0)) != drawn(pool, 15, Random(1))
