"""The example of every public name is run, on a small run, and docs/api.md is what the docstrings say."""

import doctest
import json
import shutil
from pathlib import Path

import pytest
import yaml
from tools.api_page import FUNCTIONS, PAGE, page

import seewhy
from fixtures_data import CONCEPTS
from llm_server import Act, Body, says, serving
from tiny_run import tiny_run

EXAMPLES = [name for name in seewhy.__all__ if ">>>" in (getattr(seewhy, name).__doc__ or "")]
WAIT_FOR = {"run", "compare"}
"""These train; they come last."""


def answered(body: Body, number: int) -> Act:
    """A language model that drafts the concepts of the tests' classes, and judges."""
    if "expert_features" in json.dumps(body):
        return says({"reasons": [], "explains": True, "score": 5})
    return says({"concepts": list(CONCEPTS.values())[number % len(CONCEPTS)]})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with birds.yaml, photo.png and runs/birds, a finished run of it."""
    root = tmp_path_factory.mktemp("api")
    config = tiny_run(root, base="fieldguide", output="runs/birds")  # the base that `general` asks about drawings
    settings = {
        "output": "runs/birds",
        "rounds": 1,
        "minimum_support": 0.0,
        "data": {"source": "images", "concepts": "concepts.yaml", "noun": "bird"},
        "model": {"name_or_path": "fieldguide", "device": "cpu", "batch_size": 8},
        "describe": {"prompts_per_image": 1, "samples_per_prompt": 2, "max_new_tokens": 8},
        "select": {"encoder": "encoder"},
        "synthesise": {"answers_per_image": 1, "max_new_tokens": 8},
        "tune": {"epochs": 1, "learning_rate": 0.01, "batch_size": 4, "micro_batch_size": 4, "lora_rank": 4},
        "sample": {"queries_per_image": 1, "samples_per_query": 2, "max_new_tokens": 8},
        "evaluate": {"max_new_tokens": 8, "bootstrap": 20},
    }
    (root / "birds.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    shutil.copy(next((root / "images" / "test").rglob("*.png")), root / "photo.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        loaded = seewhy.load_config("birds.yaml")
        assert loaded.tune == config.tune
        seewhy.run(loaded)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXAMPLES, key=lambda name: (name in WAIT_FOR, name)))
def test_the_example_of(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with serving(answered) as server:
        names = {"seewhy": seewhy, "SERVER": server.url}
        example = doctest.DocTestParser().get_doctest(getattr(seewhy, name).__doc__, names, name, None, 0)
        told: list[str] = []
        assert doctest.DocTestRunner().run(example, out=told.append).failed == 0, "".join(told)
    assert len(example.examples) > 1


def test_every_function_has_an_example_and_a_described_parameter() -> None:
    assert [name for name in FUNCTIONS if name not in EXAMPLES] == []


def test_the_page_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "Write it again: python -m tools.api_page"
