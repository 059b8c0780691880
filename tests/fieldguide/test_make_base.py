"""Making the base model: its rows, its speech, and that the script runs from end to end."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tools import fieldguide_base
from tools import fieldguide_language as language
from tools.training import Packer, Said, language_loss

from seewhy.domain.questions import Questions
from seewhy.fieldguide.guide import BASE
from seewhy.fieldguide.world import BIRD, phrase, random_look
from seewhy.vlm.model import VisionLanguageModel


@pytest.fixture(scope="module")
def base() -> VisionLanguageModel:
    return VisionLanguageModel.load(str(BASE), device="cpu")


def test_rows_are_what_the_processor_makes(base: VisionLanguageModel) -> None:
    packer = Packer(base.processor, 64)
    said = Said("Describe the bird.", "It has a red crown.")
    batch = packer.pack([[said]], torch.device("cpu"), image=True)
    rendered = base.render(said.query, image=True)
    prompt = base.processor.tokenizer(rendered.replace("<image>", "<image>" * 64), add_special_tokens=False).input_ids
    answer = base.processor.tokenizer(f" {said.answer}", add_special_tokens=False).input_ids
    end = base.processor.tokenizer.eos_token_id
    assert batch.ids_BT[0].tolist() == [*prompt, *answer, end]
    assert [t for t in batch.labels_BT[0].tolist() if t != -100] == [*answer, end]


def test_questions_behind_one_image_cost_what_they_cost_alone(base: VisionLanguageModel) -> None:
    packer, device = Packer(base.processor, 64), torch.device("cpu")
    rng = random.Random(0)
    look = random_look(BIRD, rng)
    questions = Questions.for_noun("bird")
    said = [language.describe([phrase(a, look) for a in BIRD], questions, rng) for _ in range(3)]
    features = torch.randn(1, 64, 128)
    model: Any = base.model.float().eval()
    with torch.no_grad():
        together = language_loss(model, packer.pack([said], device, image=True), features)
        rows = [packer.pack([[s]], device, image=True) for s in said]
        alone = [language_loss(model, row, features) for row in rows]
    tokens = torch.tensor([int((row.labels_BT != -100).sum()) for row in rows])
    assert together.item() == pytest.approx(float((torch.stack(alone) * tokens).sum() / tokens.sum()), rel=1e-4)


def test_descriptions_state_only_what_they_are_given() -> None:
    rng = random.Random(1)
    questions = Questions.for_noun("bird")
    for _ in range(200):
        look = random_look(BIRD, rng)
        given = [phrase(a, look) for a in BIRD]
        answer = language.describe(given, questions, rng).answer
        others = {text for a in BIRD for texts in a.values.values() for text in texts} - set(given)
        assert not [text for text in others if text in answer]
        assert sum(text in answer for text in given) >= 4


def test_rewriting_names_the_label_and_gives_every_feature() -> None:
    rng = random.Random(2)
    questions = Questions.for_noun("leaf")
    for _ in range(100):
        features = [language.made_up_feature(rng) for _ in range(3)]
        said = language.name_it("Zorvan Rust", features, questions, rng, kinds=("explain", "cot"))
        assert "Zorvan Rust" in said.answer
        assert all(text in said.answer for text in features)


@pytest.mark.slow
def test_the_script_makes_a_model_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        "--output",
        str(tmp_path),
        "--drawings",
        "600",
        "--tower-steps",
        "2",
        "--text-steps",
        "2",
        "--steps",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["make_base", *options])
    fieldguide_base.main()
    model = VisionLanguageModel.load(str(tmp_path), device="cpu")
    assert sum(p.numel() for p in model.model.parameters()) < 4_000_000
