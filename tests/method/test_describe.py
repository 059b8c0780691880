import logging
from dataclasses import replace

import pytest

from method.fakes import DOMAIN, QUESTIONS, FakeSampler, example
from seewhy.config import DescribeConfig
from seewhy.errors import SeeWhyError
from seewhy.method.describe import describe
from seewhy.records import Sampling

CONFIG = DescribeConfig(prompts_per_image=3, samples_per_prompt=2, max_new_tokens=7)
EXAMPLES = [example(name) for name in ("c", "a", "b")]


def echo(prompt, sample):
    return f" {prompt.image}|{prompt.text}|{sample}\n"


def test_every_text_is_about_its_own_image_and_question():
    sampler = FakeSampler(echo)
    found = describe(EXAMPLES, DOMAIN, sampler, CONFIG, seed=5, query_seed=5)
    assert [d.example_id for d in found] == ["c"] * 6 + ["a"] * 6 + ["b"] * 6
    assert all(d.text == f"/images/{d.example_id}.png|{d.query}|{d.sample}" for d in found)
    assert all(len({d.query for d in found if d.example_id == e.id}) == 3 for e in EXAMPLES)
    assert sampler.samplings == [Sampling(2, 1.0, 1.0, 7)]


def test_the_label_is_never_told():
    sampler = FakeSampler(echo)
    describe([example("a", "Fish Crow")], DOMAIN, sampler, CONFIG, seed=5, query_seed=5)
    assert not any("Crow" in prompt.text for prompt in sampler.prompts)
    assert {prompt.text for prompt in sampler.prompts} <= set(QUESTIONS.describe)


def test_queries_do_not_depend_on_the_shard():
    def queries(examples, seed=5):
        found = describe(examples, DOMAIN, FakeSampler(echo), CONFIG, seed=seed, query_seed=seed)
        return {e.id: [d.query for d in found if d.example_id == e.id] for e in examples}

    together = queries(EXAMPLES)
    assert queries(EXAMPLES[::-1]) == together
    assert queries(EXAMPLES[1:2]) == {"a": together["a"]}
    assert together["a"] != together["b"]
    assert queries(EXAMPLES, seed=6) != together


def test_unusable_texts_are_dropped_and_counted(caplog):
    def write(prompt, sample):
        if prompt.image == DOMAIN.path(EXAMPLES[0]):
            return "<image>" if sample else "  "
        return "black bill"

    with caplog.at_level(logging.WARNING):
        found = describe(EXAMPLES, DOMAIN, FakeSampler(write), CONFIG, seed=5, query_seed=5)
    assert [d.example_id for d in found] == ["a"] * 6 + ["b"] * 6
    assert "Dropped 6 of 18 descriptions: empty (3), holds special token <image> (3)" in caplog.text
    assert "1 examples are left without a description, c the first" in caplog.text


def test_nothing_is_logged_when_nothing_is_dropped(caplog):
    describe(EXAMPLES, DOMAIN, FakeSampler(echo), CONFIG, seed=5, query_seed=5)
    assert not caplog.records


def test_more_questions_than_wordings():
    with pytest.raises(SeeWhyError, match=r"prompts_per_image is 21, but there are 20 describe"):
        describe(EXAMPLES, DOMAIN, FakeSampler(echo), replace(CONFIG, prompts_per_image=21), seed=5, query_seed=5)
