from itertools import islice

import pytest

from method.fakes import MATCHER, QUESTIONS, FakeSampler
from seewhy.errors import SeeWhyError
from seewhy.method.sampler import ask, draw_queries, example_random, label_fault, text_fault
from seewhy.records import Prompt, Sampling

PROMPTS = [Prompt("b", "/b.png", "Which?"), Prompt("a", "/a.png", "Which?")]


def test_texts_come_back_under_their_prompt():
    sampler = FakeSampler(lambda prompt, sample: f"{prompt.id}{sample}")
    assert ask(sampler, PROMPTS, Sampling(samples=2), seed=0) == {"b": ["b0", "b1"], "a": ["a0", "a1"]}


def test_nothing_to_ask():
    assert ask(FakeSampler(lambda prompt, sample: ""), [], Sampling(), seed=0) == {}


class Short(FakeSampler):
    def sample(self, prompts, sampling, seed):
        return super().sample(prompts[:-1], sampling, seed)


class Meagre(FakeSampler):
    def sample(self, prompts, sampling, seed):
        return [texts[:-1] for texts in super().sample(prompts, sampling, seed)]


@pytest.mark.parametrize(("kind", "message"), [(Short, "1 of 2 prompts"), (Meagre, "'b' got 2 texts, not 3")])
def test_a_sampler_that_loses_texts_is_named(kind, message):
    with pytest.raises(SeeWhyError, match=message):
        ask(kind(lambda prompt, sample: "x"), PROMPTS, Sampling(samples=3), seed=0)


def test_prompts_of_one_id_are_refused():
    with pytest.raises(SeeWhyError, match="same id"):
        ask(FakeSampler(lambda prompt, sample: "x"), [PROMPTS[0]] * 2, Sampling(), seed=0)


def test_random_depends_on_seed_example_and_purpose_alone():
    first = example_random(1, "a", "x").random()
    assert first == example_random(1, "a", "x").random()
    assert (
        len({first, *(example_random(*args).random() for args in [(2, "a", "x"), (1, "b", "x"), (1, "a", "y")])}) == 4
    )


def test_shares_of_the_kinds():
    kinds = [kind for kind, _ in islice(draw_queries(QUESTIONS, 0.4, example_random(0, "a", "x")), 6000)]
    assert kinds.count("simple") / 6000 == pytest.approx(0.4, abs=0.03)
    assert kinds.count("explain") / kinds.count("cot") == pytest.approx(1, abs=0.1)


def test_the_share_of_explain_questions():
    drawn = islice(draw_queries(QUESTIONS, 0.4, example_random(0, "a", "x"), 0.32), 6000)
    kinds = [kind for kind, _ in drawn]
    assert kinds.count("simple") / 6000 == pytest.approx(0.4, abs=0.03)
    assert kinds.count("explain") / (6000 - kinds.count("simple")) == pytest.approx(0.32, abs=0.03)


def test_queries_are_of_their_kind_and_wordings_repeat_late():
    drawn = list(islice(draw_queries(QUESTIONS, 0.4, example_random(0, "a", "x")), 15))
    assert all(query in getattr(QUESTIONS, kind) for kind, query in drawn)
    assert len({query for _, query in drawn}) == 15


@pytest.mark.parametrize(
    ("text", "fault"), [("", "empty"), (" \n", "empty"), ("a <image>", "holds special token <image>"), ("a", None)]
)
def test_text_fault(text, fault):
    assert text_fault(text, FakeSampler(lambda prompt, sample: "")) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("This is a Crow.", None),
        ("This is a Fish Crow.", "names Fish Crow, not Crow"),
        ("A Crow or a Heron.", "names Crow and Heron, not Crow alone"),
        ("A bird.", "names no label"),
        ("This is not a Crow.", "names no label"),
    ],
)
def test_label_fault(text, fault):
    assert label_fault(text, "Crow", MATCHER) == fault
