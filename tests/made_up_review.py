"""A run folder to review that no model made: images, descriptions and selections are drawn."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml
from PIL import Image

from seewhy.config import DataConfig, DescribeConfig, RunConfig, SelectConfig
from seewhy.domain.domain import VOCABULARY_FILE, Vocabulary, load_domain
from seewhy.records import Description, Example, Selection
from seewhy.run.folder import RunFolder
from seewhy.run.stages import StageKey, Stages

EVIL = "<img src=x onerror=alert(1)> ${alert(2)} {{alert(3)}}"
BANK = {
    "Krähe": ["black wings", "gelber Schnäbel", EVIL],
    "Finch": ["red crest", "white belly with spots", "black wings"],
}


def run_to_review(root: Path, *, train: int = 12, test: int = 3, selects: bool = True, encoder: str = "") -> Path:
    """Return the folder of a run of two classes with `train` and `test` images each."""
    draw = random.Random(0)
    for split, count in (("train", train), ("test", test)):
        for label in BANK:
            folder = root / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                colour = tuple(draw.randrange(256) for _ in range(3))
                picture = Image.new("RGB", (48, 40), colour)
                picture.putpixel((number % 48, number // 48), (1, 2, 3))
                picture.save(folder / f"{number}.png")
    (root / "concepts.yaml").write_text(yaml.safe_dump(BANK, allow_unicode=True), encoding="utf-8")
    data = DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird")
    select_config = SelectConfig(rule="said", encoder=encoder) if encoder else SelectConfig(rule="said")
    config = RunConfig(output=str(root / "run"), rounds=1, shard_size=5, data=data, select=select_config,
                       describe=DescribeConfig(prompts_per_image=1, samples_per_prompt=2))  # fmt: skip
    domain = load_domain(data)
    stages = Stages.of(config, domain.fingerprint, "", "")
    folder = RunFolder(config.output, seed=0, shard_size=5)

    def describe(examples: Sequence[Example], _seed: int) -> list[Description]:
        texts = ("It has black wings <b>and</b> a red crest.", "A small bird.")
        return [Description(e.id, "Describe it.", n, text) for e in examples for n, text in enumerate(texts)]

    def select(_all: Sequence[str], _seed: int) -> list[Selection]:
        rows = [(e.id, c, draw.random()) for e in domain.split("train") for c in BANK[e.label]]
        return [Selection(name, concept, score, score > 0.3) for name, concept, score in rows]

    with folder.lock():
        folder.check([*stages.values()], config=json.loads(json.dumps(asdict(config))))
        folder.records(stages[StageKey("describe")], Description, domain.split("train"), describe)
        if selects:
            folder.records(stages[StageKey("select")], Selection, ["all"], select)
        folder.write_json(VOCABULARY_FILE, Vocabulary.of(domain).record())
    return root / "run"
