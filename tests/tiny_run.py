"""The settings of a run so small that a test can make it: three classes of random pixels, a tiny LLaVA and encoder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from fixtures_data import image_folder, tiny_encoder
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
from tiny import tiny_llava


def tiny_run(
    root: Path,
    *,
    train: int = 4,
    test: int = 2,
    val: int = 0,
    tokens: int = 8,
    base: str | None = None,
    encoder: str | None = None,
    **changes: Any,
) -> RunConfig:
    """Write images, concepts, model and encoder to `root`; return a run of one round on them into `root/run`.

    `train`, `test` and `val` count images a class; `tokens` bounds every generated text; `base` and `encoder` name
    models that are already there. `changes` are fields of RunConfig: a dict changes single fields of a section, such as
    `tune={"epochs": 2}`.
    """
    image_folder(root, train=train, test=test, val=val)
    config = RunConfig(
        output=str(root / "run"),
        rounds=1,
        minimum_support=0.0,  # random weights say nothing
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path=base or str(tiny_llava(root / "model")), device="cpu", batch_size=8),
        describe=DescribeConfig(prompts_per_image=1, samples_per_prompt=2, max_new_tokens=tokens),
        select=SelectConfig(encoder=encoder or str(tiny_encoder(root / "encoder"))),
        synthesise=SynthesiseConfig(answers_per_image=1, max_new_tokens=tokens),
        tune=TuneConfig(epochs=1, learning_rate=1e-2, batch_size=4, micro_batch_size=4, lora_rank=4),
        sample=SampleConfig(queries_per_image=1, samples_per_query=2, max_new_tokens=tokens),
        evaluate=EvaluateConfig(max_new_tokens=tokens, bootstrap=20),
    )
    return changed(config, changes)


def changed(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """Return `config` with `changes`: a dict changes fields of a section, anything else replaces a field."""
    given = {
        name: replace(getattr(config, name), **value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    return replace(config, **given)
