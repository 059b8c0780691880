"""Describe to evaluate, through the real loop, for a tiny model of every family that SeeWhy is proved on.

Each model is saved to disk with its processor and read back from there, as a user's is. The weights are random, so
most answers fall back to the label sentence; what is held here is what must be true whatever a model says.
"""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from peft import PeftModel
from PIL import Image

from families import FAMILIES, no_torchvision
from fixtures_data import CONCEPTS, tiny_encoder
from seewhy.config import (
    DataConfig,
    DescribeConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    SampleConfig,
    SelectConfig,
    SynthesiseConfig,
    TuneConfig,
)
from seewhy.domain.images import load_image
from seewhy.records import Answer, Candidate, Description, Prediction, Prompt, Sampling, Selection
from seewhy.results import Metrics
from seewhy.results_json import read
from seewhy.run import loop
from seewhy.run.folder import read_manifest, read_records
from seewhy.run.stages import DATA
from seewhy.vlm import sampling, tuning
from seewhy.vlm.chat import IGNORED, Row, answer_ids, collate, encode
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

pytestmark = pytest.mark.slow  # every family is tuned, in a run of its own

LABELS = ("Fish Crow", "Red-crested Finch")
SIZES = ((40, 36), (36, 20), (20, 40))  # upright, wide, high: tiles and grids differ
TOKENS = 6
LINES = {  # in a family's own template: what follows an answer
    "llava": "</s>",
    "llava_next": "</s>",
    "qwen25_vl": "<|im_end|>",
    "qwen3_vl": "<|im_end|>",
    "smolvlm": "<end_of_utterance>",
    "internvl": "<|im_end|>",
    "gemma3": "<end_of_turn>",
    "fast_vlm": "<|im_end|>",
}


@dataclass
class Seen:
    """The batches that a run made, and the side on which each was padded."""

    tuned: list[Row] = field(default_factory=list)
    sampled: list[Row] = field(default_factory=list)
    sides: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Finished:
    family: str
    config: RunConfig
    seen: Seen
    metrics: Metrics
    said: list[str]

    @property
    def path(self) -> Path:
        return Path(self.config.output)

    def load(self, name: str) -> VisionLanguageModel:
        """'base', or the model of a round."""
        place = self.config.model.name_or_path if name == "base" else self.path / f"stages/{name}/model/model"
        return VisionLanguageModel.load(place, device="cpu")


def images(root: Path) -> Path:
    """Two classes of three train images and a test image each, of three shapes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 1)):
        for label in LABELS:
            (root / "images" / split / label).mkdir(parents=True)
            for number in range(count):
                width, height = SIZES[number]
                pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "images" / split / label / f"{number}.png")
    (root / "concepts.yaml").write_text(yaml.safe_dump({label: CONCEPTS[label] for label in LABELS}))
    return root


def settings(root: Path, model: Path, encoder: Path) -> RunConfig:
    return RunConfig(
        output=str(root / "run"),
        rounds=2,
        keep_going=True,
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path=str(model), device="cpu", batch_size=8),
        describe=DescribeConfig(prompts_per_image=2, samples_per_prompt=1, max_new_tokens=TOKENS),
        select=SelectConfig(encoder=str(encoder)),
        synthesise=SynthesiseConfig(answers_per_image=2, max_new_tokens=TOKENS),
        tune=TuneConfig(epochs=1, learning_rate=1e-2, batch_size=4, micro_batch_size=4, lora_rank=2),
        sample=SampleConfig(queries_per_image=2, samples_per_query=1, max_new_tokens=TOKENS),
        evaluate=EvaluateConfig(max_new_tokens=TOKENS, bootstrap=10),
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "encoder")


@pytest.fixture(scope="module", params=FAMILIES)
def finished(
    request: pytest.FixtureRequest, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Finished]:
    """A run of two rounds, watched."""
    root, seen = images(tmp_path_factory.mktemp(request.param)), Seen()

    def watched(module: str, batches: list[Row]) -> Any:
        def collated(rows: list[Row], pad_token_id: int, side: Any) -> Row:
            batch = collate(rows, pad_token_id, side)
            batches.append(batch)
            seen.sides.add((module, side))
            return batch

        return collated

    with no_torchvision(), pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        patch.setattr(tuning, "collate", watched("tuning", seen.tuned))
        patch.setattr(sampling, "collate", watched("sampling", seen.sampled))
        config = settings(root, FAMILIES[request.param](root / "model"), encoder)
        metrics = loop.run(config)
        yield Finished(request.param, config, seen, metrics, [str(warning.message) for warning in said])


def test_every_stage_is_made(finished: Finished):
    stages = read_manifest(finished.path)["stages"]
    parts = {"domain", "base", *DATA}
    complete = {name for name, entry in stages.items() if entry["complete"]}
    assert complete == {name for name in stages if name.split("-")[0] not in parts}
    made = {
        name: len(read_records(finished.path, name, record))
        for name, record in {
            "describe": Description,
            "select": Selection,
            "round-1/answers": Answer,
            "round-2/candidates": Candidate,
            "round-2/answers": Answer,
            "base/predictions-test": Prediction,
            "round-2/predictions-test": Prediction,
        }.items()
    }
    assert made.pop("describe") > 0  # random text may hold a marker, and is then dropped
    assert made.pop("select") == 3 * sum(len(CONCEPTS[label]) for label in LABELS)
    assert made == {
        "round-1/answers": 6 * 2,
        "round-2/candidates": 6 * 2,
        "round-2/answers": 6 * 2,
        "base/predictions-test": 2,
        "round-2/predictions-test": 2,
    }
    assert [entry.round for entry in finished.metrics.rounds] == [1, 2]
    assert read(finished.path / Metrics.FILE, Metrics) == finished.metrics
    assert not any("Image sharing is off" in text for text in finished.said)


def image_tokens(vlm: VisionLanguageModel, path: str) -> int:
    """How many tokens an image is, alone."""
    return int((encode(vlm, "?", load_image(path))["input_ids"] == vlm.image_token_id).sum())


def test_image_tokens_are_whole(finished: Finished):
    """A batch's image tokens are as many as its pixels ask for: those of each image of the data, and no part of one."""
    vlm = finished.load("base")
    files = sorted(Path(finished.config.data.source).rglob("*.png"))
    whole = {image_tokens(vlm, str(path)) for path in files}
    assert min(whole) > 1
    for batch in [*finished.seen.tuned, *(batch for batch in finished.seen.sampled if "pixel_values" in batch)]:
        found = {int(count) for count in (batch["input_ids"] == vlm.image_token_id).sum(1)}
        assert found <= whole
        inputs = {k: v.clone() for k, v in batch.items() if k not in ("segments", "labels", "position_ids")}
        vlm.model(**inputs)  # which refuses image tokens that are not as many as the image's features


def test_padding_is_right_in_tuning_and_left_in_sampling(finished: Finished):
    assert finished.seen.sides == {("tuning", "right"), ("sampling", "left")}
    for batches, first in ((finished.seen.tuned, True), (finished.seen.sampled, False)):
        masks = [batch["attention_mask"] for batch in batches]
        assert any((mask == 0).any() for mask in masks)  # some rows were shorter
        for mask in masks:
            rising = mask.diff(dim=1)
            assert not (rising > 0).any() if first else not (rising < 0).any()


def test_answers_alone_are_trained_on(finished: Finished):
    """The labelled tokens of the batches are those of the answers, their ends included, and nothing else."""
    vlm = finished.load("base")
    expected = [
        answer_ids(vlm, answer.text)
        for round in (1, 2)
        for answer in read_records(finished.path, f"round-{round}/answers", Answer)
    ]
    labelled = []
    for batch in finished.seen.tuned:
        for ids, labels, segments in zip(batch["input_ids"], batch["labels"], batch["segments"], strict=True):
            assert bool((labels[segments <= 0] == IGNORED).all())  # image, shared prompt, padding
            for branch in range(1, int(segments.max()) + 1):
                own = (segments == branch) & (labels != IGNORED)
                assert torch.equal(labels[own], ids[own])
                labelled.append(labels[own].tolist())
    assert sorted(labelled) == sorted(expected)
    assert vlm.tokenizer.decode([expected[0][-1]]) == LINES[finished.family]


def test_the_model_that_is_left_answers_as_its_adapter_does_and_not_as_the_base(finished: Finished):
    merged, before = finished.load("round-1"), finished.load("base")
    adapted = PeftModel.from_pretrained(
        finished.load("base").model,  # pyright: ignore[reportArgumentType]
        str(finished.path / "stages/round-1/model/adapter"),
    )
    tuned: Any = adapted.eval().base_model.model
    beside = VisionLanguageModel("adapter", tuned, merged.processor)
    files = sorted(Path(finished.config.data.source).rglob("test/*/*.png"))
    prompts = [Prompt(path.parent.name, str(path), "Which bird is it, and why?") for path in files]
    answers = [
        BatchSampler(vlm, 8, load_image).sample(prompts, Sampling(max_new_tokens=12), 0)
        for vlm in (merged, beside, before)
    ]
    assert answers[0] == answers[1] != answers[2]


def test_a_second_round_begins_where_the_first_ended(finished: Finished):
    first, second = (finished.load(name).model.state_dict() for name in ("round-1", "round-2"))
    moved = {name for name, weight in second.items() if not torch.equal(weight, first[name])}
    adapter = json.loads((finished.path / "stages/round-2/model/adapter/adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "model"
    assert moved
    assert not any("vision_tower" in name or ".visual.blocks." in name for name in moved)
